"""Bias and variance of an experiment's variants, from what its runs predict for the test images."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from api.reports.schemas import BiasVarianceItem, BiasVarianceReport
from models.artifacts import ArtifactStore
from models.bias_variance import decompose
from models.errors import ArtifactCorrupted, NotFound
from models.run_key import parse_point
from models.store.experiment_runs import ExperimentRun
from models.test_predictions import TestPredictions, read_test_predictions

_OVER_SEEDS = (
    "95 % t intervals over {seeds} seeds, each with {sources}, for these test images; seeds with a run "
    "that is missing are left out"
)
_OVER_IMAGES = (
    "95 % intervals over the test images alone, for these parts: one seed does not show how parts vary"
)


def build_report(
    document: Mapping[str, Any], runs: Sequence[ExperimentRun], store: ArtifactStore
) -> BiasVarianceReport:
    """The decompositions of each variant at each point of the axes, in the order of the variants."""
    parts = document.get("parts") or 1
    if parts < 2:
        reason = (
            "a variance over training sets takes two parts or more; give the experiment `parts`, such as 5"
        )
        return BiasVarianceReport(items=None, reason=reason, intervals=None, headline=None)
    crossed = not document.get("split_per_seed", False)
    groups: dict[tuple[str, str], list[ExperimentRun]] = defaultdict(list)
    for run in runs:
        groups[run.key.variant, run.key.point].append(run)
    names = [variant["name"] for variant in document["variants"]]
    ordered = sorted(groups, key=lambda key: names.index(key[0]))
    items = [_build_item(key, groups[key], parts, store, crossed=crossed) for key in ordered]
    seeds = max((item.seeds for item in items), default=0)
    sources = "the same parts" if crossed else "parts of its own"
    return BiasVarianceReport(
        items=items,
        reason=None,
        intervals=_OVER_SEEDS.format(seeds=seeds, sources=sources) if seeds > 1 else _OVER_IMAGES,
        headline=_format_headline(items),
    )


def _build_item(
    key: tuple[str, str],
    runs: Sequence[ExperimentRun],
    parts: int,
    store: ArtifactStore,
    *,
    crossed: bool,
) -> BiasVarianceItem:
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
    complete = [by_seed[seed] for seed in sorted(by_seed) if len(by_seed[seed]) == parts]
    variant, point = key[0], parse_point(key[1])
    if not complete:
        reason = reason or f"no seed has finished on all {parts} parts"
        return BiasVarianceItem(variant=variant, point=point, parts=parts, seeds=0, reason=reason)
    seeds = [
        np.stack([of_parts[part].log_probabilities for part in sorted(of_parts)]).astype(np.float64)
        for of_parts in complete
    ]
    labels = next(iter(complete[0].values())).labels
    decomposed = decompose(seeds, labels, crossed=crossed)
    if not crossed:
        reason = "each seed has parts of its own; set split_per_seed to false for due_to"
    elif len(seeds) < 2:
        reason = "due_to takes two seeds on the same parts"
    else:
        reason = None
    return BiasVarianceItem(
        variant=variant, point=point, parts=parts, seeds=len(seeds), **vars(decomposed), reason=reason
    )


def _format_headline(items: Sequence[BiasVarianceItem]) -> str | None:
    """The answer in a sentence, about the cross-entropy."""
    measured = [(_format_name(item), item.cross_entropy) for item in items if item.cross_entropy is not None]
    if len(measured) < 2:
        return None
    lowest, best = min(measured, key=lambda pair: pair[1].mean_loss.value)
    least_biased, bias = min(measured, key=lambda pair: pair[1].bias.value)
    steadiest, variance = min(measured, key=lambda pair: pair[1].variance.value)
    return (
        f"The loss is lowest with {lowest} ({best.mean_loss.value:.3f} nats: bias {best.bias.value:.3f}, "
        f"variance {best.variance.value:.3f}), the bias with {least_biased} ({bias.bias.value:.3f}), the "
        f"variance with {steadiest} ({variance.variance.value:.3f})."
    )


def _format_name(item: BiasVarianceItem) -> str:
    values = ", ".join(f"{field} {value}" for field, value in (item.point or {}).items())
    return f"{item.variant} ({values})" if values else item.variant
