"""The network that a specification describes; nothing of its training."""

import keras

from models.spec import PIXELS, SIDE, Cnn, JobSpec
from worker.seeds import derive_seed
from worker.techniques.noise import NOISE_LAYERS


class KerasLayers:
    """Makes the layers of which training and export use different kinds: here Keras's own."""

    def make_noise(self, technique: str, strength: float, name: str) -> keras.layers.Layer:
        """A random layer, by its technique."""
        return NOISE_LAYERS[technique].keras_layer(strength, name=name)

    def make_convolution(self, filters: int, side: int, *, use_bias: bool, name: str) -> keras.layers.Layer:
        """A convolution with square kernels, stride 1 and `same` padding."""
        return keras.layers.Conv2D(filters, side, padding="same", use_bias=use_bias, name=name)

    def make_pooling(self, name: str) -> keras.layers.Layer:
        """Max-pooling over blocks of 2 x 2."""
        return keras.layers.MaxPooling2D(2, name=name)


_ACTIVATION = "_activation"


def build_network(spec: JobSpec, layers: KerasLayers) -> keras.Model:
    """Images (n, 784) in, logits (n, classes) out; `set_initial_weights` sets the job's initial weights."""
    images = x = keras.Input((PIXELS,), name="images")
    regularization = spec.regularization
    if (noise := regularization.gaussian_noise) and noise.sigma:
        x = layers.make_noise("gaussian_noise", noise.sigma, "input_noise")(x)
    if (dropout := regularization.dropout) and dropout.input_rate:
        x = layers.make_noise("dropout", dropout.input_rate, "input_dropout")(x)
    if isinstance(spec.model, Cnn):
        x = _apply_convolutions(x, spec.model, spec, layers)
    for index, units in enumerate(spec.model.hidden_units, start=1):
        name = f"hidden_{index}"
        x = keras.layers.Dense(units, use_bias=_needs_bias(spec), name=name)(x)
        x = _normalize_and_activate(x, name, spec)
        # After the normalization, whose statistics a mask before it would shift.
        if dropout and dropout.rate:
            x = layers.make_noise("dropout", dropout.rate, f"dropout_{index}")(x)
        if (gaussian := regularization.gaussian_dropout) and gaussian.rate:
            x = layers.make_noise("gaussian_dropout", gaussian.rate, f"gaussian_dropout_{index}")(x)
    return keras.Model(images, keras.layers.Dense(spec.dataset.classes, name="logits")(x), name="regbench")


def _apply_convolutions(
    x: keras.KerasTensor, model: Cnn, spec: JobSpec, layers: KerasLayers
) -> keras.KerasTensor:
    x = keras.layers.Reshape((SIDE, SIDE, 1), name="square")(x)
    spatial = spec.regularization.spatial_dropout
    for index, filters in enumerate(model.filters, start=1):
        name = f"convolution_{index}"
        x = layers.make_convolution(filters, model.kernel_size, use_bias=_needs_bias(spec), name=name)(x)
        x = layers.make_pooling(f"pooling_{index}")(_normalize_and_activate(x, name, spec))
        if spatial and spatial.rate:
            x = layers.make_noise("spatial_dropout", spatial.rate, f"spatial_dropout_{index}")(x)
    return keras.layers.Flatten(name="flat")(x)


def _needs_bias(spec: JobSpec) -> bool:
    """Whether no normalization before the activation has a beta, which takes the place of a bias."""
    techniques = (spec.regularization.batch_normalization, spec.regularization.layer_normalization)
    return not any(technique and technique.position == "before_activation" for technique in techniques)


def _normalize_and_activate(x: keras.KerasTensor, name: str, spec: JobSpec) -> keras.KerasTensor:
    batch, layer = spec.regularization.batch_normalization, spec.regularization.layer_normalization
    before: list[keras.layers.Layer] = []
    after: list[keras.layers.Layer] = []
    if batch:
        side = before if batch.position == "before_activation" else after
        side.append(keras.layers.BatchNormalization(momentum=batch.momentum, name=f"{name}_normalization"))
    if layer:
        side = before if layer.position == "before_activation" else after
        side.append(keras.layers.LayerNormalization(name=f"{name}_layer_normalization"))
    activation = keras.layers.Activation(spec.model.activation, name=f"{name}{_ACTIVATION}")
    for applied in (*before, activation, *after):
        x = applied(x)
    return x


def get_hidden_outputs(network: keras.Model) -> list[keras.KerasTensor]:
    """The output of each hidden layer, right after its activation."""
    return [layer.output for layer in network.layers if layer.name.endswith(_ACTIVATION)]


def set_initial_weights(network: keras.Model, seed: int) -> None:
    """Set every weight by Keras's default initializers, each from a seed of its own."""
    for layer in network.layers:
        for weight in layer.weights:
            if weight.name == "kernel":
                initializer = type(layer.kernel_initializer)(seed=derive_seed(seed, weight.path))
                weight.assign(initializer(weight.shape))
            else:
                ones = weight.name in {"gamma", "moving_variance"}
                weight.assign(keras.ops.ones(weight.shape) if ones else keras.ops.zeros(weight.shape))


def get_kernels(network: keras.Model) -> list[keras.Variable]:
    """The weights that penalties and weight norms are about: no biases, no normalization."""
    return [weight for weight in network.trainable_weights if weight.name == "kernel"]


def build_inference_model(spec: JobSpec) -> keras.Model:
    """Images (n, 784) in, probabilities (n, classes) out, from Keras's layers; its weights mean nothing.

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
