"""The network that a specification asks for. It knows nothing of training."""

from collections.abc import Callable

import keras

from models.spec import CLASSES, PIXELS, JobSpec
from worker.seeds import derive

NoiseLayer = Callable[[str, float, str], keras.layers.Layer]
"""Makes a random layer from its technique, strength and name: training and export use different ones."""

_STOCK_NOISE: dict[str, type[keras.layers.Layer]] = {
    "dropout": keras.layers.Dropout,
    "gaussian_dropout": keras.layers.GaussianDropout,
    "gaussian_noise": keras.layers.GaussianNoise,
}


def stock_noise(technique: str, strength: float, name: str) -> keras.layers.Layer:
    """Keras's own layer of that kind."""
    return _STOCK_NOISE[technique](strength, name=name)


def build_network(spec: JobSpec, noise_layer: NoiseLayer) -> keras.Model:
    """Images (n, 784) in, logits (n, 10) out; `set_initial_weights` gives it the job's own weights."""
    regularization = spec.regularization
    images = keras.Input((PIXELS,), name="images")
    flow = images
    if (noise := regularization.gaussian_noise) and noise.sigma:
        flow = noise_layer("gaussian_noise", noise.sigma, "input_noise")(flow)
    if (dropout := regularization.dropout) and dropout.input_rate:
        flow = noise_layer("dropout", dropout.input_rate, "input_dropout")(flow)
    for number, units in enumerate(spec.model.hidden_units, start=1):
        flow = _hidden(flow, units, f"hidden_{number}", spec)
        # After the normalization, whose statistics a mask before it would shift.
        if (dropout := regularization.dropout) and dropout.rate:
            flow = noise_layer("dropout", dropout.rate, f"dropout_{number}")(flow)
        if (gaussian := regularization.gaussian_dropout) and gaussian.rate:
            flow = noise_layer("gaussian_dropout", gaussian.rate, f"gaussian_dropout_{number}")(flow)
    return keras.Model(images, keras.layers.Dense(CLASSES, name="logits")(flow), name="regbench")


def _hidden(flow: keras.KerasTensor, units: int, name: str, spec: JobSpec) -> keras.KerasTensor:
    before, after = _normalizations(spec, name)
    # A normalization's beta takes the place of a bias before it.
    flow = keras.layers.Dense(units, use_bias=not before, name=name)(flow)
    for layer in (*before, keras.layers.Activation(spec.model.activation, name=f"{name}_activation"), *after):
        flow = layer(flow)
    return flow


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
    plain = build_network(spec, stock_noise)
    for layer in plain.layers:
        layer.set_weights(trained.get_layer(layer.name).get_weights())
    probabilities = keras.layers.Softmax(name="probabilities")(plain.output)
    return keras.Model(plain.input, probabilities, name="regbench")
