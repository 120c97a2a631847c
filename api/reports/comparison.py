"""Jobs and their histories in, one Comparison out. Pure: no database, no HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from api.jobs.serializers import serialize_result
from api.reports.advice import recommend
from api.reports.contrasts import RunId, build_contrasts, compute_seed_means, get_run_id
from api.reports.methods import build_methods, describe_sources
from api.reports.schemas import (
    Best,
    Comparison,
    Confounder,
    CurvePoint,
    DatasetUsed,
    Diagnostics,
    Metrics,
    Missing,
    SeedResult,
    VariantReport,
)
from api.reports.variance_components import build_variance_components, describe_variance_components
from api.reports.verdicts import Outline, build_headline
from models.confounders import find_confounders
from models.dataset_spec import DatasetSpec
from models.formatting import format_count
from models.inference import Plan
from models.metrics import REPORTED
from models.run_key import parse_part
from models.selection import VariantMeans
from models.states import JobState
from models.statistics import compute_proportion_standard_error, estimate
from models.store.report_data import EpochSummary, Spread
from models.store.tables import Job, Result

Summaries = Mapping[str, Sequence[EpochSummary]]

MAX_DIAGNOSED_VARIANTS = 8
"""A report has the diagnostics of a model for this many variants: more pictures cannot be compared."""

_SAME_RULER = (
    "Losses are cross-entropy in nats without any penalty, accuracies are measured with random layers off, "
    "so that every variant is measured with the same ruler."
)

_INTERVALS = (
    "Intervals of means, and of differences in tables and charts, are 95 % t intervals over seeds, each for "
    "itself; differences are taken within pairs that share a seed. A verdict's intervals hold for all tests "
    "together."
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
    plan: Plan
    complete: bool
    """Whether every planned run has ended."""
    best: VariantMeans | None
    """What validation chooses, once every run has ended."""
    repeat: str
    confirms: str | None = None
    """The experiment that this one follows up."""
    follow_ups: Sequence[str] = ()
    judged: Mapping[str, int] = field(default_factory=dict)
    """How many models were measured on the test images of each dataset so far, where that is known."""
    stopping_rule: str | None = None
    """What a reader should know of a rule by which variants may have different numbers of seeds."""
    baselines: Mapping[str, str] = field(default_factory=dict)
    """With axes the baseline of each variant at a point: the planned one there."""
    points: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """With axes the point of each."""
    split_per_seed: bool = False
    """Whether each seed has a split, subset and label noise of its own."""
    reused: frozenset[tuple[str, int, int]] = frozenset()
    """(variant, seed, part) of the jobs that the experiment did not train itself."""

    def get_baseline(self, name: str) -> str:
        """What a variant is compared with."""
        return self.baselines.get(name, self.baseline)


def select_finished(subject: JobGroups) -> dict[str, list[Job]]:
    """Of each variant the jobs with results that its numbers come from, by seed."""
    return {
        name: [job for job in _select_one_per_run(jobs) if job.result is not None]
        for name, jobs in subject.variants.items()
    }


def find_diagnosed_results(subject: JobGroups) -> list[Result]:
    """The results whose diagnostics `compare` shows: of each first variant the first seed's."""
    firsts = [
        jobs[0].result for jobs in list(select_finished(subject).values())[:MAX_DIAGNOSED_VARIANTS] if jobs
    ]
    return [result for result in firsts if result is not None]


def build_subject_headline(subject: JobGroups) -> str:
    """The headline of `compare`, of jobs whose histories and deferred columns need not be loaded."""
    chosen = {name: _select_one_per_run(jobs) for name, jobs in subject.variants.items()}
    outlines = [
        Outline(
            name=name,
            is_baseline=name == subject.get_baseline(name),
            n=len({job.seed for job in jobs if job.result is not None}),
            failed_seeds=_list_seeds(jobs, JobState.FAILED),
            confounders=_find_confounders(baseline, jobs)
            if (baseline := chosen[subject.get_baseline(name)]) and jobs
            else [],
        )
        for name, jobs in chosen.items()
    ]
    jobs = [job for group in chosen.values() for job in group]
    planned = max(subject.expected, len(jobs))
    return build_headline(
        build_contrasts(chosen, subject.baseline, subject.plan, subject.baselines),
        outlines,
        subject.plan,
        ended=planned - sum(not JobState(job.state).terminal for job in jobs),
        planned=planned,
    )


def compare(
    subject: JobGroups, summaries: Summaries, onsets: Mapping[str, int], *, now: datetime, version: str
) -> Comparison:
    """The comparison of `subject`, with the epochs and onsets of overfitting of variants' finished jobs.

    Reads `test_correct` of every result and `diagnostics` of `find_diagnosed_results`; both must be loaded.
    """
    chosen = {name: _select_one_per_run(jobs) for name, jobs in subject.variants.items()}
    everything = [job for jobs in chosen.values() for job in jobs]
    done = [job for job in everything if job.result is not None]
    variants = [
        _build_variant(
            name,
            jobs,
            summaries[name],
            onsets.get(name),
            subject.reused,
            baseline=chosen[subject.get_baseline(name)],
            with_diagnostics=index < MAX_DIAGNOSED_VARIANTS,
        )
        for index, (name, jobs) in enumerate(chosen.items())
    ]
    contrasts = build_contrasts(chosen, subject.baseline, subject.plan, subject.baselines)
    if subject.points:
        variants = [item.model_copy(update={"point": subject.points[item.name]}) for item in variants]
        contrasts = [item.model_copy(update={"point": subject.points[item.variant]}) for item in contrasts]
    components = build_variance_components(chosen, subject.points)
    seeds = sorted({job.seed for job in everything})
    planned = max(subject.expected, len(everything))
    comparison = Comparison(
        title=subject.title,
        experiment_id=subject.experiment_id,
        confirms=subject.confirms,
        follow_ups=list(subject.follow_ups),
        generated_at=now,
        version=version,
        inference=subject.plan.regime,
        level=subject.plan.level,
        complete=subject.complete,
        best=subject.best and Best.model_validate(asdict(subject.best)),
        headline=build_subject_headline(subject),
        methods=build_methods(
            contrasts,
            seeds,
            subject.baseline,
            subject.plan,
            confirms=subject.confirms,
            sources=describe_sources(
                [DatasetSpec.model_validate(job.spec["dataset"]) for job in everything],
                seeds=len({job.seed for job in done}),
                split_per_seed=subject.split_per_seed,
            ),
            version=version,
        ),
        jobs=planned,
        finished=len(done),
        baseline=subject.baseline,
        seeds=seeds,
        variants=variants,
        contrasts=contrasts,
        missing=[
            Missing(
                job_id=job.id,
                variant=name,
                seed=job.seed,
                state=JobState(job.state),
                reason=_describe_absence(job),
            )
            for name, jobs in chosen.items()
            for job in jobs
            if job.result is None
        ],
        datasets=[
            DatasetUsed(
                name=name,
                sha256=sorted(
                    {job.result.dataset_sha256 for job in done if job.dataset == name and job.result}
                ),
                classes=dataset.classes,
                test_examples=dataset.card.test_examples,
                judged_models=subject.judged.get(name),
            )
            for name, dataset in _find_datasets(everything).items()
        ],
        engines=sorted({_describe_engine(job.result) for job in done if job.result is not None}),
        variance_components=components,
        notes=[
            *_build_notes(
                everything,
                subject.stopping_rule,
                deleted=subject.expected - len(everything),
                repeated=sum(len(jobs) for jobs in subject.variants.values()) - len(everything),
                follow_ups=subject.follow_ups,
                judged=subject.judged,
            ),
            *describe_variance_components(components),
        ],
        repeat=subject.repeat,
    )
    return comparison.model_copy(update={"recommendation": [] if subject.points else recommend(comparison)})


def describe_judged(dataset: str, count: int) -> str:
    """How often a test set has been looked at."""
    return (
        f"Judged on the test images of {dataset} so far: {format_count(count, 'model')}. The more models are "
        "chosen among by what they do on these images, the less they say about others."
    )


def _find_datasets(jobs: Sequence[Job]) -> dict[str, DatasetSpec]:
    """The datasets of jobs by their names."""
    return {job.dataset: DatasetSpec.model_validate(job.spec["dataset"]) for job in jobs}


def _describe_absence(job: Job) -> str:
    if job.state == JobState.FAILED:
        return f"{job.error_code}: {job.error_message}"
    if job.state == JobState.CANCELLED:
        return "cancelled"
    return f"{job.epochs_done} of {format_count(job.epochs, 'epoch')} done"


def _select_one_per_run(jobs: Sequence[Job]) -> list[Job]:
    """For each seed and part the job that counts: one with a result before one without, then the newest."""
    best: dict[RunId, Job] = {}
    for job in sorted(jobs, key=lambda job: (job.result is not None, job.created_at), reverse=True):
        best.setdefault(get_run_id(job), job)
    return [best[run] for run in sorted(best)]


def _list_seeds(jobs: Sequence[Job], *states: JobState) -> list[int]:
    return sorted({job.seed for job in jobs if job.state in states})


def _build_variant(
    name: str,
    jobs: Sequence[Job],
    epochs: Sequence[EpochSummary],
    onset: int | None,
    reused: frozenset[tuple[str, int, int]],
    *,
    baseline: Sequence[Job],
    with_diagnostics: bool,
) -> VariantReport:
    done = [job for job in jobs if job.result is not None]
    results = [job.result for job in done if job.result is not None]
    metrics = line = None
    if results:
        metrics = Metrics.model_validate(
            {metric.name: estimate(compute_seed_means(done, metric.name)) for metric in REPORTED}
        )
        loss, accuracy = metrics.test_loss.mean, metrics.test_accuracy.mean
        line = f"Model {name} - Test Loss: {loss:.4f}, Test Accuracy: {accuracy:.4f}"
    confusions = [result.confusion for result in results if result.confusion is not None]
    first = done[0] if done and with_diagnostics else None
    curve = []
    for epoch in epochs:
        point: dict[str, Any] = {"epoch": epoch.epoch, "n": epoch.train_loss.n}
        for metric in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "gap_loss"):
            spread: Spread | None = getattr(epoch, metric)
            point |= {metric: spread and spread.mean, f"{metric}_sd": spread and spread.sd}
        curve.append(CurvePoint(**point))
    return VariantReport(
        name=name,
        is_baseline=jobs is baseline,
        regularization=jobs[0].spec["regularization"] if jobs else {},
        training_examples=DatasetSpec.model_validate(jobs[0].spec["dataset"]).training_examples
        if jobs
        else None,
        n=len({job.seed for job in done}),
        seeds=[
            SeedResult(
                seed=job.seed,
                part=parse_part(get_run_id(job)[1]),
                job_id=job.id,
                reused=(name, *get_run_id(job)) in reused,
                result=serialize_result(job.result),
            )
            for job in done
            if job.result is not None
        ],
        failed_seeds=_list_seeds(jobs, JobState.FAILED),
        unfinished_seeds=sorted(
            {job.seed for job in jobs if job.result is None and job.state != JobState.FAILED}
        ),
        metrics=metrics,
        line=line,
        confounders=_find_confounders(baseline, jobs) if baseline and jobs else [],
        curve=curve,
        overfitting_onset_epoch=onset,
        # Summed over seeds, if all have one.
        confusion=[
            [sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*confusions, strict=True)
        ]
        if results and len(confusions) == len(results)
        else None,
        diagnostics=Diagnostics.model_validate(
            {"seed": first.seed, "job_id": first.id} | first.result.diagnostics
        )
        if first and first.result and first.result.diagnostics is not None
        else None,
    )


def _find_confounders(baseline: Sequence[Job], jobs: Sequence[Job]) -> list[Confounder]:
    partners = {get_run_id(job): job for job in baseline}
    pairs = [(partners[run], job) for job in jobs if (run := get_run_id(job)) in partners]
    reference, job = pairs[0] if pairs else (baseline[0], jobs[0])
    return [
        Confounder.model_validate(change)
        for change in find_confounders(reference.spec, job.spec)
        # It may follow the seed, so that it tells something at equal seeds only.
        if pairs or change.field != "/dataset/split_seed"
    ]


def _describe_engine(result: Result) -> str:
    versions = f"TensorFlow {result.tensorflow}, Keras {result.keras}"
    return f"{versions} on {result.device}, threads a job: {result.threads}"


def _build_notes(
    jobs: Sequence[Job],
    stopping_rule: str | None,
    *,
    deleted: int,
    repeated: int,
    follow_ups: Sequence[str],
    judged: Mapping[str, int],
) -> list[str]:
    results = [job.result for job in jobs if job.result is not None]
    notes = [_SAME_RULER, _INTERVALS, *([stopping_rule] if stopping_rule else [])]
    if follow_ups:
        notes.append(
            f"Followed up on fresh seeds by {', '.join(follow_ups)}: what was chosen because of this report "
            "is judged there, in a family of tests of its own."
        )
    notes += [describe_judged(name, count) for name, count in judged.items()]
    if deleted > 0:
        notes.append(f"Missing because deleted: {format_count(deleted, 'job')} of this experiment.")
    if repeated > 0:
        notes.append(f"Left out: {format_count(repeated, 'job')} with the same variant and seed as another.")
    if results and len(_find_datasets(jobs)) == 1:
        (dataset,) = _find_datasets(jobs).values()
        rows = dataset.card.test_examples
        mean = sum(result.test_accuracy for result in results) / len(results)
        error = 100 * compute_proportion_standard_error(mean, rows)
        notes.append(
            f"The test set has {rows:,} images, so that an accuracy of {100 * mean:.1f} % has a standard "
            f"error of {error:.2f} points as an estimate for unseen digits; more seeds do not lower it."
        )
    if stopped := sum(result.stop_reason == "max_seconds" for result in results):
        notes.append(
            f"Stopped by `training.max_seconds`: {format_count(stopped, 'run')}. How many epochs they had "
            "depends on the machine's speed and load, so that a repetition gives other numbers."
        )
    if len({_describe_engine(result) for result in results}) > 1:
        notes.append("The jobs ran on different engines; differences between those are in the numbers too.")
    if len({job.dataset for job in jobs}) > 1:
        notes.append(
            "The variants use different datasets; their accuracies cannot be set against each other."
        )
    return notes
