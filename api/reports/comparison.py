"""Jobs and their histories in, one Comparison out. Pure: no database, no HTTP."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from api.jobs.serializers import serialize_result
from api.reports.advice import recommend
from api.reports.contrasts import build_contrasts
from api.reports.schemas import (
    Comparison,
    Confounder,
    CurvePoint,
    DatasetUsed,
    Diagnostics,
    Metrics,
    MetricSummary,
    Missing,
    SeedResult,
    VariantReport,
)
from models.experiments import find_confounders
from models.spec import DATASET_ROWS, DatasetSpec
from models.states import JobState
from models.statistics import compute_proportion_standard_error, estimate
from models.store.report_data import EpochSummary, Spread
from models.store.tables import Job, Result

Summaries = Mapping[str, Sequence[EpochSummary]]

MAX_DIAGNOSED_VARIANTS = 8
"""Of so many variants a report has the diagnostics of a model: nobody compares more pictures than that."""
_CLEARLY = 2.0
"""Standard errors by which a loss must have risen to be called overfitting."""

_SAME_RULER = (
    "Losses are cross-entropy in nats without any penalty, accuracies are measured with random layers off, "
    "so that every variant is measured with the same ruler."
)

_INTERVALS = (
    "Intervals are 95 % t intervals over seeds, each for itself; differences are taken within pairs that "
    "share a seed."
)


@dataclass(frozen=True)
class JobGroups:
    """What is compared: variants in order, each with its jobs, one of them the baseline."""

    title: str
    experiment_id: str | None
    baseline: str
    variants: Mapping[str, Sequence[Job]]
    expected: int
    """How many jobs there should be; those that were deleted are missed here."""
    repeat: str
    reused: frozenset[tuple[str, int]] = frozenset()
    """(variant, seed) of the jobs that the experiment did not train itself."""


def select_finished(subject: JobGroups) -> dict[str, list[Job]]:
    """Of each variant the jobs with results that its numbers come from, by seed."""
    return {
        name: [job for job in _select_one_per_seed(jobs) if job.result is not None]
        for name, jobs in subject.variants.items()
    }


def find_diagnosed_results(subject: JobGroups) -> list[Result]:
    """The results whose diagnostics `compare` shows: of each first variant the first seed's."""
    firsts = [
        jobs[0].result for jobs in list(select_finished(subject).values())[:MAX_DIAGNOSED_VARIANTS] if jobs
    ]
    return [result for result in firsts if result is not None]


def compare(subject: JobGroups, summaries: Summaries, *, now: datetime, version: str) -> Comparison:
    """The comparison of `subject`; `summaries` holds the epochs of the finished jobs of each variant.

    Reads `test_correct` of every result and `diagnostics` of `find_diagnosed_results`; both must be loaded.
    """
    chosen = {name: _select_one_per_seed(jobs) for name, jobs in subject.variants.items()}
    everything = [job for jobs in chosen.values() for job in jobs]
    done = [job for job in everything if job.result is not None]
    comparison = Comparison(
        title=subject.title,
        experiment_id=subject.experiment_id,
        generated_at=now,
        version=version,
        complete=len(done) >= subject.expected,
        jobs=max(subject.expected, len(everything)),
        finished=len(done),
        baseline=subject.baseline,
        seeds=sorted({job.seed for job in everything}),
        variants=[
            _build_variant(
                name,
                jobs,
                summaries[name],
                subject.reused,
                baseline=chosen[subject.baseline],
                with_diagnostics=index < MAX_DIAGNOSED_VARIANTS,
            )
            for index, (name, jobs) in enumerate(chosen.items())
        ],
        contrasts=build_contrasts(chosen, subject.baseline),
        missing=[
            _build_missing(name, job) for name, jobs in chosen.items() for job in jobs if job.result is None
        ],
        datasets=_get_datasets(everything),
        engines=sorted({_describe_engine(job.result) for job in done if job.result is not None}),
        notes=_build_notes(
            everything,
            deleted=subject.expected - len(everything),
            repeated=sum(len(jobs) for jobs in subject.variants.values()) - len(everything),
        ),
        repeat=subject.repeat,
    )
    return comparison.model_copy(update={"recommendation": recommend(comparison)})


def _build_curve_point(epoch: EpochSummary) -> CurvePoint:
    loss, accuracy, gap = epoch.validation_loss, epoch.validation_accuracy, epoch.gap_loss
    return CurvePoint(
        epoch=epoch.epoch,
        n=epoch.train_loss.n,
        train_loss=epoch.train_loss.mean,
        train_loss_sd=epoch.train_loss.sd,
        train_accuracy=epoch.train_accuracy.mean,
        train_accuracy_sd=epoch.train_accuracy.sd,
        validation_loss=_compute_mean(loss),
        validation_loss_sd=_compute_sd(loss),
        validation_accuracy=_compute_mean(accuracy),
        validation_accuracy_sd=_compute_sd(accuracy),
        gap_loss=_compute_mean(gap),
        gap_loss_sd=_compute_sd(gap),
    )


def _compute_mean(spread: Spread | None) -> float | None:
    return spread.mean if spread else None


def _compute_sd(spread: Spread | None) -> float | None:
    return spread.sd if spread else None


def _select_one_per_seed(jobs: Sequence[Job]) -> list[Job]:
    """For each seed the job that counts: one with a result before one without, then the newest."""
    best: dict[int, Job] = {}
    for job in jobs:
        current = best.get(job.seed)
        if current is None or _rank_job(job) > _rank_job(current):
            best[job.seed] = job
    return [best[seed] for seed in sorted(best)]


def _rank_job(job: Job) -> tuple[bool, datetime]:
    return job.result is not None, job.created_at


def _build_variant(
    name: str,
    jobs: Sequence[Job],
    epochs: Sequence[EpochSummary],
    reused: frozenset[tuple[str, int]],
    *,
    baseline: Sequence[Job],
    with_diagnostics: bool,
) -> VariantReport:
    done = [job for job in jobs if job.result is not None]
    results = [job.result for job in done if job.result is not None]
    metrics = _estimate_metrics(results) if results else None
    return VariantReport(
        name=name,
        is_baseline=jobs is baseline,
        regularization=jobs[0].spec["regularization"] if jobs else {},
        training_examples=DatasetSpec.model_validate(jobs[0].spec["dataset"]).training_examples
        if jobs
        else None,
        n=len(done),
        seeds=[
            SeedResult(
                seed=job.seed,
                job_id=job.id,
                reused=(name, job.seed) in reused,
                result=serialize_result(job.result),
            )
            for job in done
            if job.result is not None
        ],
        failed_seeds=[job.seed for job in jobs if job.state == JobState.FAILED],
        unfinished_seeds=[job.seed for job in jobs if job.result is None and job.state != JobState.FAILED],
        metrics=metrics,
        line=_format_line(name, metrics) if metrics else None,
        confounders=[
            Confounder.model_validate(change)
            for change in (find_confounders(baseline[0].spec, jobs[0].spec) if baseline and jobs else [])
        ],
        curve=[_build_curve_point(epoch) for epoch in epochs],
        overfitting_onset_epoch=_find_overfitting_onset(epochs),
        confusion=_sum_confusion(results),
        diagnostics=_get_diagnostics(done[0]) if done and with_diagnostics else None,
    )


def _find_overfitting_onset(epochs: Sequence[EpochSummary]) -> int | None:
    """The epoch of the lowest mean validation loss, if the mean has clearly risen up to the last epoch.

    Only epochs that as many jobs reached count, because jobs that stop early are not like the others.
    Clearly is by more than two standard errors of the difference of two independent means: those of the
    same seeds vary less against each other, so this errs towards saying nothing. One seed says nothing.
    """
    most = max((epoch.train_loss.n for epoch in epochs), default=0)
    results = [
        (epoch.epoch, epoch.validation_loss)
        for epoch in epochs
        if epoch.validation_loss is not None and epoch.train_loss.n == most
    ]
    if not results:
        return None
    first, lowest = min(results, key=lambda item: item[1].mean)
    last = results[-1][1]
    if lowest.sd is None or last.sd is None:
        return None
    error = math.sqrt((lowest.sd**2 + last.sd**2) / most)
    return first if last.mean - lowest.mean > _CLEARLY * error else None


def _sum_confusion(results: Sequence[Result]) -> list[list[int]] | None:
    confusions = [result.confusion for result in results if result.confusion is not None]
    if not confusions or len(confusions) < len(results):
        return None
    return [[sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*confusions, strict=True)]


def _get_diagnostics(job: Job) -> Diagnostics | None:
    if job.result is None or job.result.diagnostics is None:
        return None
    return Diagnostics.model_validate({"seed": job.seed, "job_id": job.id} | job.result.diagnostics)


def _format_line(name: str, metrics: Metrics) -> str:
    loss, accuracy = metrics.test_loss.mean, metrics.test_accuracy.mean
    return f"Model {name} - Test Loss: {loss:.4f}, Test Accuracy: {accuracy:.4f}"


def _estimate_metrics(results: Sequence[Result]) -> Metrics:
    return Metrics(
        **{
            name: MetricSummary.model_validate(estimate([getattr(result, name) for result in results]))
            for name in Metrics.model_fields
        }
    )


def _build_missing(variant: str, job: Job) -> Missing:
    reasons: dict[str, Callable[[], str]] = {
        JobState.FAILED: lambda: f"{job.error_code}: {job.error_message}",
        JobState.CANCELLED: lambda: "cancelled",
    }
    reason = reasons.get(job.state, lambda: f"{job.epochs_done} of {job.epochs} epochs done")()
    return Missing(job_id=job.id, variant=variant, seed=job.seed, state=JobState(job.state), reason=reason)


def _get_datasets(jobs: Sequence[Job]) -> list[DatasetUsed]:
    digests: dict[str, set[str]] = {job.dataset: set() for job in jobs}
    for job in jobs:
        if job.result is not None:
            digests[job.dataset].add(job.result.dataset_sha256)
    return [
        DatasetUsed(name=name, sha256=sorted(checksums), test_examples=DATASET_ROWS[name].test)
        for name, checksums in digests.items()
    ]


def _describe_engine(result: Result) -> str:
    versions = f"TensorFlow {result.tensorflow}, Keras {result.keras}"
    return f"{versions} on {result.device}, threads a job: {result.threads}"


def _build_notes(jobs: Sequence[Job], *, deleted: int, repeated: int) -> list[str]:
    results = [job.result for job in jobs if job.result is not None]
    notes = [
        _SAME_RULER,
        _INTERVALS,
    ]
    if deleted > 0:
        notes.append(f"{deleted} job(s) of this experiment were deleted.")
    if repeated > 0:
        notes.append(f"{repeated} job(s) repeat another's variant and seed, and are left out.")
    if results:
        notes.append(_test_set_note(jobs, results))
    if len({_describe_engine(result) for result in results}) > 1:
        notes.append("The jobs ran on different engines; differences between those are in the numbers too.")
    if len({job.dataset for job in jobs}) > 1:
        notes.append(
            "The variants use different datasets; their accuracies cannot be set against each other."
        )
    return notes


def _test_set_note(jobs: Sequence[Job], results: Sequence[Result]) -> str:
    rows = min(DATASET_ROWS[job.dataset].test for job in jobs)
    mean = sum(result.test_accuracy for result in results) / len(results)
    points = 100 * compute_proportion_standard_error(mean, rows)
    return (
        f"The test set has {rows:,} images, so that an accuracy of {100 * mean:.1f} % has a standard error "
        f"of {points:.2f} points as a metric of unseen digits; more seeds do not lower that."
    )
