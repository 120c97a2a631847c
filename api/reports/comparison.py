"""Jobs and their histories in, one Comparison out. Pure: no database, no HTTP."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from api.answers import result_answer
from api.reports.contrasts import contrasts
from api.reports.schemas import (
    Comparison,
    CurvePoint,
    DatasetUsed,
    Measure,
    Measures,
    Missing,
    OtherChange,
    SeedResult,
    VariantReport,
)
from models.experiments import other_changes
from models.spec import DATASET_ROWS
from models.states import JobState
from models.statistics import estimate, proportion_standard_error
from models.tables import Epoch, Job, Result

History = Mapping[str, Sequence[Epoch]]

_SAME_RULER = (
    "Losses are cross-entropy in nats without any penalty, accuracies are measured with random layers off, "
    "so that every variant is measured with the same ruler."
)

_INTERVALS = (
    "Intervals are 95 % t intervals over seeds, each for itself; differences are taken within pairs that "
    "share a seed."
)


@dataclass(frozen=True)
class Subject:
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


def compare(subject: Subject, histories: History, *, now: datetime, version: str) -> Comparison:
    """The comparison of `subject`; `histories` holds each job's epochs by its id."""
    chosen = {name: _one_a_seed(jobs) for name, jobs in subject.variants.items()}
    everything = [job for jobs in chosen.values() for job in jobs]
    done = [job for job in everything if job.result is not None]
    return Comparison(
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
            _variant(name, jobs, histories, subject.reused, baseline=chosen[subject.baseline])
            for name, jobs in chosen.items()
        ],
        contrasts=contrasts(chosen, subject.baseline),
        missing=[_missing(name, job) for name, jobs in chosen.items() for job in jobs if job.result is None],
        datasets=_datasets(everything),
        engines=sorted({_engine(job.result) for job in done if job.result is not None}),
        notes=_notes(
            everything,
            deleted=subject.expected - len(everything),
            repeated=sum(len(jobs) for jobs in subject.variants.values()) - len(everything),
        ),
        repeat=subject.repeat,
    )


def mean_curve(histories: Sequence[Sequence[Epoch]]) -> list[CurvePoint]:
    """Means over seeds, epoch by epoch; jobs that stopped earlier leave the later epochs to the others."""
    by_epoch: dict[int, list[Epoch]] = {}
    for history in histories:
        for row in history:
            by_epoch.setdefault(row.epoch, []).append(row)
    return [_curve_point(epoch, by_epoch[epoch]) for epoch in sorted(by_epoch)]


def _curve_point(epoch: int, rows: Sequence[Epoch]) -> CurvePoint:
    train_loss = _mean([row.train_loss for row in rows])
    train_accuracy = _mean([row.train_accuracy for row in rows])
    validation_loss = _mean([row.validation_loss for row in rows])
    assert train_loss is not None  # noqa: S101 (there is a row, and the column is never null)
    assert train_accuracy is not None  # noqa: S101 (the same)
    return CurvePoint(
        epoch=epoch,
        n=len(rows),
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        validation_loss=validation_loss,
        validation_accuracy=_mean([row.validation_accuracy for row in rows]),
        gap_loss=None if validation_loss is None else validation_loss - train_loss,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _one_a_seed(jobs: Sequence[Job]) -> list[Job]:
    """For each seed the job that counts: one with a result before one without, then the newest."""
    best: dict[int, Job] = {}
    for job in jobs:
        held = best.get(job.seed)
        if held is None or _worth(job) > _worth(held):
            best[job.seed] = job
    return [best[seed] for seed in sorted(best)]


def _worth(job: Job) -> tuple[bool, datetime]:
    return job.result is not None, job.created_at


def _variant(
    name: str,
    jobs: Sequence[Job],
    histories: History,
    reused: frozenset[tuple[str, int]],
    *,
    baseline: Sequence[Job],
) -> VariantReport:
    done = [job for job in jobs if job.result is not None]
    results = [job.result for job in done if job.result is not None]
    measures = _measures(results) if results else None
    return VariantReport(
        name=name,
        is_baseline=jobs is baseline,
        regularization=jobs[0].spec["regularization"] if jobs else {},
        n=len(done),
        seeds=[
            SeedResult(
                seed=job.seed,
                job_id=job.id,
                reused=(name, job.seed) in reused,
                result=result_answer(job.result),
            )
            for job in done
            if job.result is not None
        ],
        failed_seeds=[job.seed for job in jobs if job.state == JobState.FAILED],
        unfinished_seeds=[job.seed for job in jobs if job.result is None and job.state != JobState.FAILED],
        measures=measures,
        line=_line(name, measures) if measures else None,
        other_changes=[
            OtherChange.model_validate(change)
            for change in (other_changes(baseline[0].spec, jobs[0].spec) if baseline and jobs else [])
        ],
        curve=mean_curve([histories[job.id] for job in done]),
    )


def _line(name: str, measures: Measures) -> str:
    loss, accuracy = measures.test_loss.mean, measures.test_accuracy.mean
    return f"Model {name} - Test Loss: {loss:.4f}, Test Accuracy: {accuracy:.4f}"


def _measures(results: Sequence[Result]) -> Measures:
    return Measures(
        **{
            name: Measure.model_validate(estimate([getattr(result, name) for result in results]))
            for name in Measures.model_fields
        }
    )


def _missing(variant: str, job: Job) -> Missing:
    reasons: dict[str, Callable[[], str]] = {
        JobState.FAILED: lambda: f"{job.error_code}: {job.error_message}",
        JobState.CANCELLED: lambda: "cancelled",
    }
    reason = reasons.get(job.state, lambda: f"{job.epochs_done} of {job.epochs} epochs done")()
    return Missing(job_id=job.id, variant=variant, seed=job.seed, state=JobState(job.state), reason=reason)


def _datasets(jobs: Sequence[Job]) -> list[DatasetUsed]:
    digests: dict[str, set[str]] = {job.dataset: set() for job in jobs}
    for job in jobs:
        if job.result is not None:
            digests[job.dataset].add(job.result.dataset_sha256)
    return [
        DatasetUsed(name=name, sha256=sorted(found), test_rows=DATASET_ROWS[name].test)
        for name, found in digests.items()
    ]


def _engine(result: Result) -> str:
    versions = f"TensorFlow {result.tensorflow}, Keras {result.keras}"
    return f"{versions} on {result.device}, threads a job: {result.threads}"


def _notes(jobs: Sequence[Job], *, deleted: int, repeated: int) -> list[str]:
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
    if len({_engine(result) for result in results}) > 1:
        notes.append("The jobs ran on different engines; differences between those are in the numbers too.")
    if len({job.dataset for job in jobs}) > 1:
        notes.append(
            "The variants use different datasets; their accuracies cannot be set against each other."
        )
    return notes


def _test_set_note(jobs: Sequence[Job], results: Sequence[Result]) -> str:
    rows = min(DATASET_ROWS[job.dataset].test for job in jobs)
    mean = sum(result.test_accuracy for result in results) / len(results)
    points = 100 * proportion_standard_error(mean, rows)
    return (
        f"The test set has {rows:,} images, so that an accuracy of {100 * mean:.1f} % has a standard error "
        f"of {points:.2f} points as a measure of unseen digits; more seeds do not lower that."
    )
