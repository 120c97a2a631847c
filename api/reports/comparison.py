"""Jobs and their histories in, one Comparison out. Pure: no database, no HTTP."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from api.jobs.serializers import serialize_result
from api.reports.advice import recommend
from api.reports.answers import build_answers, find_next_step
from api.reports.axis_advice import advise_along_axes
from api.reports.axis_schemas import AxisUsed
from api.reports.contrasts import RunId, build_contrasts, compute_seed_means, get_run_id
from api.reports.error_curves import build_error_curves
from api.reports.gains import build_best, build_gains, build_points
from api.reports.methods import build_methods, describe_settings, describe_sources
from api.reports.notes import build_notes, describe_engine, find_datasets
from api.reports.points import remove_point
from api.reports.robustness import build_robustness, get_mean_accuracy
from api.reports.schemas import (
    Comparison,
    Confounder,
    Contrast,
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
from models.experiments import Regime
from models.formatting import format_count
from models.inference import Plan
from models.metrics import REPORTED
from models.run_key import parse_part
from models.selection import VariantMeans
from models.states import JobState
from models.statistics import estimate
from models.store.report_data import DatasetUse, EpochSummary, Spread
from models.store.tables import Job, Result

Summaries = Mapping[str, Sequence[EpochSummary]]

MAX_DIAGNOSED_VARIANTS = 8
"""A report has the diagnostics of a model for this many variants: more pictures cannot be compared."""


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
    repeat: str
    choices: Mapping[str, VariantMeans | str] = field(default_factory=dict)
    """Once every run has ended: what validation chooses at each point of the axes, or why nothing."""
    axes: Sequence[AxisUsed] = ()
    confirms: str | None = None
    """The experiment that this one follows up."""
    follow_ups: Sequence[str] = ()
    datasets: Mapping[str, DatasetUse] = field(default_factory=dict)
    """What is known of the datasets besides their sizes, by name."""
    stopping_rule: str | None = None
    """What a reader should know of a rule by which variants may have different numbers of seeds."""
    baselines: Mapping[str, str] = field(default_factory=dict)
    """With axes the baseline of each variant at a point: the planned one there."""
    points: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """With axes the point of each."""
    split_per_seed: bool = False
    """Whether each seed has a split, subset and label noise of its own."""
    tuned: frozenset[str] = frozenset()
    """Fields that tuning chose for each variant, at the same price: they confound nothing."""
    reused: frozenset[tuple[str, int, int]] = frozenset()
    """(variant, seed, part) of the jobs that the experiment did not train itself."""

    def get_baseline(self, name: str) -> str:
        """What a variant is compared with."""
        return self.baselines.get(name, self.baseline)


def select_finished(subject: JobGroups) -> dict[str, list[Job]]:
    """Of each variant the jobs with results that its numbers come from, by seed."""
    return {
        name: [job for job in select_one_per_run(jobs) if job.result is not None]
        for name, jobs in subject.variants.items()
    }


def find_diagnosed_results(subject: JobGroups) -> list[Result]:
    """The results whose diagnostics `compare` shows: of each first variant the first seed's."""
    firsts = [
        jobs[0].result for jobs in list(select_finished(subject).values())[:MAX_DIAGNOSED_VARIANTS] if jobs
    ]
    return [result for result in firsts if result is not None]


def build_subject_headline(subject: JobGroups) -> tuple[str, list[Contrast]]:
    """The headline of `compare` and what it rests on; the jobs' histories need not be loaded."""
    chosen = {name: select_one_per_run(jobs) for name, jobs in subject.variants.items()}
    contrasts = [
        contrast.model_copy(update={"point": subject.points.get(contrast.variant)})
        for contrast in build_contrasts(chosen, subject.baseline, subject.plan, subject.baselines)
    ]
    outlines = [
        Outline(
            name=name,
            is_baseline=name == subject.get_baseline(name),
            n=len({job.seed for job in jobs if job.result is not None}),
            failed_seeds=_list_seeds(jobs, JobState.FAILED),
            confounders=_find_confounders(baseline, jobs, subject.tuned)
            if (baseline := chosen[subject.get_baseline(name)]) and jobs
            else [],
        )
        for name, jobs in chosen.items()
    ]
    jobs = [job for group in chosen.values() for job in group]
    planned = max(subject.expected, len(jobs))
    headline = build_headline(
        contrasts,
        outlines,
        subject.plan,
        ended=planned - sum(not JobState(job.state).terminal for job in jobs),
        planned=planned,
        axes=subject.axes,
    )
    return headline, contrasts


def compare(
    subject: JobGroups, summaries: Summaries, onsets: Mapping[str, int], *, now: datetime, version: str
) -> Comparison:
    """The comparison of `subject`, with the epochs and onsets of overfitting of variants' finished jobs.

    Reads `test_correct` of every result and `diagnostics` of `find_diagnosed_results`; both must be loaded.
    """
    chosen = {name: select_one_per_run(jobs) for name, jobs in subject.variants.items()}
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
            tuned=subject.tuned,
            with_diagnostics=index < MAX_DIAGNOSED_VARIANTS,
        )
        for index, (name, jobs) in enumerate(chosen.items())
    ]
    headline, contrasts = build_subject_headline(subject)
    baseline = remove_point(subject.baseline, subject.points.get(subject.baseline))
    if subject.points:
        variants = [item.model_copy(update={"point": subject.points[item.name]}) for item in variants]
    components = build_variance_components(chosen, subject.points)
    seeds = sorted({job.seed for job in everything})
    planned = max(subject.expected, len(everything))
    settings = describe_settings([job.spec for job in everything])
    sources = describe_sources(
        [DatasetSpec.model_validate(job.spec["dataset"]) for job in everything],
        seeds=len({job.seed for job in done}),
        split_per_seed=subject.split_per_seed,
    )
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
        best=build_best(subject.choices.get("")),
        headline=headline,
        answers=build_answers(contrasts, subject.plan, axes=subject.axes, variants=len(variants)),
        next_step=find_next_step(contrasts, variants, subject.plan),
        methods=build_methods(
            contrasts,
            seeds,
            baseline,
            subject.plan,
            confirms=subject.confirms,
            conditions=" ".join(filter(None, [settings, sources])),
            version=version,
            in_parts=any(parse_part(get_run_id(job)[1]) is not None for job in everything),
        ),
        jobs=planned,
        finished=len(done),
        baseline=baseline,
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
                judged_models=subject.datasets[name].judged_models if name in subject.datasets else None,
                class_names=subject.datasets[name].class_names if name in subject.datasets else None,
            )
            for name, dataset in find_datasets(everything).items()
        ],
        engines=sorted({describe_engine(job.result) for job in done if job.result is not None}),
        robustness=build_robustness(chosen, {name: subject.get_baseline(name) for name in chosen}),
        variance_components=components,
        notes=[
            *build_notes(
                everything,
                subject.stopping_rule,
                deleted=subject.expected - len(everything),
                repeated=sum(len(jobs) for jobs in subject.variants.values()) - len(everything),
                follow_ups=subject.follow_ups,
                judged={name: use.judged_models for name, use in subject.datasets.items()},
            ),
            *describe_variance_components(components),
        ],
        repeat=subject.repeat,
        axes=list(subject.axes),
        points=build_points(subject.choices, variants, anytime=subject.plan.regime is not Regime.FIXED)
        if subject.axes
        else [],
    )
    along_axes = {"gains": build_gains(comparison), "error_curves": build_error_curves(comparison)}
    comparison = comparison.model_copy(update=along_axes)
    advise = advise_along_axes if subject.axes else recommend
    return comparison.model_copy(update={"recommendation": advise(comparison) if done else []})


def _describe_absence(job: Job) -> str:
    if job.state == JobState.FAILED:
        return job.error_message or ""
    if job.state == JobState.CANCELLED:
        return "cancelled"
    return f"{job.epochs_done} of {format_count(job.epochs, 'epoch')} done"


def select_one_per_run(jobs: Sequence[Job]) -> list[Job]:
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
    tuned: Collection[str],
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
                robust_accuracy=get_mean_accuracy(job),
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
        confounders=_find_confounders(baseline, jobs, tuned) if baseline and jobs else [],
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


def _find_confounders(
    baseline: Sequence[Job], jobs: Sequence[Job], tuned: Collection[str]
) -> list[Confounder]:
    partners = {get_run_id(job): job for job in baseline}
    pairs = [(partners[run], job) for job in jobs if (run := get_run_id(job)) in partners]
    reference, job = pairs[0] if pairs else (baseline[0], jobs[0])
    return [
        Confounder.model_validate(change)
        for change in find_confounders(reference.spec, job.spec)
        # It may follow the seed, so that it tells something at equal seeds only.
        if (pairs or change.field != "/dataset/split_seed") and change.field not in tuned
    ]
