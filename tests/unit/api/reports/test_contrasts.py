"""Contrasts: how runs are paired, which tests are corrected, and which fields are set."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from api.reports.contrasts import build_contrasts
from api.reports.schemas import Contrast, Difference
from models.store.tables import Job
from tests.factories import finished_row

GAINS = (0.005, 0.015, 0.004, 0.012, 0.010, 0.002)


def rows(variant: str, accuracies: Sequence[float]) -> list[Job]:
    """A finished job a seed, with these test accuracies, all else equal."""
    return [finished_row(variant, seed, test_accuracy=value) for seed, value in enumerate(accuracies)]


def contrast(variant: Sequence[float], baseline: Sequence[float] | None = None) -> Contrast:
    """The one contrast of two variants with these test accuracies."""
    (built,) = build_contrasts(
        {"a": rows("a", baseline or [0.9] * len(variant)), "b": rows("b", variant)}, "a"
    )
    return built


def accuracy(built: Contrast) -> Difference:
    assert built.differences is not None
    return built.differences.test_accuracy_points


def answers(bits: str) -> bytes:
    return np.packbits([bit == "1" for bit in bits]).tobytes()


def test_a_missing_seed_does_not_shift_the_pairs() -> None:
    first = [finished_row("a", seed, test_loss=float(seed)) for seed in (0, 1, 2, 4)]
    second = [finished_row("b", seed, test_loss=seed + 0.5) for seed in (4, 3, 2, 0)]
    (paired,) = build_contrasts({"a": first, "b": second}, "a")
    assert paired.seeds == [0, 2, 4]
    assert paired.differences is not None
    assert (paired.differences.test_loss.mean, paired.differences.test_loss.sd) == (0.5, 0.0)


def test_the_baseline_has_no_contrast_and_variants_keep_their_order() -> None:
    contrasts = build_contrasts({name: rows(name, [0.9] * 2) for name in "cab"}, "a")
    assert [(built.variant, built.baseline) for built in contrasts] == [("c", "a"), ("b", "a")]
    assert build_contrasts({"a": rows("a", [0.9])}, "a") == []


def test_without_a_pair_there_are_no_numbers() -> None:
    (unpaired,) = build_contrasts({"a": rows("a", [0.9]), "b": []}, "a")
    assert (unpaired.seeds, unpaired.differences, unpaired.equivalence, unpaired.mcnemar) == (
        [],
        None,
        None,
        [],
    )


@pytest.mark.parametrize("others", [1, 3])
def test_all_metrics_of_all_variants_are_one_family_of_tests(others: int) -> None:
    variants = {"a": rows("a", [0.9] * 6), "b": rows("b", [0.9 + gain for gain in GAINS])}
    variants |= {name: rows(name, [0.9] * 6) for name in "cde"[: others - 1]}
    difference = accuracy(build_contrasts(variants, "a")[0])
    assert difference.t_p is not None
    assert difference.t_p_holm == pytest.approx(4 * others * difference.t_p)


def test_variants_that_have_not_finished_belong_to_the_family_too() -> None:
    variants = {"a": rows("a", [0.9] * 6), "b": rows("b", [0.9 + gain for gain in GAINS])}
    waiting = variants | {"c": [], "d": rows("d", [0.9, 0.9])}
    alone, among_three = (
        accuracy(build_contrasts(rows_by_variant, "a")[0]).t_p_holm for rows_by_variant in (variants, waiting)
    )
    assert alone is not None
    assert among_three == pytest.approx(3 * alone)


def test_fewer_than_six_pairs_enter_no_test() -> None:
    five_pairs = contrast([0.93, 0.94, 0.95, 0.96, 0.94])
    assert accuracy(five_pairs).t_p is not None
    assert (accuracy(five_pairs).t_p_holm, accuracy(five_pairs).detectable) == (None, None)
    same = contrast([0.9001, 0.9, 0.9, 0.9001, 0.9])
    assert same.equivalence is not None
    assert same.equivalence.p < 0.05
    assert not same.equivalence.equivalent
    assert same.equivalence.more_seeds == 1


def test_superiority_and_the_relative_difference() -> None:
    difference = accuracy(contrast([0.91, 0.92, 0.9, 0.89]))
    assert difference.superiority == (1 + 1 + 0.5 + 0) / 4
    assert difference.relative == pytest.approx((0.905 - 0.9) / 0.9)
    assert accuracy(contrast([0.91])).superiority is None


@pytest.mark.parametrize(("baseline", "variant"), [(-0.01, 0.02), (0.02, -0.01), (0.0, 0.02)])
def test_no_relative_difference_to_a_baseline_that_is_not_positive(baseline: float, variant: float) -> None:
    rows = {
        name: [finished_row(name, 0, generalization_gap_loss=value)]
        for name, value in (("a", baseline), ("b", variant))
    }
    differences = build_contrasts(rows, "a")[0].differences
    assert differences is not None
    assert differences.generalization_gap_loss.relative is None


def test_a_detectable_difference_has_80_percent_power_after_the_correction() -> None:
    difference = accuracy(contrast([0.9 + gain for gain in GAINS]))
    assert difference.sd is not None
    assert difference.detectable is not None
    level = 0.05 / 4
    noncentrality = difference.detectable / difference.sd * np.sqrt(6)
    assert stats.nct.sf(stats.t.isf(level / 2, 5), 5, noncentrality) == pytest.approx(0.8, abs=1e-6)


def test_equivalence_is_of_accuracy_at_a_fifth_of_a_point() -> None:
    accuracies = [0.9003, 0.8998, 0.9001, 0.9, 0.8999, 0.9004, 0.9002]
    equivalence = contrast(accuracies).equivalence
    assert equivalence is not None
    points = 100 * (np.array(accuracies) - 0.9)
    below = stats.ttest_1samp(points, -0.2, alternative="greater").pvalue
    above = stats.ttest_1samp(points, 0.2, alternative="less").pvalue
    assert equivalence.p == pytest.approx(max(below, above))
    interval = stats.ttest_1samp(points, 0).confidence_interval(0.9)
    assert (equivalence.low, equivalence.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert (equivalence.equivalent, equivalence.more_seeds, equivalence.margin_points) == (True, 0, 0.2)


def test_the_additional_seeds_are_the_fewest_that_detect_the_margin() -> None:
    six_pairs = contrast([0.9 + gain for gain in GAINS])
    sd = accuracy(six_pairs).sd
    assert six_pairs.equivalence is not None
    assert six_pairs.equivalence.more_seeds is not None
    assert sd is not None

    def power(pairs: int) -> float:
        critical = stats.t.isf(0.05 / 4 / 2, pairs - 1)
        return float(stats.nct.sf(critical, pairs - 1, 0.2 / sd * np.sqrt(pairs)))

    needed = 6 + six_pairs.equivalence.more_seeds
    assert power(needed) >= 0.8 > power(needed - 1)


def test_mcnemars_test_is_run_for_each_seed() -> None:
    first = [finished_row("a", 0, test_correct=answers("1111100000"))]
    second = [finished_row("b", 0, test_correct=answers("1101111110"))]
    first.append(finished_row("a", 1, test_correct=answers("1" * 10)))
    second.append(finished_row("b", 1, test_correct=answers("1" * 10)))
    (paired,) = build_contrasts({"a": first, "b": second}, "a")
    assert [(test.seed, test.only_baseline, test.only_variant, test.p) for test in paired.mcnemar] == [
        (0, 1, 4, stats.binomtest(1, 5).pvalue),
        (1, 0, 0, 1.0),
    ]


def test_mcnemar_needs_the_same_images() -> None:
    correct, longer = answers("11110000"), answers("1111000011")
    first = [finished_row("a", seed, test_correct=correct) for seed in range(3)]
    second = [
        finished_row("b", 0),
        finished_row("b", 1, test_correct=longer),
        finished_row("b", 2, test_correct=correct, dataset_sha256="other"),
    ]
    assert build_contrasts({"a": first, "b": second}, "a")[0].mcnemar == []


def test_the_order_of_jobs_and_variants_changes_no_number() -> None:
    generator = np.random.default_rng(0)
    variants = {name: rows(name, 0.9 + 0.01 * generator.random(7)) for name in "abc"}
    forwards = {built.variant: built for built in build_contrasts(variants, "a")}
    turned = {name: jobs[::-1] for name, jobs in reversed(variants.items())}
    assert {built.variant: built for built in build_contrasts(turned, "a")} == forwards


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
    (paired,) = build_contrasts(variants, "a")
    numbers = accuracy(paired)
    wider = paired.accuracy_on_new_images
    assert wider is not None
    assert numbers.low is not None
    assert numbers.high is not None
    assert wider.low <= numbers.low < numbers.high <= wider.high
    assert (wider.low + wider.high) / 2 == pytest.approx(numbers.mean)
    variants["b"][1:] = []
    assert build_contrasts(variants, "a")[0].accuracy_on_new_images is None
