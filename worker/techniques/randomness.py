"""Random numbers that need no generator's state.

A generator's state is slow inside a compiled loop and is saved by no checkpoint. A hash of (seed, role, step,
position) needs none, so a resumed job draws the very same numbers. Seeds are variables: another job with
this shape of network needs no new compilation.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from worker.seeds import derive_seed

_MANTISSA_BITS = 24  # of a 32-bit float: random integers of this many bits become exact floats


class StepClock:
    """The number of the current step, as a variable that the compiled loop sets and random parts read."""

    def __init__(self) -> None:
        self.step = tf.Variable(0, trainable=False, dtype=tf.int32)


class HashedStream:
    """The random numbers of one role in one job: new ones at each step."""

    def __init__(self, clock: StepClock, role: str) -> None:
        self._clock, self._role = clock, role
        self._keys = tf.Variable(tf.zeros([2], tf.uint32), trainable=False)

    def configure(self, job_seed: int) -> None:
        """Begin the job's own numbers."""
        keys = [derive_seed(job_seed, f"{self._role}/{part}") for part in ("first", "second")]
        self._keys.assign(tf.constant(keys, tf.uint32))

    def draw_uniform(self, count: Any, after: Any = 0) -> Any:
        """`count` numbers (count,) in [0, 1), those after the first `after` of this step."""
        return compute_hashed_uniform(tf.range(count) + after, self._keys[0], self._keys[1], self._clock.step)


def compute_hashed_uniform(units: Any, first_key: Any, second_key: Any, step: Any) -> Any:
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
