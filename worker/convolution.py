"""Convolution and pooling as matrix products, for training inside a compiled program on a CPU.

XLA's CPU compiler turns a convolution's gradients into plain loops, and has no deterministic gradient for
max-pooling. Patches laid side by side and one matrix product take a twelfth of the time and are exact;
docs/decisions/0012-convolution-as-patches.md. At inference the stock layers are used, which are faster there.
"""

from typing import Any

import keras
import tensorflow as tf


class PatchConvolution(keras.layers.Conv2D):
    """Keras's convolution, stride 1 and `same` padding, that trains through patches."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Images (n, height, width, channels) in, (n, height, width, filters) out."""
        if not training:
            return super().call(inputs)
        side, (_, height, width, channels) = self.kernel_size[0], inputs.shape
        reach = side // 2
        padded = tf.pad(inputs, [[0, 0], [reach, reach], [reach, reach], [0, 0]])
        # For each pixel the square of `side` pixels around it: (n, height, width, side * side * channels).
        patches = tf.concat(
            [
                padded[:, row : row + height, column : column + width, :]
                for row in range(side)
                for column in range(side)
            ],
            axis=-1,
        )
        kernel = tf.reshape(self.kernel.value, [side * side * channels, self.filters])
        flat = tf.matmul(tf.reshape(patches, [-1, side * side * channels]), kernel)
        outputs = tf.reshape(flat, [-1, height, width, self.filters])
        return outputs + self.bias.value if self.use_bias else outputs


class BlockMaxPooling(keras.layers.MaxPooling2D):
    """Keras's max-pooling over blocks of 2 x 2, with a gradient that XLA compiles."""

    def call(self, inputs: Any) -> Any:
        """Images (n, height, width, channels) in, (n, height // 2, width // 2, channels) out."""
        _, height, width, channels = inputs.shape
        rows, columns = height // 2, width // 2
        whole = inputs[:, : 2 * rows, : 2 * columns, :]
        blocks = tf.reshape(whole, [-1, rows, 2, columns, 2, channels])
        return tf.reduce_max(blocks, axis=[2, 4])
