import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from models.records import EpochRecord
from models.techniques import EarlyStopping
from tests.factories import epoch_record, job_spec
from worker.network import build_network
from worker.regularizers import BestEpoch, HashDropout, Penalty, StepClock, hashed_uniform

UNITS = 4096


def mask(*, seed: int = 0, step: int = 0, layer: str = "dropout_1", rate: float = 0.5) -> np.ndarray:
    """Which of UNITS units a layer keeps, (8, UNITS // 8)."""
    clock = StepClock()
    clock.step.assign(step)
    dropout = HashDropout(clock, layer)
    dropout.configure(rate, seed)
    return dropout(tf.ones((8, UNITS // 8)), training=True).numpy() > 0


def numbers(step: int, key: int, count: int = 100_000) -> np.ndarray:
    return hashed_uniform(
        tf.range(count), tf.constant(key, tf.uint32), tf.constant(key + 1, tf.uint32), tf.constant(step)
    ).numpy()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_silences_the_share_that_it_is_told(rate: float) -> None:
    kept = np.mean([mask(step=step, rate=rate).mean() for step in range(50)])
    # 204,800 units: four standard deviations.
    assert kept == pytest.approx(1 - rate, abs=4 * np.sqrt(rate * (1 - rate) / (50 * UNITS)))


def test_dropout_keeps_the_expectation_and_is_nothing_at_inference() -> None:
    layer = HashDropout(StepClock(), "dropout_1")
    layer.configure(0.25, 0)
    inputs = tf.random.stateless_uniform((64, 4096), seed=[1, 2])
    dropped = layer(inputs, training=True).numpy()
    kept = dropped != 0
    assert np.allclose(dropped[kept], inputs.numpy()[kept] / 0.75)
    assert dropped.mean() == pytest.approx(inputs.numpy().mean(), rel=0.01)
    assert np.array_equal(layer(inputs, training=False), inputs)


def test_masks_repeat_for_the_same_step_seed_and_layer_and_for_no_other() -> None:
    assert np.array_equal(mask(seed=3, step=9), mask(seed=3, step=9))
    variations = {"seed": [0, 1, 2], "step": [0, 1, 1000], "layer": ["dropout_1", "dropout_2"]}
    names, values = variations.keys(), variations.values()
    masks = [mask(**dict(zip(names, choice, strict=True))) for choice in itertools.product(*values)]
    for one, other in itertools.combinations(masks, 2):
        # Independent masks agree on half of the units; five standard deviations.
        assert (one == other).mean() == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(UNITS))


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


def test_penalty_equals_the_formula_by_hand() -> None:
    spec = job_spec(
        model={"hidden_units": [2]}, regularization={"l1": {"factor": 0.01}, "l2": {"factor": 0.1}}
    )
    network = build_network(spec, lambda _rate, _name: pytest.fail("no dropout was asked for"))
    hidden, logits = np.zeros((784, 2), np.float32), np.zeros((2, 10), np.float32)
    hidden[0, 0], hidden[1, 1], logits[1, 9] = 3.0, -4.0, 0.5
    network.set_weights([hidden, np.full(2, 100.0), logits, np.full(10, 100.0)])  # biases are not penalized
    penalty = Penalty(spec, network)
    penalty.configure(spec)
    assert float(penalty()) == pytest.approx(0.01 * (3 + 4 + 0.5) + 0.1 * (9 + 16 + 0.25))


def observe(technique: EarlyStopping | None, losses: list[float | None]) -> tuple[BestEpoch, int]:
    """The state after these validation losses, and the epoch after which training stopped."""
    best = BestEpoch(technique)
    for epoch, loss in enumerate(losses, start=1):
        best.observe(record(epoch, loss))
        if best.enough:
            return best, epoch
    return best, len(losses)


def record(epoch: int, loss: float | None) -> EpochRecord:
    accuracy = None if loss is None else 1 - loss / 10
    return epoch_record(epoch, validation_loss=loss, validation_accuracy=accuracy)


def test_early_stopping_stops_after_patience_and_remembers_the_best() -> None:
    best, stopped = observe(EarlyStopping(patience=2), [0.5, 0.3, 0.4, 0.35, 0.2])
    assert (best.epoch, stopped, best.enough, best.restores) == (2, 4, True, True)


def test_an_improvement_below_min_delta_does_not_count() -> None:
    best, stopped = observe(EarlyStopping(patience=2, min_delta=0.05), [0.5, 0.47, 0.46, 0.1])
    assert (best.epoch, stopped) == (1, 3)


def test_patience_counts_from_the_start_epoch_but_earlier_epochs_may_be_best() -> None:
    best, stopped = observe(EarlyStopping(patience=1, start_epoch=4), [0.2, 0.5, 0.6, 0.7, 0.8])
    assert (best.epoch, stopped) == (1, 4)


def test_accuracy_is_monitored_upwards() -> None:
    best, stopped = observe(EarlyStopping(patience=1, monitor="validation_accuracy"), [0.5, 0.3, 0.4])
    assert (best.epoch, stopped) == (2, 3)


def test_without_early_stopping_the_best_epoch_is_known_and_nothing_stops() -> None:
    best, stopped = observe(None, [0.5, 0.1] + [0.9] * 50)
    assert (best.epoch, stopped, best.restores) == (2, 52, False)


def test_without_validation_data_the_last_epoch_is_the_best() -> None:
    best, _ = observe(None, [None, None, None])
    assert best.epoch == 3
