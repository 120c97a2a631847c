"""When the differences of an experiment may be called, at which level, and by which test. Pure.

An experiment has a plan, its seeds. Differences are called once, when the plan is complete, or at any look by
intervals that hold at every look. A reader who stops at the first call is wrong in at most 5 % of the
experiments in which no variant differs from the baseline.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from models.experiments import FEWEST_PAIRS, Inference, PrimaryMetric, Regime
from models.metrics import Metric
from models.statistics import (
    anytime_difference,
    apply_holm_correction,
    compute_mean_interval,
    estimate,
    run_max_t_test,
    run_two_one_sided_tests,
)

Key = TypeVar("Key", bound=Hashable)


LEVELS = {Regime.INTERIM: 0.005, Regime.FIXED: 0.045, Regime.EXTENDED: 0.005, Regime.SEQUENTIAL: 0.05}
"""The family-wise level of each regime. Where a plan was changed, differences may have been called before, at
the level of a fixed plan: both together are at most 5 % by the union bound, whatever their dependence."""

_WHY_ANYTIME = {
    Regime.INTERIM: "Planned runs have not ended; until then nothing is called.",
    Regime.EXTENDED: "Runs were added, repeated, cancelled or deleted after the plan was made.",
    Regime.SEQUENTIAL: "The number of seeds was not fixed in advance.",
}


@dataclass(frozen=True)
class Plan:
    """What an experiment set out to test, and by which rule that may be called now."""

    regime: Regime
    primary: tuple[PrimaryMetric, ...] = ("test_accuracy", "test_loss")
    margin_points: float = 0.2
    margin_loss: float | None = None
    planned_baseline: str | None = None
    """Where the variants are compared with another baseline than planned, the planned one."""

    def count_tests(self, variants: int) -> int:
        """The size of the family of tests of so many variants, the baseline among them.

        Who may choose the baseline when there are results may test any pair of variants.
        """
        pairs = math.comb(variants, 2) if self.planned_baseline else variants - 1
        return max(1, pairs * len(self.primary))

    def explain_regime(self) -> str:
        """Why intervals must hold at every look."""
        if self.planned_baseline and self.regime is not Regime.INTERIM:
            return (
                f"The baseline was chosen after the plan, whose baseline is {self.planned_baseline}; so "
                "every pair of variants counts as tested, at a level of its own beside the plan's."
            )
        return _WHY_ANYTIME[self.regime]

    @property
    def level(self) -> float:
        """How often anything may be called, at most, where nothing differs."""
        return LEVELS[self.regime]

    def get_margin(self, metric: str) -> float | None:
        """Up to which difference, in points or nats, the metric counts as equal; None if it is not tested."""
        margins = {"test_accuracy": self.margin_points, "test_loss": self.margin_loss}
        return margins.get(metric) if metric in self.primary else None


@dataclass(frozen=True)
class Judgement:
    """What a regime's test says of one mean difference, corrected for the whole family."""

    p: float | None
    """None where there are too few pairs for a test."""
    low: float | None
    """The simultaneous interval; None where there are too few pairs for one."""
    high: float | None
    called: bool
    """Whether the difference may be called higher or lower."""


@dataclass(frozen=True)
class Equivalence:
    """Whether a difference lies within its margin."""

    p: float | None
    """Of two one-sided tests, corrected over variants; None where the simultaneous interval decides."""
    equivalent: bool


@dataclass(frozen=True)
class JudgedFamily:
    """What may be said of every tested difference of an experiment, by the rule of its plan."""

    plan: Plan
    tests: int
    """How many differences the plan set out to test, those without results included."""
    judgements: Mapping[tuple[str, Metric], Judgement]
    equivalences: Mapping[tuple[str, Metric], Equivalence]

    def find_decided(self) -> set[str]:
        """The variants of which each difference is called, or lies within its margin."""
        open_variants = {
            key[0]
            for key, judgement in self.judgements.items()
            if not judgement.called and not (key in self.equivalences and self.equivalences[key].equivalent)
        }
        return {variant for variant, _ in self.judgements} - open_variants


def choose_regime(
    inference: Inference, *, complete: bool, changed: bool, other_baseline: bool = False
) -> Regime:
    """The rule by which an experiment's report speaks.

    `complete`: every planned run has ended. `changed`: runs were added, cancelled or deleted when there were
    results. `other_baseline`: it is not the planned one, which is judged by its own report.
    """
    if other_baseline:
        return Regime.EXTENDED if complete else Regime.INTERIM
    if inference == "sequential":
        return Regime.SEQUENTIAL
    if not complete:
        return Regime.INTERIM
    return Regime.EXTENDED if changed else Regime.FIXED


def judge_differences(
    differences: Mapping[tuple[str, Metric], Mapping[int, float]], plan: Plan, *, variants: int
) -> JudgedFamily:
    """A judgement of each variant's paired differences by seed in each primary metric: one family of tests.

    Members without any pair count, too; `variants` is how many there are, the baseline among them.
    """
    tests = plan.count_tests(variants)
    judgements = judge_family(differences, plan.regime, tests=tests)
    margins = {key: margin for key in differences if (margin := plan.get_margin(key[1].name))}
    equivalences = judge_equivalence(differences, margins, judgements, plan.regime)
    return JudgedFamily(plan, tests, judgements, equivalences)


def judge_family(
    differences: Mapping[Key, Mapping[int, float]], regime: Regime, *, tests: int
) -> dict[Key, Judgement]:
    """A judgement of each mean difference, given as paired differences by seed.

    `tests` is the size of the planned family, members without results included. A member with fewer than six
    pairs is never called.
    """
    level = LEVELS[regime]
    enough = {key: by_seed for key, by_seed in differences.items() if len(by_seed) >= FEWEST_PAIRS}
    judgements: dict[Key, Judgement] = {}
    if regime is Regime.FIXED:
        for key, by_seed in differences.items():
            low, high = compute_mean_interval(list(by_seed.values()), level=level / tests)
            judgements[key] = Judgement(None, low, high, called=False)
        if enough:
            seeds = sorted(set().union(*enough.values()))
            matrix = np.array([[by_seed.get(seed, np.nan) for seed in seeds] for by_seed in enough.values()])
            for key, result in zip(enough, run_max_t_test(matrix, level=level), strict=True):
                judgements[key] = Judgement(result.p, result.low, result.high, called=result.p <= level)
        return judgements
    for key, by_seed in differences.items():
        difference = anytime_difference(list(by_seed.values()), alpha=level / tests)
        p = min(1.0, tests * difference.p)
        low, high = (end if np.isfinite(end) else None for end in (difference.low, difference.high))
        called = regime is not Regime.INTERIM and key in enough and p <= level
        judgements[key] = Judgement(p if key in enough else None, low, high, called=called)
    return judgements


def judge_equivalence(
    differences: Mapping[Key, Mapping[int, float]],
    margins: Mapping[Key, float],
    judgements: Mapping[Key, Judgement],
    regime: Regime,
) -> dict[Key, Equivalence]:
    """Whether each mean difference lies within its margin: a family of its own, at the regime's level."""
    if regime is not Regime.FIXED:
        return {
            key: Equivalence(
                None,
                regime is not Regime.INTERIM
                and len(differences[key]) >= FEWEST_PAIRS
                and _is_within(judgements[key], margin),
            )
            for key, margin in margins.items()
        }
    p_values = []
    for key, margin in margins.items():
        summary = estimate(list(differences[key].values()))
        if summary is None or summary.sd is None or summary.n < FEWEST_PAIRS:
            p_values.append(1.0)
        else:
            p_values.append(run_two_one_sided_tests(summary.mean, summary.sd, summary.n, margin=margin))
    corrected = apply_holm_correction(p_values)
    return {key: Equivalence(p, p <= LEVELS[regime]) for key, p in zip(margins, corrected, strict=True)}


def _is_within(judgement: Judgement, margin: float) -> bool:
    low, high = judgement.low, judgement.high
    return low is not None and high is not None and -margin < low and high < margin
