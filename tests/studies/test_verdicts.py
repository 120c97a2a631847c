"""Error rates of verdicts: simulated experiments with known truth, through the report's own code."""

import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from api.reports.contrasts import build_contrasts
from api.reports.schemas import Contrast, Difference
from models.statistics import (
    compute_detectable_difference,
    compute_paired_difference,
    compute_two_way_clustered_interval,
)
from models.store.tables import Job, Result

VARIANTS, SEEDS = "abcdef", 10
MANY = 2000
Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
# Of about the size that seeds differ by on MNIST: test accuracy, test loss, training accuracy and loss.
LEVELS = (0.980, 0.08, 0.998, 0.008)
SCATTER = (0.0006, 0.003, 0.0004, 0.001)
_WORDS = re.compile(r"\b(higher|lower)\b", re.IGNORECASE)


def normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.normal(size=shape)


def heavy_tailed(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.standard_t(2.5, size=shape)


def skewed(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.lognormal(size=shape)


def lopsided(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Skewed about a mean of zero."""
    return generator.exponential(size=shape) - 1


def now_and_then_far_off(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.normal(size=shape) - 15 * (generator.random(shape) < 0.05)


def experiments(
    number: int, draw: Draw, gains: Mapping[str, float] | None = None, *, steady_baseline: bool = False
) -> Iterator[dict[str, Contrast]]:
    """The contrasts of simulated experiments.

    A run's metrics have its seed's part, the run's part, and a part each; runs of a seed share the first.
    `gains` is what a variant truly adds to the test accuracy, in points; training accuracy gains as much, so
    that the gap stays. A steady baseline scatters by its seeds' part only.
    """
    generator = np.random.default_rng(0)
    rows = {name: [Job(seed=seed, result=Result()) for seed in range(SEEDS)] for name in VARIANTS}
    for _ in range(number):
        shared = draw(generator, (1, SEEDS, 1))
        lucky = draw(generator, (len(VARIANTS), SEEDS, 1))
        own = draw(generator, (len(VARIANTS), SEEDS, len(LEVELS)))
        if steady_baseline:
            lucky[0] = own[0] = 0.0
        values = LEVELS + np.array(SCATTER) * (shared + lucky + own)
        for name, of_variant in zip(VARIANTS, values, strict=True):
            gain = (gains or {}).get(name, 0.0) / 100
            for job, (accuracy, loss, train_accuracy, train_loss) in zip(
                rows[name], of_variant.tolist(), strict=True
            ):
                result = job.result
                assert result is not None
                # An accuracy is a number of images, so that ties are as frequent as in real runs.
                result.test_accuracy = round(accuracy + gain, 4)
                result.test_loss = loss
                result.generalization_gap_accuracy = round(train_accuracy + gain, 4) - result.test_accuracy
                result.generalization_gap_loss = loss - train_loss
        yield {contrast.variant: contrast for contrast in build_contrasts(rows, "a")}


def metrics(contrast: Contrast) -> list[Difference]:
    assert contrast.differences is not None
    return [getattr(contrast.differences, name) for name in type(contrast.differences).model_fields]


def calls(contrast: Contrast) -> bool:
    """Whether any metric is called higher or lower; the words must agree with the numbers."""
    called = any(difference.call for difference in metrics(contrast))
    assert bool(_WORDS.search(contrast.verdict)) == called
    return called


def covers(difference: Difference, truth: float) -> bool:
    assert difference.low is not None
    assert difference.high is not None
    return difference.low <= truth <= difference.high


def share_with_a_false_call(number: int, draw: Draw) -> float:
    return float(np.mean([any(map(calls, contrasts.values())) for contrasts in experiments(number, draw)]))


def test_a_few_null_experiments_have_almost_no_significant_results() -> None:
    assert share_with_a_false_call(200, normal) <= 0.08


@pytest.mark.slow
@pytest.mark.parametrize("draw", [normal, heavy_tailed, skewed, now_and_then_far_off])
def test_the_familywise_error_rate_is_at_most_five_percent(draw: Draw) -> None:
    share = share_with_a_false_call(MANY, draw)
    assert share <= 0.05


@pytest.mark.slow
def test_skewed_differences_are_significant_too_often() -> None:
    """The limitation that the documentation names: here no variant's mean differs from the baseline's."""
    simulated = experiments(MANY, lopsided, steady_baseline=True)
    share = np.mean([any(map(calls, contrasts.values())) for contrasts in simulated])
    assert share == pytest.approx(0.14, abs=0.02)


@pytest.mark.slow
def test_true_differences_do_not_raise_the_error_rate_of_others() -> None:
    """Holm's method holds whichever of the differences are real."""
    simulated = experiments(MANY, normal, {"b": 0.5, "c": -0.5})
    false = [any(calls(contrasts[name]) for name in "def") for contrasts in simulated]
    assert np.mean(false) <= 0.05


@pytest.mark.parametrize("number", [200, pytest.param(MANY, marks=pytest.mark.slow)])
def test_intervals_have_their_nominal_coverage(number: int) -> None:
    drawn = [contrasts["b"] for contrasts in experiments(number, normal, {"b": 0.3})]
    truths = (0.3, 0.0, 0.0, 0.0)
    covered = np.mean(
        [
            [covers(difference, truth) for difference, truth in zip(metrics(contrast), truths, strict=True)]
            for contrast in drawn
        ],
        0,
    )
    assert covered == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / number))


@pytest.mark.slow
def test_a_reported_detectable_difference_has_80_percent_power() -> None:
    # A difference's standard deviation: the noise of two runs; the seed's part cancels.
    sd = 100 * SCATTER[0] * np.sqrt(4)
    gain = compute_detectable_difference(sd, SEEDS, level=0.05 / 20)
    verdicts = [metrics(contrasts["b"])[0].call for contrasts in experiments(MANY, normal, {"b": gain})]
    # A little less than 0.8, because whole images round.
    assert np.mean([verdict == "higher" for verdict in verdicts]) == pytest.approx(0.8, abs=0.03)
    assert "lower" not in verdicts


@pytest.mark.slow
def test_a_difference_of_the_margin_is_rarely_equivalent() -> None:
    equivalences = [contrasts["b"].equivalence for contrasts in experiments(MANY, normal, {"b": 0.2})]
    assert (
        np.mean([equivalence is not None and equivalence.equivalent for equivalence in equivalences]) <= 0.05
    )


def models(generator: np.random.Generator, difficulty: Array, pairs: int) -> NDArray[np.bool_]:
    """Which images each of these models classifies correctly, at its own accuracy; shape (pairs, images)."""
    luck = generator.normal(scale=0.1, size=(pairs, 1))
    return np.asarray(generator.logistic(size=(pairs, difficulty.size)) + luck > difficulty)


@pytest.mark.slow
def test_only_the_clustered_interval_covers_new_images() -> None:
    """Two techniques that are as good as each other, on average over images, but not on the same images."""
    generator = np.random.default_rng(0)
    pairs, images = 30, 10_000
    covered = []
    for _ in range(300):
        difficulty, taste = 3 * generator.normal(size=images) - 7, generator.normal(size=images) / 2
        first, second = (
            models(generator, difficulty - taste, pairs),
            models(generator, difficulty + taste, pairs),
        )
        wider = compute_two_way_clustered_interval(
            [packed(row) for row in first], [packed(row) for row in second]
        )
        plain = compute_paired_difference(first.mean(1).tolist(), second.mean(1).tolist())
        assert plain is not None
        assert plain.low is not None
        assert plain.high is not None
        covered.append((wider.low <= 0 <= wider.high, plain.low <= 0 <= plain.high))
    of_new_images, of_these_only = np.mean(covered, axis=0)
    assert of_new_images == pytest.approx(0.95, abs=0.03)
    assert of_these_only < 0.9


def packed(right: NDArray[np.bool_]) -> bytes:
    return np.packbits(right).tobytes()
