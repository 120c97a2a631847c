"""Bias and variance of an experiment's variants, from what its runs predict for the test images."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from api.reports.axis_schemas import AxisUsed
from api.reports.bias_variance_schemas import BiasVarianceDifference, BiasVarianceItem, BiasVarianceReport
from api.reports.bias_variance_text import build_answers
from api.reports.gains import build_axes, find_position
from models.artifacts import ArtifactStore
from models.bias_variance import Array, average_cross_entropy, decompose, decompose_cross_entropy
from models.errors import ArtifactCorrupted, NotFound
from models.experiments import ExperimentSpec
from models.run_key import format_point, parse_point
from models.store.experiment_runs import ExperimentRun
from models.test_predictions import TestPredictions, read_test_predictions

_OVER_SEEDS = (
    "95 % t intervals over {seeds} seeds, each with {sources}, for these test images, each interval for "
    "itself: unlike verdicts they are not corrected for their number. Seeds with a run "
    "that is missing are left out."
)
_OVER_IMAGES = (
    "95 % intervals over the test images alone, for these parts: one seed does not show how parts vary."
)
_TOO_FEW_PARTS = (
    "a variance over training sets takes two parts or more; give the experiment `parts`, such as 5"
)


@dataclass(frozen=True)
class _Decomposed:
    item: BiasVarianceItem
    labels: NDArray[np.int32] | None = None
    """Of the test images; None without results."""
    losses: dict[int, list[Array]] = field(default_factory=dict)
    """By seed the cross-entropy's loss, bias and variance of each image."""


def build_report(
    spec: ExperimentSpec,
    runs: Sequence[ExperimentRun],
    store: ArtifactStore,
    baseline: str | None = None,
) -> BiasVarianceReport:
    """The decompositions of each variant along the axes, in the order of the variants.

    `baseline`: another variant than planned to take differences from.
    """
    if (spec.parts or 1) < 2:
        return BiasVarianceReport(items=None, reason=_TOO_FEW_PARTS, intervals=None, headline=None)
    crossed = not spec.split_per_seed
    groups: dict[tuple[str, str], list[ExperimentRun]] = {
        (variant.name, format_point(point)): [] for variant in spec.variants for point in spec.points
    }
    for run in runs:
        groups[run.key.variant, run.key.point].append(run)
    axes = build_axes(spec)
    names = [variant.name for variant in spec.variants]
    decomposed = {
        key: _decompose(key, groups[key], spec.parts or 1, store, crossed=crossed)
        for key in sorted(
            groups, key=lambda key: (names.index(key[0]), find_position(parse_point(key[1]), axes))
        )
    }
    compared_with = baseline or spec.baseline_name
    differences = [
        _subtract(one, decomposed[compared_with, point])
        for (variant, point), one in decomposed.items()
        if variant != compared_with
    ]
    report = BiasVarianceReport(
        items=[one.item for one in decomposed.values()],
        differences=[difference for difference in differences if difference],
        trends=_build_trends(list(decomposed.values()), names, axes),
        reason=None,
        intervals=_describe_intervals({one.item.seeds for one in decomposed.values()}, crossed=crossed),
        headline=None,
    )
    # What was measured on other test images cannot have a lower loss than the baseline.
    of_baseline = [one.labels for one in decomposed.values() if one.item.variant == compared_with]
    labels = next((labels for labels in of_baseline if labels is not None), None)
    comparable = [one.item for one in decomposed.values() if _has_labels(one, labels)]
    answers = build_answers(report, comparable, axes, compared_with)
    return report.model_copy(update={"answers": answers, "headline": " ".join(answers) or None})


def _describe_intervals(seeds: set[int], *, crossed: bool) -> str | None:
    """What intervals are over, of items with so many seeds."""
    counts = sorted(seeds - {0})
    if not counts:
        return None
    if counts[-1] < 2:
        return _OVER_IMAGES
    several = [count for count in counts if count > 1]
    numbers = str(several[0]) if len(several) == 1 else f"{several[0]} to {several[-1]}"
    text = _OVER_SEEDS.format(seeds=numbers, sources="the same parts" if crossed else "parts of its own")
    return f"{text} Of rows with one seed: {_OVER_IMAGES}" if counts[0] == 1 else text


def _decompose(
    key: tuple[str, str],
    runs: Sequence[ExperimentRun],
    parts: int,
    store: ArtifactStore,
    *,
    crossed: bool,
) -> _Decomposed:
    by_seed: dict[int, dict[int, TestPredictions]] = defaultdict(dict)
    reason = None
    for run in runs:
        result = run.job.result
        if result is None:
            continue
        path, sha256 = result.predictions_path, result.predictions_sha256
        try:
            content = read_test_predictions(store, run.job.id, path, sha256)
        except (NotFound, ArtifactCorrupted) as error:
            reason = error.message
            continue
        by_seed[run.seed][run.key.part] = TestPredictions.from_bytes(content)
    complete = {seed: by_seed[seed] for seed in sorted(by_seed) if len(by_seed[seed]) == parts}
    variant, point = key[0], parse_point(key[1])
    if not complete:
        reason = reason or f"no seed has finished on all {parts} parts"
        return _Decomposed(
            BiasVarianceItem(variant=variant, point=point, parts=parts, seeds=0, reason=reason)
        )
    logs = {
        seed: np.stack([of_parts[part].log_probabilities for part in sorted(of_parts)]).astype(np.float64)
        for seed, of_parts in complete.items()
    }
    labels = next(iter(next(iter(complete.values())).values())).labels
    if not crossed:
        reason = "each seed has parts of its own; set split_per_seed to false for due_to"
    elif len(logs) < 2:
        reason = "due_to takes two seeds on the same parts"
    else:
        reason = None
    values = vars(decompose(list(logs.values()), labels, crossed=crossed))
    return _Decomposed(
        BiasVarianceItem(variant=variant, point=point, parts=parts, seeds=len(logs), **values, reason=reason),
        labels,
        {seed: decompose_cross_entropy(one, labels) for seed, one in logs.items()},
    )


def _has_labels(one: _Decomposed, labels: NDArray[np.int32] | None) -> bool:
    return one.labels is not None and labels is not None and np.array_equal(one.labels, labels)


def _subtract(one: _Decomposed, other: _Decomposed) -> BiasVarianceDifference | None:
    """`one` minus `other`, image by image; None without a seed in common, or on other test images."""
    seeds = sorted(one.losses.keys() & other.losses.keys())
    if not seeds or not _has_labels(one, other.labels):
        return None
    pairs = [zip(one.losses[seed], other.losses[seed], strict=True) for seed in seeds]
    return BiasVarianceDifference(
        variant=one.item.variant,
        point=one.item.point,
        baseline=other.item.variant,
        baseline_point=other.item.point,
        seeds=len(seeds),
        cross_entropy=average_cross_entropy([[mine - theirs for mine, theirs in pair] for pair in pairs]),
    )


def _build_trends(
    decomposed: Sequence[_Decomposed], names: Sequence[str], axes: Sequence[AxisUsed]
) -> list[BiasVarianceDifference]:
    if len(axes) != 1 or axes[0].numbers is None:
        return []
    trends = []
    for name in names:
        line = [one for one in decomposed if one.item.variant == name]
        trends += [trend] if len(line) > 1 and (trend := _subtract(line[-1], line[0])) else []
    return trends
