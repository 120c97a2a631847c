"""Verdicts: which words follow from which numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from api.reports.contrasts import build_contrasts
from models.store.tables import Job
from tests.factories import finished_row
from tests.unit.api.reports.test_contrasts import accuracy, answers, contrast

CLEAR = [0.019, 0.021, 0.022, 0.018, 0.020, 0.020]
MIXED = [0.02, -0.01, 0.01, -0.01, 0.02, -0.02]
TINY = [0.0001, -0.0001, 0.0, 0.0002, -0.0002, 0.0001]


def verdict(gains: Sequence[float]) -> str:
    """Of a variant that gains so much test accuracy, all else equal."""
    return contrast([0.9 + gain for gain in gains]).verdict


def of_metrics(changes: Mapping[str, Sequence[float]], baseline: Mapping[str, float]) -> str:
    """Of a variant whose metrics differ so from the baseline's, seed by seed."""
    first = [finished_row("a", seed, **baseline) for seed in range(6)]
    second = [
        finished_row(
            "b",
            seed,
            **{name: value + changes.get(name, [0.0] * 6)[seed] for name, value in baseline.items()},
        )
        for seed in range(6)
    ]
    return build_contrasts({"a": first, "b": second}, "a")[0].verdict


def test_without_a_pair_there_is_no_verdict() -> None:
    assert verdict([]) == "No seed has a result in both variants, so nothing can be said."


def test_one_pair_shows_what_happened_and_no_more() -> None:
    text = verdict([0.02])
    assert text.startswith("Test accuracy +2.00 points, test loss +0.0000 nats, gap in accuracy +0.00 points")
    assert text.endswith("One pair: this shows what happened, not what would happen again.")


def test_one_pair_counts_the_images_only_one_model_classifies_correctly() -> None:
    first = [finished_row("a", 0, test_correct=answers("10000000"))]
    second = [finished_row("b", 0, test_correct=answers("01111111"))]
    text = build_contrasts({"a": first, "b": second}, "a")[0].verdict
    assert "7 test images are classified correctly by this model only, 1 by the baseline's only" in text
    assert "McNemar's test of these two models: p = 0.070" in text


@pytest.mark.parametrize(
    ("pairs", "best", "more"),
    [(2, "0.5", "4 more seeds"), (3, "0.25", "3 more seeds"), (5, "0.062", "1 more seed")],
)
def test_few_pairs_say_what_cannot_be_concluded(pairs: int, best: str, more: str) -> None:
    text = verdict(CLEAR[:pairs])
    assert (
        f"{pairs} pairs cannot settle it, neither that there is a difference nor that there is none" in text
    )
    assert f"p = {best} at best. At least {more} would be needed." in text
    assert not {"higher", "Higher", "lower", "Lower", "stays"} & set(text.replace(":", "").split())


def test_a_clear_difference_is_called_with_its_direction_and_interval() -> None:
    assert verdict(CLEAR).startswith(
        "Test accuracy is higher by 2.00 points (95 % interval +1.85 to +2.15, p < 0.001)."
    )
    assert "is lower by 2.00 points (95 % interval -2.15 to -1.85" in verdict([-gain for gain in CLEAR])


def scattered(mean: float, sd: float, pairs: int) -> list[float]:
    """Gains of that mean and standard deviation, in points."""
    noise = np.random.default_rng(0).normal(size=pairs)
    return list((mean + sd * (noise - noise.mean()) / noise.std(ddof=1)) / 100)


def test_an_unclear_difference_states_how_many_seeds_would_detect_one() -> None:
    assert verdict(scattered(0.05, 0.27, 10)).startswith(
        "Test accuracy: no difference could be shown (+0.05 points, 95 % interval -0.14 to +0.24, "
        "p = 1.000); "
        "about 14 more seeds would probably show one of 0.2 points."
    )


def test_a_large_number_of_seeds_is_rounded() -> None:
    ten_pairs = contrast([0.9 + gain for gain in scattered(0.5, 2.5, 10)])
    assert ten_pairs.equivalence is not None
    assert ten_pairs.equivalence.more_seeds == 1736
    assert "; about 1,700 more seeds would probably show one of 0.2 points." in ten_pairs.verdict


def test_a_sufficient_number_of_pairs_without_a_difference_is_stated() -> None:
    assert verdict(scattered(0.13, 0.15, 10)).startswith(
        "Test accuracy: no difference could be shown (+0.13 points, 95 % interval +0.02 to +0.24, "
        "p = 0.091); "
        "these 10 pairs would probably have shown one of 0.2 points."
    )


def test_a_small_difference_is_reported_as_small() -> None:
    assert "Test accuracy stays within 0.2 points of the baseline's (+0.00 points, 90 % interval" in verdict(
        TINY
    )
    small = verdict([0.0010, 0.0011, 0.0009, 0.0010, 0.0012, 0.0010])
    assert small.startswith(
        "Test accuracy is higher by 0.10 points (p < 0.001), though by less than 0.2 points (90 % interval"
    )


def test_identical_models_have_no_significant_difference() -> None:
    text = verdict([0.0] * 8)
    assert text.startswith("The same in every pair: test accuracy, test loss, gap in accuracy, gap in loss.")


def test_rounding_errors_are_not_variance() -> None:
    # 0.92 - 0.90 is not 0.93 - 0.91 in floating point; as a scatter it would make any difference certain.
    base = [0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96]
    shifted = contrast([value + 0.02 for value in base], base)
    assert (accuracy(shifted).sd, accuracy(shifted).t_p, accuracy(shifted).call) == (0.0, None, None)
    assert (
        "Different by the same in every pair, which no t test can judge: test accuracy +2.00 points."
        in shifted.verdict
    )


def test_the_example_of_the_seed_document_can_be_reported() -> None:
    """Dropout leaves accuracy about where it was and improves the loss and the gap by a third."""
    scatter = np.array([1.0, -1.0, 2.0, -2.0, 0.5, -0.5])
    text = of_metrics(
        {
            "test_accuracy": 0.0002 * scatter,
            "test_loss": -0.036 + 0.002 * scatter,
            "generalization_gap_loss": -0.03 + 0.002 * scatter,
        },
        {"test_accuracy": 0.978, "test_loss": 0.108, "generalization_gap_loss": 0.09},
    )
    assert "Test accuracy stays within 0.2 points of the baseline's" in text
    assert (
        "Lower: test loss by 0.0360 nats (33 %, p < 0.001), gap in loss by 0.0300 nats (33 %, p < 0.001)."
        in text
    )
    assert "The same in every pair: gap in accuracy." in text
    assert text.endswith("(6 pairs; paired t tests at 5 %, Holm-corrected for 4 tests.)")


def test_an_unclear_loss_states_the_detectable_difference() -> None:
    text = of_metrics({"test_loss": MIXED}, {"test_loss": 0.1})
    assert "No difference could be shown: test loss (+0.0017 nats, p = 1.000; one of 0.0" in text


def test_the_exact_test_can_overrule_the_t_test() -> None:
    # Five gains and one tiny loss: significant by t, but 4 of 64 sign assignments are as extreme.
    gains = [0.020, 0.021, 0.020, 0.019, 0.020, -0.0001]
    five_gains = contrast([0.9 + gain for gain in gains])
    numbers = accuracy(five_gains)
    assert numbers.t_p_holm is not None
    assert numbers.t_p_holm < 0.05
    assert numbers.sign_flip_p == 4 / 64
    assert numbers.call is None
    assert "; the exact sign-flip test does not confirm the t test: p = 0.062); about" in five_gains.verdict


def test_a_result_for_these_images_is_not_generalized_to_others() -> None:
    """The same few of 1,000 images cause the whole difference in each pair; other images need not."""

    def verdict_on_images(gains: Sequence[int], *, lost: int = 0) -> str:
        first = np.arange(1000) < 900
        rows: dict[str, list[Job]] = {"a": [], "b": []}
        for seed in range(8):
            second = first.copy()
            second[:lost] = False
            second[900 : 900 + gains[seed % len(gains)]] = True
            for name, right in (("a", first), ("b", second)):
                correct = np.packbits(right).tobytes()
                rows[name].append(
                    finished_row(name, seed, test_accuracy=float(right.mean()), test_correct=correct)
                )
        return build_contrasts(rows, "a")[0].verdict

    few_gains = verdict_on_images([3, 4, 3, 4, 4])
    assert few_gains.startswith("Test accuracy is higher by 0.35 points (95 % interval")
    assert "On other test images that need not hold (95 % interval -0.05 to +0.75 for new images" in few_gains
    assert "On other test images" not in verdict_on_images([30, 31, 32])
    assert "On other test images" not in verdict_on_images([0, 1, 0])
    exchanged = verdict_on_images([5, 6, 5], lost=5)
    assert exchanged.startswith("Test accuracy stays within 0.2 points of the baseline's (+0.04 points")
    assert "On other test images that need not hold" in exchanged
