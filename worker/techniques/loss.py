"""What is added to, or changed in, the loss that a step follows."""

from typing import Any

import keras
import tensorflow as tf

from models.spec import CLASSES, JobSpec
from worker.network import kernels


class Objective:
    """Cross-entropy, smoothed where asked for, plus penalties over all kernels.

    Numbers are variables; a technique that is off is not in the program.
    """

    def __init__(self, spec: JobSpec, network: keras.Model) -> None:
        active = spec.regularization.active
        self._kernels = kernels(network)
        self._numbers = {
            name: tf.Variable(0.0, trainable=False)
            for name in ("l1", "l2", "label_smoothing")
            if name in active
        }

    def configure(self, spec: JobSpec) -> None:
        """Set the job's own numbers."""
        for name, variable in self._numbers.items():
            variable.assign(spec.regularization.active[name].strength)

    def data_loss(self, logits: Any, labels: Any) -> Any:
        """Mean loss of logits (n, 10) against labels (n,), in nats per example."""
        alpha = self._numbers.get("label_smoothing")
        if alpha is None:
            return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        targets = (1.0 - alpha) * tf.one_hot(labels, CLASSES) + alpha / CLASSES
        return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))

    def penalty(self) -> Any:
        """The sum that is added to the data's loss, in nats per example."""
        total = tf.constant(0.0)
        for kernel in self._kernels:
            if "l1" in self._numbers:
                total += self._numbers["l1"] * tf.reduce_sum(tf.abs(kernel.value))
            if "l2" in self._numbers:
                total += self._numbers["l2"] * tf.reduce_sum(tf.square(kernel.value))
        return total
