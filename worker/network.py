"""The network that a specification asks for. It knows nothing of training."""

from typing import Protocol

import keras

from models.spec import CLASSES, PIXELS, SIDE, Cnn, JobSpec
from worker.seeds import derive_seed


class LayerFactory(Protocol):
    """Makes the layers of which training and export use different kinds."""

    def make_noise(self, technique: str, strength: float, name: str) -> keras.layers.Layer:
        """A random layer, by its technique."""

    def make_convolution(self, filters: int, side: int, *, use_bias: bool, name: str) -> keras.layers.Layer:
        """A convolution with square kernels, stride 1 and `same` padding."""

    def make_pooling(self, name: str) -> keras.layers.Layer:
        """Max-pooling over blocks of 2 x 2."""


class KerasLayers:
    """Keras's own layers."""

    _NOISE: dict[str, type[keras.layers.Layer]] = {  # noqa: RUF012 (never changed)
        "dropout": keras.layers.Dropout,
        "spatial_dropout": keras.layers.SpatialDropout2D,
        "gaussian_dropout": keras.layers.GaussianDropout,
        "gaussian_noise": keras.layers.GaussianNoise,
    }

    def make_noise(self, technique: str, strength: float, name: str) -> keras.layers.Layer:
        """A random layer, by its technique."""
        return self._NOISE[technique](strength, name=name)

    def make_convolution(self, filters: int, side: int, *, use_bias: bool, name: str) -> keras.layers.Layer:
        """A convolution with square kernels, stride 1 and `same` padding."""
        return keras.layers.Conv2D(filters, side, padding="same", use_bias=use_bias, name=name)

    def make_pooling(self, name: str) -> keras.layers.Layer:
        """Max-pooling over blocks of 2 x 2."""
        return keras.layers.MaxPooling2D(2, name=name)


def build_network(spec: JobSpec, kit: LayerFactory) -> keras.Model:
    """Images (n, 784) in, logits (n, 10) out; `set_initial_weights` gives it the job's own weights."""
    images = keras.Input((PIXELS,), name="images")
    flow = _noisy_inputs(images, spec, kit)
    if isinstance(spec.model, Cnn):
        flow = _convolutions(flow, spec.model, spec, kit)
    for index, units in enumerate(spec.model.hidden_units, start=1):
        flow = _fully_connected(flow, units, index, spec, kit)
    return keras.Model(images, keras.layers.Dense(CLASSES, name="logits")(flow), name="regbench")


def _noisy_inputs(images: keras.KerasTensor, spec: JobSpec, kit: LayerFactory) -> keras.KerasTensor:
    regularization, flow = spec.regularization, images
    if (noise := regularization.gaussian_noise) and noise.sigma:
        flow = kit.make_noise("gaussian_noise", noise.sigma, "input_noise")(flow)
    if (dropout := regularization.dropout) and dropout.input_rate:
        flow = kit.make_noise("dropout", dropout.input_rate, "input_dropout")(flow)
    return flow


def _convolutions(flow: keras.KerasTensor, model: Cnn, spec: JobSpec, kit: LayerFactory) -> keras.KerasTensor:
    flow = keras.layers.Reshape((SIDE, SIDE, 1), name="square")(flow)
    spatial = spec.regularization.spatial_dropout
    for index, filters in enumerate(model.filters, start=1):
        name = f"convolution_{index}"
        before, after = _normalizations(spec, name)
        layer = kit.make_convolution(filters, model.kernel_size, use_bias=not before, name=name)
        flow = _activated(layer(flow), name, spec, before, after)
        flow = kit.make_pooling(f"pooling_{index}")(flow)
        if spatial and spatial.rate:
            flow = kit.make_noise("spatial_dropout", spatial.rate, f"spatial_dropout_{index}")(flow)
    return keras.layers.Flatten(name="flat")(flow)


def _fully_connected(
    flow: keras.KerasTensor, units: int, index: int, spec: JobSpec, kit: LayerFactory
) -> keras.KerasTensor:
    name, regularization = f"hidden_{index}", spec.regularization
    before, after = _normalizations(spec, name)
    # A normalization's beta takes the place of a bias before it.
    layer = keras.layers.Dense(units, use_bias=not before, name=name)
    flow = _activated(layer(flow), name, spec, before, after)
    # After the normalization, whose statistics a mask before it would shift.
    if (dropout := regularization.dropout) and dropout.rate:
        flow = kit.make_noise("dropout", dropout.rate, f"dropout_{index}")(flow)
    if (gaussian := regularization.gaussian_dropout) and gaussian.rate:
        flow = kit.make_noise("gaussian_dropout", gaussian.rate, f"gaussian_dropout_{index}")(flow)
    return flow


def _activated(
    flow: keras.KerasTensor,
    name: str,
    spec: JobSpec,
    before: list[keras.layers.Layer],
    after: list[keras.layers.Layer],
) -> keras.KerasTensor:
    activation = keras.layers.Activation(spec.model.activation, name=f"{name}{_ACTIVATION}")
    for layer in (*before, activation, *after):
        flow = layer(flow)
    return flow


_ACTIVATION = "_activation"


def get_hidden_outputs(network: keras.Model) -> list[keras.KerasTensor]:
    """What each hidden layer hands on, right after its activation."""
    return [layer.output for layer in network.layers if layer.name.endswith(_ACTIVATION)]


def _normalizations(spec: JobSpec, name: str) -> tuple[list[keras.layers.Layer], list[keras.layers.Layer]]:
    """The normalizing layers before and after the activation."""
    batch, layer = spec.regularization.batch_normalization, spec.regularization.layer_normalization
    before: list[keras.layers.Layer] = []
    after: list[keras.layers.Layer] = []
    if batch:
        side = before if batch.position == "before_activation" else after
        side.append(keras.layers.BatchNormalization(momentum=batch.momentum, name=f"{name}_normalization"))
    if layer:
        side = before if layer.position == "before_activation" else after
        side.append(keras.layers.LayerNormalization(name=f"{name}_layer_normalization"))
    return before, after


def set_initial_weights(network: keras.Model, seed: int) -> None:
    """Give every weight its start by Keras's default initializers, each from a seed of its own."""
    for layer in network.layers:
        for weight in layer.weights:
            weight.assign(_initial(layer, weight, derive_seed(seed, weight.path)))


def _initial(layer: keras.layers.Layer, weight: keras.Variable, seed: int) -> keras.KerasTensor:
    if weight.name == "kernel":
        return type(layer.kernel_initializer)(seed=seed)(weight.shape)
    ones = weight.name in {"gamma", "moving_variance"}
    return keras.ops.ones(weight.shape) if ones else keras.ops.zeros(weight.shape)


def get_kernels(network: keras.Model) -> list[keras.Variable]:
    """The weights that penalties and weight norms are about: no biases, no normalization."""
    return [weight for weight in network.trainable_weights if weight.name == "kernel"]


def build_inference_model(spec: JobSpec) -> keras.Model:
    """Images (n, 784) in, probabilities (n, 10) out, from Keras's own layers alone; its weights mean nothing.

    It is built as the file of an exported model has it, so that the weights in such a file fit.
    """
    plain = build_network(spec, KerasLayers())
    probabilities = keras.layers.Softmax(name="probabilities")(plain.output)
    return keras.Model(plain.input, probabilities, name="regbench")


def export_model(spec: JobSpec, trained: keras.Model) -> keras.Model:
    """The trained network, with softmax, from Keras's own layers alone: it loads without Regbench."""
    network = build_inference_model(spec)
    for layer in trained.layers:
        network.get_layer(layer.name).set_weights(layer.get_weights())
    return network
