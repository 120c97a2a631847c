"""Verdicts: which words follow from which numbers."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from api.reports.contrasts import build_contrasts
from api.reports.formatting import format_difference, format_p_value
from api.reports.verdicts import format_p
from models.experiments import Regime
from models.inference import Plan
from models.states import JobState
from models.store.tables import Job
from tests.factories import finished_row
from tests.unit.api.reports.test_contrasts import FIXED, accuracy, answers, contrast

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
    return build_contrasts({"a": first, "b": second}, "a", FIXED)[0].verdict


def test_without_a_pair_there_is_no_verdict() -> None:
    assert verdict([]) == "No seed has a result in both variants, so nothing can be said."


def test_one_pair_shows_what_happened_and_no_more() -> None:
    text = verdict([0.02])
    assert text.startswith("Test accuracy +2.00 points, test loss 0.0000 nats.")
    assert text.endswith("One pair: this shows what happened, not what would happen again.")


def test_one_pair_counts_the_images_only_one_model_classifies_correctly() -> None:
    first = [finished_row("a", 0, test_correct=answers("10000000"))]
    second = [finished_row("b", 0, test_correct=answers("01111111"))]
    text = build_contrasts({"a": first, "b": second}, "a", FIXED)[0].verdict
    assert "7 test images are classified correctly by this model only, 1 by the baseline's only" in text
    assert "McNemar's test of these two models, not corrected for others: p = 0.070" in text
    for pair in (first, second):
        pair[0].spec["dataset"]["part"] = {"of": 2, "index": 1}
    of_part = build_contrasts({"b": second, "a": first}, "b", FIXED)[0].verdict
    assert " Part 1: 1 test image is classified correctly by this model only, 7 by the baseline's" in of_part


@pytest.mark.parametrize(("pairs", "best"), [(2, "0.5"), (3, "0.25"), (5, "0.062")])
def test_few_pairs_say_what_cannot_be_concluded(pairs: int, best: str) -> None:
    text = verdict(CLEAR[:pairs])
    assert f"on average over {pairs} pairs. From fewer than 6 pairs nothing is called" in text
    assert (
        f"even if all {pairs} agreed in sign, the exact sign-flip test would give p = {best} at best." in text
    )
    assert not {"higher", "Higher", "lower", "Lower", "stays"} & set(text.replace(":", "").split())


def test_a_clear_difference_is_called_with_its_direction_and_interval() -> None:
    assert verdict(CLEAR).startswith("Test accuracy is higher by 2.00 points (95.5 % interval +1.8")
    assert "p = 0.031). Test loss is the same in every pair. (6 pairs.)" in verdict(CLEAR)
    assert "is lower by 2.00 points (95.5 % interval -2.1" in verdict([-gain for gain in CLEAR])


def test_an_interval_that_ends_near_zero_shows_on_which_side() -> None:
    half = accuracy(contrast([0.9 + gain for gain in scattered(0.0, 0.3, 10)])).simultaneous_high
    assert half is not None
    for distance in (0.002, -0.002):
        built = contrast([0.9 + gain for gain in scattered(half + distance, 0.3, 10)])
        low = accuracy(built).simultaneous_low
        assert low is not None
        assert 0.0005 < low * np.sign(distance) < 0.005
        assert f"95.5 % interval {low:+.3f} to +" in built.verdict
        assert f"({low:+.3f} to +" in format_difference(accuracy(built), 2)


def test_an_interim_verdict_calls_nothing() -> None:
    plan = Plan(Regime.INTERIM)
    text = contrast([0.9 + gain for gain in 2 * CLEAR], plan=plan).verdict
    assert text.startswith("Interim, 12 pairs: test accuracy +2.00 points (99.5 % interval +1.")
    assert "test loss the same in every pair" in text
    assert text.endswith("Nothing is called before every planned run has ended.")
    assert "(no interval yet)" in contrast([0.92], plan=plan).verdict
    assert not {"higher", "lower"} & set(text.split())


def scattered(mean: float, sd: float, pairs: int) -> list[float]:
    """Gains of that mean and standard deviation, in points."""
    noise = np.random.default_rng(0).normal(size=pairs)
    return list((mean + sd * (noise - noise.mean()) / noise.std(ddof=1)) / 100)


def test_an_unclear_difference_says_how_many_seeds_a_follow_up_would_need() -> None:
    text = verdict(scattered(0.05, 0.27, 10))
    assert text.startswith("Test accuracy: no difference could be shown (+0.05 points, 95.5 % interval -0.")
    assert (
        "A follow-up of this variant alone with about 21 (12 to 62) new seeds would probably show 0.2" in text
    )


def test_where_every_look_counts_more_seeds_may_be_added() -> None:
    text = contrast([0.9 + gain for gain in scattered(0.05, 0.27, 10)], plan=Plan(Regime.SEQUENTIAL)).verdict
    assert "(+0.05 points, 95 % interval -0." in text
    assert re.search(r"About \d+ \(\d+ to \d+\) more seeds would probably show 0.2 points", text), text


def test_a_large_number_of_seeds_is_rounded() -> None:
    built = contrast([0.9 + gain for gain in scattered(0.5, 2.5, 10)])
    equivalence = accuracy(built).equivalence
    assert equivalence is not None
    assert equivalence.more_seeds == 1527
    assert "with about 1,500 (720 to 5,100) new seeds would probably show 0.2 points." in built.verdict


def test_enough_pairs_that_show_nothing_say_what_they_would_have_shown() -> None:
    text = verdict(scattered(0.11, 0.17, 10))
    assert text.startswith("Test accuracy: no difference could be shown (+0.11 points")
    assert re.search(r"; one of 0.20 points would probably have been shown\. Test loss", text), text


def test_a_small_difference_is_reported_as_small() -> None:
    assert verdict(TINY).startswith(
        "Test accuracy stays within 0.2 points of the baseline's (0.00 points; two one"
    )
    small = verdict([0.0010, 0.0011, 0.0009, 0.0010, 0.0012, 0.0010])
    assert small.startswith("Test accuracy is higher by 0.10 points, though by less than 0.2 points (95.5 %")


def test_a_difference_that_is_only_just_called_is_said_to_be_overestimated() -> None:
    overestimated = "Differences that are only just large enough to be called are overestimated on average."
    gains = [0.004, 0.020, 0.009, 0.014, 0.006, 0.011]
    assert overestimated in verdict(gains)
    assert overestimated not in verdict(CLEAR)


def test_identical_models_are_not_called_different() -> None:
    assert verdict([0.0] * 8) == (
        "Test accuracy is the same in every pair. Test loss is the same in every pair. (8 pairs.)"
    )


def test_the_last_bits_are_no_scatter() -> None:
    # 0.92 - 0.90 is not 0.93 - 0.91 in floating point; as a scatter it would make any difference certain.
    base = [0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96]
    built = contrast([value + 0.02 for value in base], base)
    # All seven agree: 2 of 2^7 signings reach them, whatever their scatter.
    assert (accuracy(built).sd, accuracy(built).t_p, accuracy(built).adjusted_p) == (0.0, None, 2 / 2**7)
    assert built.verdict.startswith("Test accuracy is higher by 2.00 points (in every pair, p = 0.016).")


def test_the_example_of_the_seed_document_can_be_reported() -> None:
    """Dropout leaves accuracy about where it was and improves the loss by a third."""
    scatter = np.array([1.0, -1.0, 2.0, -2.0, 0.5, -0.5])
    text = of_metrics(
        {"test_accuracy": 0.0002 * scatter, "test_loss": -0.036 + 0.002 * scatter},
        {"test_accuracy": 0.978, "test_loss": 0.108},
    )
    assert text.startswith("Test accuracy stays within 0.2 points of the baseline's (0.00 points")
    assert "Test loss is lower by 0.0360 nats, 33 % (95.5 % interval -0.0" in text


def test_f9_numbers_that_would_round_to_nothing_have_digits_enough() -> None:
    text = of_metrics(
        {"test_loss": [-0.0000123, -0.0000119, -0.0000125, -0.0000118, -0.0000124, -0.0000121]},
        {"test_loss": 2.3},
    )
    assert "Test loss is lower by 0.000012 nats" in text
    assert "0.0000 nats" not in text
    unclear = of_metrics({"test_loss": [1e-5, -1e-5, 2e-5, -2e-5, 1e-5, -1e-5]}, {"test_loss": 2.3})
    assert "nats would probably have been shown" in unclear
    assert "0.0000 nats would" not in unclear


def test_p_is_never_printed_as_the_level_itself() -> None:
    assert format_p(0.0451, 0.045) == "p = 0.0451"
    assert format_p(0.04496, 0.045) == "p = 0.04496"
    assert format_p(0.045, 0.045) == "p = 0.045"
    assert format_p(0.0004, 0.045) == "p < 0.001"
    assert format_p_value(0.0451, 0.045) == "0.0451"
    assert [format_p_value(p) for p in (0.0496, 0.0504, 0.06)] == ["0.0496", "0.0504", "0.060"]


def test_failed_seeds_are_named_before_anything_else() -> None:
    first = [finished_row("a", seed, test_accuracy=0.9) for seed in range(10)]
    second: list[Job] = [
        Job(seed=seed, state=JobState.FAILED) if seed < 4 else finished_row("b", seed, test_accuracy=0.92)
        for seed in range(10)
    ]
    text = build_contrasts({"a": first, "b": second}, "a", FIXED)[0].verdict
    assert text.startswith(
        "Training failed in 4 of 10 seeds, in 0 with the baseline (McNemar's exact test, not corrected for "
        "others: p = 0.125); what follows is about the pairs of runs in which it failed in neither. "
        "Test accuracy is higher"
    )
    nothing = build_contrasts({"a": first, "b": [Job(seed=0, state=JobState.FAILED)]}, "a", FIXED)[0].verdict
    assert nothing == (
        "Training failed in 1 of 1 seed, in 0 with the baseline (McNemar's exact test, not corrected for "
        "others: p = 1.000). "
        "No seed has a result in both variants, so nothing can be said."
    )


def test_a_claim_about_these_images_is_not_one_about_others() -> None:
    """About the same few of 1,000 images make all the difference in item pair: other images need not."""

    def text(gained: Sequence[int], *, lost: int = 0) -> str:
        first = np.arange(1000) < 900
        rows: dict[str, list[Job]] = {"a": [], "b": []}
        for seed in range(8):
            second = first.copy()
            second[:lost] = False
            second[900 : 900 + gained[seed % len(gained)]] = True
            for name, right in (("a", first), ("b", second)):
                correct = np.packbits(right).tobytes()
                rows[name].append(
                    finished_row(name, seed, test_accuracy=float(right.mean()), test_correct=correct)
                )
        return build_contrasts(rows, "a", FIXED)[0].verdict

    few = text([3, 4, 3, 4, 4])
    assert few.startswith("Test accuracy is higher by 0.35 points (95.5 % interval")
    assert "On other test images that need not hold (95 % interval -0.05 to +0.75 for new images" in few
    assert "On other test images" not in text([30, 31, 32])
    assert "On other test images" not in text([0, 1, 0])
    exchanged = text([5, 6, 5], lost=5)
    assert exchanged.startswith("Test accuracy stays within 0.2 points of the baseline's (+0.04 points")
    assert "On other test images that need not hold" in exchanged


def test_numbers_that_help_nobody_are_left_out() -> None:
    base = [0.95 + wobble for wobble in (0.001, -0.001, 0.002, -0.002, 0.0005, -0.0005)]
    other = [0.951, 0.9495, 0.9505, 0.9515, 0.9485, 0.9495]
    narrow = contrast(other, base, Plan(Regime.FIXED, margin_points=1e-6))
    assert "no difference could be shown" in narrow.verdict
    assert "new seeds would probably show" not in narrow.verdict
