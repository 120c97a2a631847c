"""Contrasts: who is paired with whom, what is corrected, and what is filled in."""

from collections.abc import Collection, Sequence

import numpy as np
import pytest
from scipy import stats

from api.reports.contrasts import build_contrasts
from api.reports.schemas import Contrast, Difference
from models.experiments import Regime
from models.inference import Plan
from models.states import JobState
from models.statistics import (
    FEW_SIGN_FLIPS,
    anytime_difference,
    compute_detectable_difference,
    run_max_t_test,
)
from models.store.tables import Job
from tests.factories import finished_row

FIXED = Plan(Regime.FIXED)
GAINS = (0.005, 0.015, 0.004, 0.012, 0.010, 0.002)


def rows(variant: str, accuracies: Sequence[float]) -> list[Job]:
    """A finished job a seed, with these test accuracies, all else equal."""
    return [finished_row(variant, seed, test_accuracy=value) for seed, value in enumerate(accuracies)]


def contrast(
    variant: Sequence[float], baseline: Sequence[float] | None = None, plan: Plan = FIXED
) -> Contrast:
    """The one contrast of two variants with these test accuracies."""
    (result,) = build_contrasts(
        {"a": rows("a", baseline or [0.9] * len(variant)), "b": rows("b", variant)}, "a", plan
    )
    return result


def accuracy(result: Contrast) -> Difference:
    assert result.differences is not None
    return result.differences.test_accuracy_points


def answers(bits: str) -> bytes:
    return np.packbits([bit == "1" for bit in bits]).tobytes()


def test_a_missing_seed_shifts_no_partners() -> None:
    first = [finished_row("a", seed, test_loss=float(seed)) for seed in (0, 1, 2, 4)]
    second = [finished_row("b", seed, test_loss=seed + 0.5) for seed in (4, 3, 2, 0)]
    (result,) = build_contrasts({"a": first, "b": second}, "a", FIXED)
    assert result.seeds == [0, 2, 4]
    assert result.differences is not None
    assert (result.differences.test_loss.mean, result.differences.test_loss.sd) == (0.5, 0.0)


def test_the_baseline_is_no_contrast_and_the_order_stays() -> None:
    result = build_contrasts({name: rows(name, [0.9] * 2) for name in "cab"}, "a", FIXED)
    assert [(item.variant, item.baseline) for item in result] == [("c", "a"), ("b", "a")]
    assert build_contrasts({"a": rows("a", [0.9])}, "a", FIXED) == []


def test_without_a_pair_there_are_no_numbers() -> None:
    (result,) = build_contrasts({"a": rows("a", [0.9]), "b": []}, "a", FIXED)
    assert (result.seeds, result.differences, result.mcnemar) == ([], None, [])


@pytest.mark.parametrize("others", [1, 3])
@pytest.mark.parametrize("regime", [Regime.SEQUENTIAL, Regime.EXTENDED, Regime.INTERIM])
def test_at_every_look_p_is_corrected_for_all_primary_metrics_of_all_variants(
    others: int, regime: Regime
) -> None:
    plan = Plan(regime)
    variants = {"a": rows("a", [0.9] * 6), "b": rows("b", [0.9 + gain for gain in GAINS])}
    variants |= {name: rows(name, [0.9] * 6) for name in "cde"[: others - 1]}
    result = accuracy(build_contrasts(variants, "a", plan)[0])
    expected = anytime_difference([100 * gain for gain in GAINS], alpha=plan.level / (2 * others))
    assert result.adjusted_p == pytest.approx(min(1.0, 2 * others * expected.p))
    # Six pairs are too few for an interval at the stricter levels.
    ends = [end if np.isfinite(end) else None for end in (expected.low, expected.high)]
    assert [result.simultaneous_low, result.simultaneous_high] == pytest.approx(ends)


def test_a_fixed_plan_is_tested_by_the_largest_t_of_the_family() -> None:
    values = np.random.default_rng(0).normal(0.01, 0.01, size=(2, 8)).round(4)
    variants = {"a": rows("a", [0.9] * 8)} | {
        name: rows(name, 0.9 + row) for name, row in zip("bc", values, strict=True)
    }
    result = [
        accuracy(item) for item in build_contrasts(variants, "a", Plan(Regime.FIXED, ("test_accuracy",)))
    ]
    expected = run_max_t_test(100 * values, level=0.045)
    for one, other in zip(result, expected, strict=True):
        assert one.adjusted_p == pytest.approx(other.p)
        assert (one.simultaneous_low, one.simultaneous_high) == (
            pytest.approx(other.low),
            pytest.approx(other.high),
        )


def test_variants_that_have_not_finished_belong_to_the_family_too() -> None:
    plan = Plan(Regime.SEQUENTIAL)
    variants = {"a": rows("a", [0.9] * 8), "b": rows("b", [0.9 + gain for gain in GAINS])}
    waiting = variants | {"c": [], "d": rows("d", [0.9, 0.9])}
    alone, among_three = (
        accuracy(build_contrasts(item, "a", plan)[0]).adjusted_p for item in (variants, waiting)
    )
    assert alone is not None
    assert among_three == pytest.approx(3 * alone)


def test_only_primary_metrics_are_tested() -> None:
    result = contrast([0.9 + gain for gain in GAINS], plan=Plan(Regime.FIXED, ("test_loss",)))
    assert result.differences is not None
    assert [name for name, difference in result.differences if difference.tested] == ["test_loss"]
    assert (accuracy(result).call, accuracy(result).adjusted_p, accuracy(result).equivalence) == (
        None,
        None,
        None,
    )
    assert accuracy(result).low is not None


@pytest.mark.parametrize("regime", [Regime.FIXED, Regime.SEQUENTIAL, Regime.EXTENDED])
def test_below_six_pairs_nothing_is_called(regime: Regime) -> None:
    result = contrast([0.93, 0.94, 0.95, 0.96, 0.94], plan=Plan(regime))
    assert accuracy(result).t_p is not None
    assert (accuracy(result).call, accuracy(result).detectable) == (None, None)
    same = accuracy(contrast([0.9001, 0.9, 0.9, 0.9001, 0.9], plan=Plan(regime))).equivalence
    assert same is not None
    assert (same.equivalent, same.more_seeds) == (False, None)


def test_nothing_is_called_while_a_fixed_plan_is_not_complete() -> None:
    gains = [0.05 + 0.001 * (seed % 3) for seed in range(20)]
    early, late = (
        contrast([0.9 + gain for gain in gains], plan=Plan(regime))
        for regime in (Regime.INTERIM, Regime.FIXED)
    )
    assert (accuracy(early).call, accuracy(late).call) == (None, "higher")
    assert accuracy(early).simultaneous_low is not None
    assert not accuracy(contrast([0.9] * 20, plan=Plan(Regime.INTERIM))).equivalence.equivalent  # type: ignore[union-attr]


def test_two_pairs_have_no_interval() -> None:
    result = accuracy(contrast([0.91, 0.91]))
    assert (result.low, result.high, result.simultaneous_low, result.simultaneous_high) == (None,) * 4
    assert accuracy(contrast([0.91, 0.912, 0.913])).low is not None


def test_failed_training_is_counted_and_compared() -> None:
    def jobs(name: str, failed: Collection[int]) -> list[Job]:
        return [
            Job(seed=seed, state=JobState.FAILED) if seed in failed else finished_row(name, seed)
            for seed in range(10)
        ]

    (result,) = build_contrasts({"a": jobs("a", {0}), "b": jobs("b", {0, 1, 2, 3, 4, 5})}, "a", FIXED)
    assert result.seeds == [6, 7, 8, 9]
    assert result.failures is not None
    assert (result.failures.seeds, result.failures.baseline, result.failures.variant) == (10, 1, 6)
    assert result.failures.p == stats.binomtest(0, 5).pvalue
    assert build_contrasts({"a": jobs("a", ()), "b": jobs("b", ())}, "a", FIXED)[0].failures is None


def test_superiority_and_the_relative_difference() -> None:
    result = accuracy(contrast([0.91, 0.92, 0.9, 0.89]))
    assert result.superiority == (1 + 1 + 0.5 + 0) / 4
    assert result.relative == pytest.approx((0.905 - 0.9) / 0.9)
    assert accuracy(contrast([0.91])).superiority is None


@pytest.mark.parametrize(("baseline", "variant"), [(-0.01, 0.02), (0.02, -0.01), (0.0, 0.02)])
def test_no_relative_difference_to_a_baseline_that_is_not_positive(baseline: float, variant: float) -> None:
    rows = {
        name: [finished_row(name, 0, generalization_gap_loss=value)]
        for name, value in (("a", baseline), ("b", variant))
    }
    result = build_contrasts(rows, "a", FIXED)[0].differences
    assert result is not None
    assert result.generalization_gap_loss.relative is None


def test_a_detectable_difference_has_80_percent_power_after_the_correction() -> None:
    result = accuracy(contrast([0.9 + gain for gain in GAINS]))
    assert result.sd is not None
    assert result.detectable is not None
    level = 0.045 / 2
    noncentrality = result.detectable / FEW_SIGN_FLIPS[6] / result.sd * np.sqrt(6)
    assert stats.nct.sf(stats.t.isf(level / 2, 5), 5, noncentrality) == pytest.approx(0.8, abs=1e-6)


def test_equivalence_is_of_accuracy_at_a_fifth_of_a_point() -> None:
    accuracies = [0.9003, 0.8998, 0.9001, 0.9, 0.8999, 0.9004, 0.9002]
    result = accuracy(contrast(accuracies)).equivalence
    assert result is not None
    points = 100 * (np.array(accuracies) - 0.9)
    below = stats.ttest_1samp(points, -0.2, alternative="greater").pvalue
    above = stats.ttest_1samp(points, 0.2, alternative="less").pvalue
    # Of test loss there is no margin, so that the family has one test for item variant.
    assert result.p == pytest.approx(max(below, above))
    assert (result.equivalent, result.margin) == (True, 0.2)


def test_at_every_look_equivalence_is_an_interval_within_the_margin() -> None:
    accuracies = [0.9003, 0.8998, 0.9001, 0.9, 0.8999, 0.9004, 0.9002, 0.9001, 0.8999, 0.9]
    plan = Plan(Regime.SEQUENTIAL, margin_points=0.05, margin_loss=0.01)
    result = contrast(accuracies, plan=plan)
    assert result.differences is not None
    difference = accuracy(result)
    assert difference.simultaneous_low is not None
    assert difference.simultaneous_high is not None
    reach = max(-difference.simultaneous_low, difference.simultaneous_high)
    for margin, equivalent in ((reach + 0.001, True), (reach - 0.001, False)):
        again = accuracy(contrast(accuracies, plan=Plan(Regime.SEQUENTIAL, margin_points=margin)))
        assert again.equivalence is not None
        assert (again.equivalence.equivalent, again.equivalence.p) == (equivalent, None)
    assert result.differences.test_loss.equivalence is not None
    assert result.differences.test_loss.equivalence.margin == 0.01


def test_a_follow_up_has_the_fewest_seeds_that_would_find_the_margin() -> None:
    result = accuracy(contrast([0.9 + gain for gain in GAINS]))
    assert result.equivalence is not None
    assert result.sd is not None
    ends = np.sqrt(5 / stats.chi2(5).ppf([0.975, 0.025]))
    planned = (
        result.equivalence.more_seeds_low,
        result.equivalence.more_seeds,
        result.equivalence.more_seeds_high,
    )
    for seeds, sd in zip(planned, (ends[0] * result.sd, result.sd, ends[1] * result.sd), strict=True):
        assert seeds is not None

        def power(pairs: int, sd: float = sd) -> float:
            critical = stats.t.isf(0.045 / 2 / 2, pairs - 1)
            return float(stats.nct.sf(critical, pairs - 1, 0.2 / sd * np.sqrt(pairs)))

        assert power(seeds) >= 0.8 > power(seeds - 1)


def test_more_seeds_are_added_to_those_there_are_where_every_look_counts() -> None:
    result = accuracy(contrast([0.9 + gain for gain in GAINS], plan=Plan(Regime.SEQUENTIAL)))
    assert result.equivalence is not None
    assert result.equivalence.more_seeds is not None
    assert result.sd is not None
    needed = 6 + result.equivalence.more_seeds
    reach = [
        compute_detectable_difference(result.sd, pairs, level=0.05 / 2, anytime=True)
        for pairs in (needed, needed - 1)
    ]
    assert reach[0] <= 0.2 < reach[1]


def test_mcnemar_is_made_seed_by_seed() -> None:
    first = [finished_row("a", 0, test_correct=answers("1111100000"))]
    second = [finished_row("b", 0, test_correct=answers("1101111110"))]
    first.append(finished_row("a", 1, test_correct=answers("1" * 10)))
    second.append(finished_row("b", 1, test_correct=answers("1" * 10)))
    (result,) = build_contrasts({"a": first, "b": second}, "a", FIXED)
    assert [(item.seed, item.only_baseline, item.only_variant, item.p) for item in result.mcnemar] == [
        (0, 1, 4, stats.binomtest(1, 5).pvalue),
        (1, 0, 0, 1.0),
    ]


def test_mcnemar_needs_the_same_images() -> None:
    known, longer = answers("11110000"), answers("1111000011")
    first = [finished_row("a", seed, test_correct=known) for seed in range(3)]
    second = [
        finished_row("b", 0),
        finished_row("b", 1, test_correct=longer),
        finished_row("b", 2, test_correct=known, dataset_sha256="other"),
    ]
    assert build_contrasts({"a": first, "b": second}, "a", FIXED)[0].mcnemar == []


def test_the_order_of_jobs_and_variants_changes_no_number() -> None:
    generator = np.random.default_rng(0)
    variants = {name: rows(name, 0.9 + 0.01 * generator.random(7)) for name in "abc"}
    forwards = {item.variant: item for item in build_contrasts(variants, "a", FIXED)}
    turned = {name: jobs[::-1] for name, jobs in reversed(variants.items())}
    assert {item.variant: item for item in build_contrasts(turned, "a", FIXED)} == forwards


def test_new_images_widen_the_interval_of_the_accuracy() -> None:
    generator = np.random.default_rng(0)
    right = generator.random((2, 8, 1000)) < 0.98
    variants = {
        name: [
            finished_row(name, seed, test_accuracy=float(row.mean()), test_correct=np.packbits(row).tobytes())
            for seed, row in enumerate(of_variant)
        ]
        for name, of_variant in zip("ab", right, strict=True)
    }
    (result,) = build_contrasts(variants, "a", FIXED)
    numbers = accuracy(result)
    wider = result.accuracy_on_new_images
    assert wider is not None
    assert numbers.low is not None
    assert numbers.high is not None
    assert wider.low <= numbers.low < numbers.high <= wider.high
    assert (wider.low + wider.high) / 2 == pytest.approx(numbers.mean)
    variants["b"][1:] = []
    assert build_contrasts(variants, "a", FIXED)[0].accuracy_on_new_images is None


def test_another_baseline_than_planned_counts_every_pair_of_variants() -> None:
    variants = {
        "a": [finished_row("a", seed, test_accuracy=0.9) for seed in range(12)],
        "b": [finished_row("b", seed, test_accuracy=0.9 + 0.001 * (seed % 3)) for seed in range(12)],
        "c": [finished_row("c", seed, test_accuracy=0.95 + 0.001 * (seed % 5)) for seed in range(12)],
    }
    planned = Plan(Regime.EXTENDED)
    other = Plan(Regime.EXTENDED, planned_baseline="a")
    assert (planned.count_tests(3), other.count_tests(3)) == (4, 6)
    for before, after in zip(
        build_contrasts(variants, "b", planned), build_contrasts(variants, "b", other), strict=True
    ):
        narrow, wide = accuracy(before), accuracy(after)
        assert narrow.mean == wide.mean
        assert narrow.simultaneous_low is not None
        assert wide.simultaneous_low is not None
        assert wide.simultaneous_low < narrow.simultaneous_low
    assert "whose baseline is a" in other.explain_regime()
