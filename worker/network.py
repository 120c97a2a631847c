"""The network that a specification asks for. It knows nothing of training."""

from collections.abc import Callable

import keras

from models.spec import CLASSES, PIXELS, JobSpec
from models.techniques import BatchNormalization
from worker.seeds import derive

DropoutLayer = Callable[[float, str], keras.layers.Layer]
"""Makes a dropout layer from its rate and name: training and export use different ones."""


def build_network(spec: JobSpec, dropout_layer: DropoutLayer) -> keras.Model:
    """Images (n, 784) in, logits (n, 10) out; `set_initial_weights` gives it the job's own weights."""
    dropout = spec.regularization.dropout
    images = keras.Input((PIXELS,), name="images")
    flow = images
    if dropout and dropout.input_rate:
        flow = dropout_layer(dropout.input_rate, "input_dropout")(flow)
    for number, units in enumerate(spec.model.hidden_units, start=1):
        flow = _hidden(flow, units, f"hidden_{number}", spec)
        if dropout and dropout.rate:
            # After the normalization, whose statistics a mask before it would shift.
            flow = dropout_layer(dropout.rate, f"dropout_{number}")(flow)
    return keras.Model(images, keras.layers.Dense(CLASSES, name="logits")(flow), name="regbench")


def _hidden(flow: keras.KerasTensor, units: int, name: str, spec: JobSpec) -> keras.KerasTensor:
    normalization = spec.regularization.batch_normalization
    before = normalization is not None and normalization.position == "before_activation"
    # The normalization's beta takes the place of a bias before it.
    flow = keras.layers.Dense(units, use_bias=not before, name=name)(flow)
    if normalization and before:
        flow = _normalized(flow, normalization, name)
    flow = keras.layers.Activation(spec.model.activation, name=f"{name}_activation")(flow)
    if normalization and not before:
        flow = _normalized(flow, normalization, name)
    return flow


def _normalized(flow: keras.KerasTensor, technique: BatchNormalization, name: str) -> keras.KerasTensor:
    layer = keras.layers.BatchNormalization(momentum=technique.momentum, name=f"{name}_normalization")
    return layer(flow)


def set_initial_weights(network: keras.Model, seed: int) -> None:
    """Give every weight its start by Keras's default initializers, each from a seed of its own."""
    for layer in network.layers:
        for weight in layer.weights:
            weight.assign(_initial(layer, weight, derive(seed, weight.path)))


def _initial(layer: keras.layers.Layer, weight: keras.Variable, seed: int) -> keras.KerasTensor:
    if weight.name == "kernel":
        return type(layer.kernel_initializer)(seed=seed)(weight.shape)
    ones = weight.name in {"gamma", "moving_variance"}
    return keras.ops.ones(weight.shape) if ones else keras.ops.zeros(weight.shape)


def kernels(network: keras.Model) -> list[keras.Variable]:
    """The matrices that penalties and weight norms are about: no biases, no normalization."""
    return [weight for weight in network.trainable_weights if weight.name == "kernel"]


def exported(spec: JobSpec, trained: keras.Model) -> keras.Model:
    """The trained network, with softmax, from Keras's own layers alone: it loads without Regbench."""
    plain = build_network(spec, lambda rate, name: keras.layers.Dropout(rate, name=name))
    for layer in plain.layers:
        layer.set_weights(trained.get_layer(layer.name).get_weights())
    probabilities = keras.layers.Softmax(name="probabilities")(plain.output)
    return keras.Model(plain.input, probabilities, name="regbench")
