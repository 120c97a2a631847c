"""The hash that every random part draws from: uniform, and independent over positions, steps and seeds."""

import itertools

import numpy as np
import tensorflow as tf
from scipy import stats

from worker.techniques.randomness import HashedStream, StepClock, compute_hashed_uniform


def numbers(step: int, key: int, count: int = 100_000) -> np.ndarray:
    return compute_hashed_uniform(
        tf.range(count), tf.constant(key, tf.uint32), tf.constant(key + 1, tf.uint32), tf.constant(step)
    ).numpy()


def test_hashed_numbers_are_uniform() -> None:
    for step, key in itertools.product((0, 1, 14_999), (0, 1, 2**31)):
        values = numbers(step, key)
        assert values.min() >= 0
        assert values.max() < 1
        assert stats.kstest(values, "uniform").pvalue > 1e-4


def test_hashed_numbers_of_neighbouring_units_and_steps_are_uncorrelated() -> None:
    for key in range(20):
        values, following_step = numbers(5, key), numbers(6, key)
        for other in (np.roll(values, 1), np.roll(values, 512), following_step):
            # 100,000 pairs: the coefficient's standard deviation is 0.003.
            assert abs(np.corrcoef(values, other)[0, 1]) < 0.016


def test_masks_of_two_steps_are_not_shifted_copies() -> None:
    step, other = numbers(100, 7, 4096), numbers(101, 7, 4096)
    assert not np.intersect1d(step, other).size > 5  # 2^24 values, 4096 of each: one meets by chance


def test_a_stream_continues_at_the_given_position_and_differs_by_role() -> None:
    clock = StepClock()
    stream, other = HashedStream(clock, "one"), HashedStream(clock, "other")
    for source in (stream, other):
        source.configure(3)
    whole = stream.draw_uniform(100).numpy()
    assert np.array_equal(stream.draw_uniform(60, after=40), whole[40:])
    assert not np.isin(other.draw_uniform(100), whole).any()
    clock.step.assign(1)
    assert not np.isin(stream.draw_uniform(100), whole).any()
