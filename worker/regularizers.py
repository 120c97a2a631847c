"""What the catalogue's techniques do in training: layers, penalties and when to stop."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.records import EpochRecord
from models.spec import JobSpec
from models.techniques import EarlyStopping
from worker.network import kernels
from worker.seeds import derive

_MANTISSA_BITS = 24  # of a 32-bit float: random integers of this many bits become exact floats


class StepClock:
    """The number of the current step, as a variable that the compiled loop sets and random layers read."""

    def __init__(self) -> None:
        self.step = tf.Variable(0, trainable=False, dtype=tf.int32)


class HashDropout(keras.layers.Layer):
    """Inverted dropout whose mask is a hash of (seed, layer, step, unit).

    Keras's own layer keeps a generator's state, which is slow inside a compiled loop and is saved by no
    checkpoint; a hash of the step needs no state, so a resumed job draws the very same masks. Rate and
    seed are variables: another job with this network's shape needs no new compilation.
    """

    def __init__(self, clock: StepClock, name: str) -> None:
        super().__init__(name=name)
        self._state = _DropoutState(clock)

    def configure(self, rate: float, job_seed: int) -> None:
        """Set the job's own rate and seed."""
        keys = [derive(job_seed, f"{self.name}/{part}") for part in ("first", "second")]
        self._state.rate.assign(rate)
        self._state.keys.assign(tf.constant(keys, tf.uint32))

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Mask and scale `inputs` in training; hand them on untouched otherwise."""
        if not training:
            return inputs
        state = self._state
        units = tf.reshape(tf.range(tf.size(inputs)), tf.shape(inputs))
        uniform = hashed_uniform(units, state.keys[0], state.keys[1], state.clock.step)
        return tf.where(uniform >= state.rate, inputs / (1.0 - state.rate), tf.zeros_like(inputs))


class _DropoutState:
    """Held apart from the layer, so that Keras counts none of it among the network's weights."""

    def __init__(self, clock: StepClock) -> None:
        self.clock = clock
        self.rate = tf.Variable(0.0, trainable=False, dtype=tf.float32)
        self.keys = tf.Variable(tf.zeros([2], tf.uint32), trainable=False)


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


class Penalty:
    """L1 and L2 over all kernels. Factors are variables; a technique that is off costs nothing."""

    def __init__(self, spec: JobSpec, network: keras.Model) -> None:
        self._kernels = kernels(network)
        self._l1 = tf.Variable(0.0, trainable=False) if has_l1(spec) else None
        self._l2 = tf.Variable(0.0, trainable=False) if has_l2(spec) else None

    def configure(self, spec: JobSpec) -> None:
        """Set the job's own factors."""
        for variable, technique in ((self._l1, spec.regularization.l1), (self._l2, spec.regularization.l2)):
            if variable is not None and technique is not None:
                variable.assign(technique.factor)

    def __call__(self) -> Any:
        """The sum that is added to the cross-entropy, in nats per example."""
        total = tf.constant(0.0)
        for kernel in self._kernels:
            if self._l1 is not None:
                total += self._l1 * tf.reduce_sum(tf.abs(kernel.value))
            if self._l2 is not None:
                total += self._l2 * tf.reduce_sum(tf.square(kernel.value))
        return total


def has_l1(spec: JobSpec) -> bool:
    """Whether L1 does anything; a factor of 0 builds the unregularized program, with its very weights."""
    return bool(spec.regularization.l1 and spec.regularization.l1.factor)


def has_l2(spec: JobSpec) -> bool:
    """Whether L2 does anything."""
    return bool(spec.regularization.l2 and spec.regularization.l2.factor)


class BestEpoch:
    """Which epoch has been the best by its validation data, and, under early stopping, when it is enough.

    Keras's own callback cannot restore epochs before its start epoch and loses its state on a resume.
    """

    def __init__(self, technique: EarlyStopping | None) -> None:
        self._technique = technique or EarlyStopping(min_delta=0.0)
        self._stops = technique is not None
        self.epoch = 0
        self._best = np.inf
        self._waited = 0

    @property
    def restores(self) -> bool:
        """Whether the best epoch's weights are the ones to report."""
        return self._stops and self._technique.restore_best

    @property
    def enough(self) -> bool:
        """Whether patience has run out."""
        return self._stops and self._waited >= self._technique.patience

    def observe(self, record: EpochRecord) -> bool:
        """Take in an epoch; returns whether it is the best so far."""
        value = self._monitored(record)
        if value is None or value < self._best - self._technique.min_delta:
            self.epoch, self._waited = record.epoch, 0
            self._best = np.inf if value is None else value
            return True
        if record.epoch >= self._technique.start_epoch:
            self._waited += 1
        return False

    def _monitored(self, record: EpochRecord) -> float | None:
        """What should fall; None without validation data, where the newest epoch counts as the best."""
        if self._technique.monitor == "validation_loss":
            return record.validation_loss
        return None if record.validation_accuracy is None else -record.validation_accuracy
