"""What advice is drawn from: a report's variants and their differences, each with where it stands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from api.reports.points import remove_point
from api.reports.schemas import Comparison, Contrast, Difference, Metrics, SeedResult, VariantReport
from models.experiments import FEWEST_PAIRS, Regime
from models.formatting import format_techniques
from models.inference import LEVELS
from models.selection import is_at_chance
from models.statistics import (
    PairedDifference,
    anytime_difference,
    compute_mean_interval,
    compute_paired_difference,
)


@dataclass(frozen=True)
class Measured:
    """A variant with results, and where it stands in the report."""

    index: int
    variant: VariantReport
    metrics: Metrics

    def get_reference(self, metric: str) -> str:
        return f"/variants/{self.index}/metrics/{metric}"


@dataclass(frozen=True)
class Step:
    """One technique at one size of network or training set, against the same without it."""

    size: float
    plain: Measured
    regularized: Measured
    gain: PairedDifference
    """In test loss: what the technique takes off it."""


class Evidence:
    """The parts of a comparison that advice is drawn from; with axes those at one of their points."""

    def __init__(self, comparison: Comparison, point: dict[str, Any] | None = None) -> None:
        self.measured = [
            Measured(
                index,
                variant.model_copy(update={"name": remove_point(variant.name, point)}),
                variant.metrics,
            )
            for index, variant in enumerate(comparison.variants)
            if variant.metrics is not None and (point is None or variant.point == point)
        ]
        self.baseline = next((item for item in self.measured if item.variant.is_baseline), None)
        self.regime = comparison.inference
        self.test_examples = min(dataset.test_examples for dataset in comparison.datasets)
        self.robustness = {
            remove_point(report.variant, point): index for index, report in enumerate(comparison.robustness)
        }
        """Where each variant stands among those that were measured on damaged test images."""
        self.classes = min(dataset.classes for dataset in comparison.datasets)
        ordinary = self.baseline.variant.regularization if self.baseline else {}
        self.techniques = [
            item
            for item in self.measured
            if item.variant.regularization != ordinary
            and not (item.variant.is_baseline or item.variant.confounders or item.variant.failed_seeds)
            and not self.is_at_chance(item)
        ]
        """What may be recommended: variants that differ from the baseline in regularization only, trained in
        every seed and learned something."""
        self.tests = len(self.techniques) * max(1, len(comparison.points))
        """How many intervals of one kind the report may have: of each technique at each point."""
        self.contrasts: dict[str, tuple[int, Contrast]] = {
            remove_point(contrast.variant, point): (index, contrast)
            for index, contrast in enumerate(comparison.contrasts)
        }

    @property
    def has_damaged_images(self) -> bool:
        """Whether a technique and the baseline were measured on damaged test images."""
        return len(self.robustness) > 1

    @property
    def baseline_name(self) -> str:
        """How the report calls the baseline."""
        return self.baseline.variant.name if self.baseline else ""

    def compute_interval(
        self, item: Measured, value: Callable[[SeedResult], float | None], *, share: float = 1.0
    ) -> tuple[float, float] | None:
        """Of a variant's mean difference from the baseline, Bonferroni-corrected for all techniques.

        At this share of the report's level. None where the report calls nothing: while a fixed plan runs, and
        with fewer than six pairs.
        """
        if self.baseline is None or self.regime is Regime.INTERIM:
            return None
        first, second = pair_seeds(self.baseline.variant, item.variant, value)
        differences = [after - before for before, after in zip(first, second, strict=True)]
        if len(differences) < FEWEST_PAIRS:
            return None
        level = share * LEVELS[self.regime] / self.tests
        if self.regime is not Regime.FIXED:
            anytime = anytime_difference(differences, alpha=level)
            return anytime.low, anytime.high
        low, high = compute_mean_interval(differences, level=level)
        return None if low is None or high is None else (low, high)

    def is_at_chance(self, item: Measured) -> bool:
        """Whether no model of a variant does better than guessing a class."""
        return all(
            is_at_chance(seed.result.test_accuracy, self.classes, self.test_examples)
            for seed in item.variant.seeds
        )

    def has_difference(self, measured: Measured, fields: Sequence[str]) -> bool:
        """Whether a variant differs from the baseline in one of these fields."""
        return any(
            change.field.startswith(field) for change in measured.variant.confounders for field in fields
        )

    def get_difference(self, measured: Measured, metric: str) -> tuple[str, Difference] | None:
        """Where a variant's difference from the baseline stands, and what it is."""
        index, contrast = self.contrasts.get(measured.variant.name, (0, None))
        if contrast is None or contrast.differences is None:
            return None
        return f"/contrasts/{index}/differences/{metric}", getattr(contrast.differences, metric)

    def find_steps(self, size: Callable[[Measured], float | None]) -> dict[str, list[Step]]:
        """For each technique what it gains at each size where the same was trained without it, by size.

        Nothing before every planned run has ended, and no size with fewer than six pairs.
        """
        if self.baseline is None or self.regime is Regime.INTERIM:
            return {}
        steps_by_technique: dict[str, list[Step]] = {}
        ordinary = self.baseline.variant.regularization
        settings: dict[str, list[Measured]] = {}
        for item in self.measured:
            settings.setdefault(str(item.variant.confounders), []).append(item)
        for setting in settings.values():
            plain = next((item for item in setting if item.variant.regularization == ordinary), None)
            for item in setting:
                if plain is None or item is plain or (value := size(item)) is None:
                    continue
                # What is taken off the test loss.
                losses = pair_seeds(item.variant, plain.variant, lambda seed: seed.result.test_loss)
                gain = compute_paired_difference(*losses)
                if gain is not None and gain.n >= FEWEST_PAIRS:
                    name = format_techniques(item.variant.regularization)
                    steps_by_technique.setdefault(name, []).append(Step(value, plain, item, gain))
        return {name: sorted(steps, key=lambda step: step.size) for name, steps in steps_by_technique.items()}


def pair_seeds(
    first: VariantReport, second: VariantReport, value: Callable[[SeedResult], float | None]
) -> tuple[list[float], list[float]]:
    """The values of either variant, of the seeds that have one in both: means over the parts of both."""
    one, other = (
        {(seed.seed, seed.part): number for seed in variant.seeds if (number := value(seed)) is not None}
        for variant in (first, second)
    )
    pairs: dict[int, list[tuple[float, float]]] = {}
    for run in one.keys() & other.keys():
        pairs.setdefault(run[0], []).append((one[run], other[run]))
    means = [[fmean(side) for side in zip(*pairs[seed], strict=True)] for seed in sorted(pairs)]
    return [before for before, _ in means], [after for _, after in means]
