"""How much of a metric's variance the split causes, and how much the seed: of crossed designs."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import sqrt
from typing import Any, Literal

import numpy as np

from api.reports.axis_schemas import VarianceComponents
from models.metrics import METRICS, Metric
from models.store.tables import Job
from models.variance_components import separate_variances

_FIELD = "/dataset/split_seed"
_METRICS: tuple[Literal["test_accuracy"], Literal["test_loss"]] = ("test_accuracy", "test_loss")


def build_variance_components(
    variants: Mapping[str, Sequence[Job]], points: Mapping[str, Mapping[str, Any]]
) -> list[VarianceComponents]:
    """Of each variant that was trained with two seeds or more on each of two splits or more; else nothing.

    `variants` are the jobs with results of each variant at each point, `points` the points.
    """
    if not points or any([*point] != [_FIELD] for point in points.values()):
        return []
    jobs = [job for name in points for job in variants[name] if job.result is not None]
    components = []
    for variant, of_variant in groupby(sorted(jobs, key=_get_variant), key=_get_variant):
        results = {(job.spec["dataset"]["split_seed"], job.seed): job.result for job in of_variant}
        splits, seeds = (sorted(set(values)) for values in zip(*results, strict=True))
        # A two-way analysis needs every cell.
        if min(len(splits), len(seeds)) < 2 or len(results) < len(splits) * len(seeds):
            continue
        for metric in _METRICS:
            cells = [[getattr(results[split, seed], metric) for seed in seeds] for split in splits]
            split, seed, rest = map(float, separate_variances(np.array(cells)))
            components.append(
                VarianceComponents(
                    variant=variant,
                    metric=metric,
                    splits=len(splits),
                    seeds=len(seeds),
                    split=split,
                    seed=seed,
                    residual=rest,
                )
            )
    return components


def describe_variance_components(components: Sequence[VarianceComponents]) -> list[str]:
    """A sentence for each, with standard deviations; a negative estimate counts as zero."""
    return [
        f"{metric.title} of {item.variant} over {item.splits} splits and {item.seeds} seeds, crossed: "
        f"standard deviation in {metric.contrast_unit} {_format(item.split, metric)} due to the split, "
        f"{_format(item.seed, metric)} due to the seed, {_format(item.residual, metric)} due to both "
        "together or to chance."
        for item in components
        for metric in [METRICS[item.metric]]
    ]


def _get_variant(job: Job) -> str:
    return job.variant or ""


def _format(variance: float, metric: Metric) -> str:
    return f"{metric.format.scale * sqrt(max(variance, 0.0)):.2g}"
