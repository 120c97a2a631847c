"""Layers that disturb the flow in training, by random numbers that need no generator's state.

Keras's own layers keep such a state, which is slow inside a compiled loop and is saved by no checkpoint. A
hash of (seed, layer, step, unit) needs none, so a resumed job draws the very same numbers. Strength and seed
are variables: another job with this shape of network needs no new compilation.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.spec import JobSpec
from models.techniques import Technique
from models.techniques.noise import Dropout
from worker.seeds import derive

_MANTISSA_BITS = 24  # of a 32-bit float: random integers of this many bits become exact floats


class StepClock:
    """The number of the current step, as a variable that the compiled loop sets and random layers read."""

    def __init__(self) -> None:
        self.step = tf.Variable(0, trainable=False, dtype=tf.int32)


class HashedNoise(keras.layers.Layer):
    """What the random layers share: a strength, a seed, and numbers in [0, 1) for each unit and step."""

    def __init__(self, clock: StepClock, name: str) -> None:
        super().__init__(name=name)
        self._state = _NoiseState(clock)

    def configure(self, strength: float, job_seed: int) -> None:
        """Set the job's own strength and seed."""
        keys = [derive(job_seed, f"{self.name}/{part}") for part in ("first", "second")]
        self._state.strength.assign(strength)
        self._state.keys.assign(tf.constant(keys, tf.uint32))

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Disturb `inputs` in training; hand them on untouched otherwise."""
        return self._disturbed(inputs, self._state.strength) if training else inputs

    def _disturbed(self, inputs: Any, strength: Any) -> Any:
        """Each kind of noise says what it does."""
        raise TypeError(f"{type(self).__name__} does not say how it disturbs")

    def _uniform(self, inputs: Any, draws: int = 1) -> list[Any]:
        """`draws` independent numbers in [0, 1) for each element of `inputs`."""
        state, size = self._state, tf.size(inputs)
        return [
            tf.reshape(
                hashed_uniform(
                    tf.range(size) + number * size, state.keys[0], state.keys[1], state.clock.step
                ),
                tf.shape(inputs),
            )
            for number in range(draws)
        ]

    def _normal(self, inputs: Any) -> Any:
        """A standard normal number for each element (Box and Muller 1958)."""
        radius, angle = self._uniform(inputs, draws=2)
        # 1 - u lies in (0, 1], whose logarithm is finite.
        return tf.sqrt(-2.0 * tf.math.log(1.0 - radius)) * tf.cos(2.0 * np.float32(np.pi) * angle)


class _NoiseState:
    """Held apart from the layer, so that Keras counts none of it among the network's weights."""

    def __init__(self, clock: StepClock) -> None:
        self.clock = clock
        self.strength = tf.Variable(0.0, trainable=False, dtype=tf.float32)
        self.keys = tf.Variable(tf.zeros([2], tf.uint32), trainable=False)


class HashDropout(HashedNoise):
    """Inverted dropout; its strength is the rate."""

    def _disturbed(self, inputs: Any, strength: Any) -> Any:
        (uniform,) = self._uniform(inputs)
        return tf.where(uniform >= strength, inputs / (1.0 - strength), tf.zeros_like(inputs))


class HashGaussianDropout(HashedNoise):
    """Multiplication by normal numbers around one; its strength is the rate of the dropout it resembles."""

    def _disturbed(self, inputs: Any, strength: Any) -> Any:
        return inputs * (1.0 + tf.sqrt(strength / (1.0 - strength)) * self._normal(inputs))


class HashGaussianNoise(HashedNoise):
    """Addition of normal numbers; its strength is their standard deviation."""

    def _disturbed(self, inputs: Any, strength: Any) -> Any:
        return inputs + strength * self._normal(inputs)


KINDS: dict[str, type[HashedNoise]] = {
    "dropout": HashDropout,
    "gaussian_dropout": HashGaussianDropout,
    "gaussian_noise": HashGaussianNoise,
}


def configure_noise(network: keras.Model, spec: JobSpec) -> None:
    """Give every random layer of `network` its strength and seed."""
    for layer in network.layers:
        if isinstance(layer, HashedNoise):
            layer.configure(_strength(layer, spec.regularization.active), spec.seed)


def _strength(layer: HashedNoise, active: dict[str, Technique]) -> float:
    technique = active[next(name for name, kind in KINDS.items() if type(layer) is kind)]
    if isinstance(technique, Dropout) and layer.name.startswith("input_"):
        return technique.input_rate
    return technique.strength


def hashed_uniform(units: Any, first_key: Any, second_key: Any, step: Any) -> Any:
    """Numbers in [0, 1) for integers `units`, different for every key and step.

    The two keys are mixed with the step first; then one enters before and one within the three rounds, so
    that the masks of two steps are not shifted copies of each other.
    """
    step = tf.cast(step, tf.uint32)
    before, within = _mixed(step ^ first_key), _mixed(step ^ second_key ^ tf.constant(0x9E3779B9, tf.uint32))
    bits = _mixed(tf.cast(units, tf.uint32) ^ before, within)
    fraction = tf.bitwise.right_shift(bits, tf.constant(32 - _MANTISSA_BITS, tf.uint32))
    # XLA converts signed integers to floats in one instruction, unsigned ones in several.
    return tf.cast(tf.cast(fraction, tf.int32), tf.float32) * np.float32(2.0**-_MANTISSA_BITS)


def _mixed(value: Any, key: Any | None = None) -> Any:
    """Three multiply-xor-shift rounds with Wellons's constants (triple32); `key` enters after the first."""
    value = _xor_shift(value, 17) * tf.constant(0xED5AD4BB, tf.uint32)
    if key is not None:
        value = value ^ key
    value = _xor_shift(value, 11) * tf.constant(0xAC4C1B51, tf.uint32)
    value = _xor_shift(value, 15) * tf.constant(0x31848BAB, tf.uint32)
    return _xor_shift(value, 14)


def _xor_shift(value: Any, bits: int) -> Any:
    return value ^ tf.bitwise.right_shift(value, tf.constant(bits, tf.uint32))
