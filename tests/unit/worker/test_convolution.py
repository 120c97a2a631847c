"""Layers that train through patches equal Keras's layers: same outputs, same gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from worker.convolution import BlockMaxPooling, PatchConvolution


@pytest.fixture
def images() -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(size=(3, 7, 9, 4)), tf.float32)


@pytest.mark.parametrize("side", [3, 5])
@pytest.mark.parametrize("use_bias", [True, False])
def test_patches_give_the_convolution_and_its_gradients(
    images: tf.Tensor, side: int, *, use_bias: bool
) -> None:
    patches = PatchConvolution(6, side, padding="same", use_bias=use_bias)
    stock = keras.layers.Conv2D(6, side, padding="same", use_bias=use_bias)
    patches.build(images.shape)
    stock.build(images.shape)
    stream = np.random.default_rng(1)
    stock.set_weights([stream.normal(size=weight.shape) for weight in stock.weights])
    patches.set_weights(stock.get_weights())
    results = []
    for layer, options in ((patches, {"training": True}), (patches, {"training": False}), (stock, {})):
        variables = [weight.value for weight in layer.trainable_weights]
        with tf.GradientTape() as tape:
            tape.watch(images)
            answers = layer(images, **options)
            loss = tf.reduce_sum(answers**3)
        results.append([answers, *tape.gradient(loss, [images, *variables])])
    for trained, at_inference, expected in zip(*results, strict=True):
        scale = np.abs(expected).max()
        assert np.allclose(trained, expected, atol=1e-5 * scale)
        assert np.allclose(at_inference, expected, atol=1e-5 * scale)


def test_pooling_gives_the_largest_of_each_block_and_leaves_an_odd_edge_out(images: tf.Tensor) -> None:
    ours, stock = BlockMaxPooling(2), keras.layers.MaxPooling2D(2)
    gradients = []
    for layer in (ours, stock):
        with tf.GradientTape() as tape:
            tape.watch(images)
            pooled = layer(images)
        gradients.append(tape.gradient(pooled, images))
        assert pooled.shape == (3, 3, 4, 4)
    assert np.array_equal(ours(images), stock(images))
    assert np.array_equal(*gradients)
