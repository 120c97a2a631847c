"""Accuracies on damaged test images by variant, and relative to the baseline. Pure."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from api.reports.robustness_schemas import RobustnessReport, SeedMean
from models.records import CORRUPTIONS
from models.statistics import compute_paired_difference, estimate
from models.store.tables import Job

_ALL = "all"


def build_robustness(
    variants: Mapping[str, Sequence[Job]], baselines: Mapping[str, str]
) -> list[RobustnessReport]:
    """Of each variant that was measured so; `baselines` names what each is compared with, perhaps itself.

    Reads `robustness` of the results of jobs that ask for it, which must be loaded.
    """
    measured = {name: _group_by_seed(jobs) for name, jobs in variants.items()}
    reports = []
    for name, by_seed in measured.items():
        if not by_seed:
            continue
        before = measured[baselines[name]]
        seeds = sorted(by_seed.keys() & before.keys()) if baselines[name] != name else []
        means, differences = {}, {}
        for kind in (_ALL, *CORRUPTIONS):
            summary = estimate([values[kind] for values in by_seed.values()])
            means[kind] = SeedMean.model_validate(summary)
            pairs = ([100 * of[seed][kind] for seed in seeds] for of in (before, by_seed))
            if (difference := compute_paired_difference(*pairs)) is not None:
                differences[kind] = SeedMean.model_validate(difference)
        reports.append(
            RobustnessReport(
                variant=name,
                baseline=baselines[name] if baselines[name] != name else None,
                accuracy=means.pop(_ALL),
                kinds=means,
                difference=differences.pop(_ALL, None),
                kind_differences=differences,
            )
        )
    return reports


def asks_for_robustness(job: Job) -> bool:
    """Whether a job's specification has its model measured on damaged images."""
    return bool(job.spec.get("evaluation", {}).get("robustness"))


def get_mean_accuracy(job: Job) -> float | None:
    """A finished job's mean accuracy over all kinds and severities, where it was measured."""
    if not asks_for_robustness(job) or job.result is None or job.result.robustness is None:
        return None
    return float(job.result.robustness["mean_accuracy"])


def _group_by_seed(jobs: Sequence[Job]) -> dict[int, dict[str, float]]:
    """Of each seed the mean accuracy by kind over severities, and over the models of its parts."""
    groups: dict[int, list[dict[str, float]]] = {}
    for job in jobs:
        mean = get_mean_accuracy(job)
        if mean is not None and job.result is not None and job.result.robustness is not None:
            accuracy = job.result.robustness["accuracy"]
            kinds = {kind: fmean(accuracy[kind][1:]) for kind in CORRUPTIONS}
            groups.setdefault(job.seed, []).append({_ALL: mean} | kinds)
    return {
        seed: {kind: fmean(values[kind] for values in models) for kind in models[0]}
        for seed, models in groups.items()
    }
