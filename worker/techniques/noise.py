"""Layers that disturb the flow in training.

Strength and seed are variables: another job with this shape of network needs no new compilation.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from models.spec import JobSpec
from models.techniques import Technique
from models.techniques.noise import Dropout
from worker.techniques.randomness import HashedStream, StepClock


class HashedNoise(keras.layers.Layer):
    """What the random layers share: a strength, and numbers in [0, 1) for each unit and step."""

    technique: ClassVar[str]
    keras_layer: ClassVar[type[keras.layers.Layer]]
    """Keras's own layer, which takes its place in exported models."""

    def __init__(self, clock: StepClock, name: str) -> None:
        super().__init__(name=name)
        self._state = _NoiseState(clock, name)

    def configure(self, spec: JobSpec) -> None:
        """Set the job's own strength and seed."""
        self.set_strength(self._get_strength(spec.regularization.active[self.technique]), spec.seed)

    def _get_strength(self, technique: Technique) -> float:
        return technique.strength

    def set_strength(self, strength: float, job_seed: int) -> None:
        """Set a strength, and a seed that the random numbers depend on."""
        self._state.strength.assign(strength)
        self._state.stream.configure(job_seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Disturb `inputs` in training; hand them on untouched otherwise."""
        return self._disturbed(inputs, self._state.strength) if training else inputs

    def _disturbed(self, inputs: Any, strength: Any) -> Any:
        """Each kind of noise says what it does."""
        raise TypeError(f"{type(self).__name__} does not say how it disturbs")

    def _uniform(self, inputs: Any, draws: int = 1) -> list[Any]:
        """`draws` independent numbers in [0, 1) for each element of `inputs`."""
        size = tf.size(inputs)
        return [
            tf.reshape(self._state.stream.draw_uniform(size, after=index * size), tf.shape(inputs))
            for index in range(draws)
        ]

    def _normal(self, inputs: Any) -> Any:
        """A standard normal number for each element (Box and Muller 1958)."""
        radius, angle = self._uniform(inputs, draws=2)
        # 1 - u lies in (0, 1], whose logarithm is finite.
        return tf.sqrt(-2.0 * tf.math.log(1.0 - radius)) * tf.cos(2.0 * np.float32(np.pi) * angle)


class _NoiseState:
    """Held apart from the layer, so that Keras counts none of it among the network's weights."""

    def __init__(self, clock: StepClock, role: str) -> None:
        self.stream = HashedStream(clock, role)
        self.strength = tf.Variable(0.0, trainable=False, dtype=tf.float32)


class HashDropout(HashedNoise):
    """Inverted dropout; its strength is the rate."""

    technique = "dropout"
    keras_layer = keras.layers.Dropout

    def _get_strength(self, technique: Technique) -> float:
        if isinstance(technique, Dropout) and self.name.startswith("input_"):
            return technique.input_rate
        return technique.strength

    def _disturbed(self, inputs: Any, strength: Any) -> Any:
        return _dropped(inputs, self._uniform(inputs)[0], strength)


class HashSpatialDropout(HashedNoise):
    """Inverted dropout of whole feature maps (n, height, width, maps); its strength is the rate."""

    technique = "spatial_dropout"
    keras_layer = keras.layers.SpatialDropout2D

    def _disturbed(self, inputs: Any, strength: Any) -> Any:
        # One number a map: the same for each of its positions.
        return _dropped(inputs, self._uniform(inputs[:, :1, :1, :])[0], strength)


def _dropped(inputs: Any, uniform: Any, rate: Any) -> Any:
    return tf.where(uniform >= rate, inputs / (1.0 - rate), tf.zeros_like(inputs))


class HashGaussianDropout(HashedNoise):
    """Multiplication by normal numbers around one; its strength is the rate of the dropout it resembles."""

    technique = "gaussian_dropout"
    keras_layer = keras.layers.GaussianDropout

    def _disturbed(self, inputs: Any, strength: Any) -> Any:
        return inputs * (1.0 + tf.sqrt(strength / (1.0 - strength)) * self._normal(inputs))


class HashGaussianNoise(HashedNoise):
    """Addition of normal numbers; its strength is their standard deviation."""

    technique = "gaussian_noise"
    keras_layer = keras.layers.GaussianNoise

    def _disturbed(self, inputs: Any, strength: Any) -> Any:
        return inputs + strength * self._normal(inputs)


NOISE_LAYERS = {layer.technique: layer for layer in HashedNoise.__subclasses__()}


def iter_noise_layers(network: keras.Model) -> Iterator[HashedNoise]:
    """The random layers of a network."""
    return (layer for layer in network.layers if isinstance(layer, HashedNoise))
