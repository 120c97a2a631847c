"""A report that was requested: read from the database, compared and rendered, each only where it must be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response
from sqlalchemy.orm import Session

from api import reports
from api.reports.bias_variance_schemas import BiasVarianceReport
from api.reports.cache import ReportCache, ReportSource, build_source
from api.reports.ensemble_schemas import EnsembleItem
from api.reports.memorization_schemas import MemorizationReport
from api.reports.mistake_schemas import MistakeReport
from api.reports.schemas import Comparison
from api.reports.target_schemas import TargetMetric, TargetReport
from api.reports.tuning_schemas import TuningReport
from models.artifacts import ArtifactStore
from models.dataset_spec import DatasetSpec
from models.errors import FieldError, InvalidSpec
from models.experiments import ExperimentSpec, find_datasets
from models.run_key import Purpose
from models.settings import Settings
from models.spec import STORED
from models.states import JobState
from models.store.auto_extend import build_trials
from models.store.database import Database
from models.store.experiment_runs import find_jobs_with_split_per_seed, get_runs, get_validation_losses
from models.store.experiments import find_follow_ups, find_tuned_experiment, get_experiment
from models.store.jobs import get_jobs
from models.store.report_data import (
    DatasetUse,
    get_run_versions,
    load_dataset_uses,
    load_deferred,
    load_exact_summaries,
    load_summaries,
)
from models.store.tables import Job

if TYPE_CHECKING:
    from api.reports.comparison import JobGroups, Summaries


_PORTABLE_URL = "$REGBENCH_URL"


@dataclass(frozen=True)
class RequestedReport:
    """A report, of which so far only the versions of its rows have been read."""

    database: Database
    request: Request
    source: ReportSource
    read_subject: "Callable[[Session], JobGroups]"
    datasets: Mapping[str, DatasetUse]

    def get_comparison(self) -> Comparison:
        """What all formats and charts are made from."""
        return self._cache.get_comparison(self.source, self._compare)

    def respond(
        self, name: str, build: Callable[[], bytes], *, media_type: str, headers: dict[str, str]
    ) -> Response:
        """The document `name` of it, made by `build` unless it is cached or the client has it."""
        return self._cache.respond(
            self.request, self.source, name, build, media_type=media_type, headers=headers
        )

    @property
    def _cache(self) -> ReportCache:
        cache: ReportCache = self.request.app.state.report_cache
        return cache

    def _compare(self) -> Comparison:
        # All that the comparison reads, so that it holds no connection while it computes.
        with self.database.read() as session:
            subject = replace(self.read_subject(session), datasets=self.datasets)
            compute = load_comparison(session, subject, load_summaries)
        comparison = compute(datetime.now(UTC))
        return self._add_details(comparison)

    def _add_details(self, comparison: Comparison) -> Comparison:
        return comparison

    def load_summaries(self) -> "Summaries":
        """The learning curves of each variant over its jobs."""
        with self.database.read() as session:
            return load_summaries(session, _parse_ids(self.read_subject(session).variants))


@dataclass(frozen=True)
class ExperimentReport(RequestedReport):
    """That of an experiment, with what is read of its runs' files and epochs only where it is asked for."""

    experiment_id: str
    baseline: str | None
    """Another one than planned."""

    def build_bias_variance(self) -> BiasVarianceReport:
        """The decompositions; without `parts` the reason why there are none."""
        with self.database.read() as session:
            document = get_experiment(session, self.experiment_id).document
            spec = ExperimentSpec.model_validate(document, context=STORED)
            runs = get_runs(session, self.experiment_id, Purpose.JUDGE) if spec.parts else []
        store = ArtifactStore(self.request.app.state.settings)
        return reports.bias_variance.build_report(spec, runs, store, self.baseline)

    def load_mistakes(self, limit: int) -> MistakeReport:
        """Up to so many images a variant; none with axes or parts."""
        with self.database.read() as session:
            subject = self.read_subject(session)
            done = self._select_models(session, subject)
            parts = get_experiment(session, self.experiment_id).document.get("parts")
        settings = self.request.app.state.settings
        baselines = {name: subject.get_baseline(name) for name in done}
        items = reports.mistakes.build_mistakes(
            done, baselines, ArtifactStore(settings), settings, limit=limit
        )
        reason = "No variant has stored test predictions of the same seeds and test images as its baseline."
        if subject.axes:
            reason = "Mistakes are not compared with axes, where each point has a baseline of its own."
        elif parts:
            reason = "Mistakes are not compared with parts, where each part has models of its own."
        return MistakeReport(items=items, reason=None if items else reason)

    def load_memorization(self, limit: int) -> MemorizationReport:
        """The maps of memorized training images, up to so many images of each."""
        with self.database.read() as session:
            document = get_experiment(session, self.experiment_id).document
            runs = get_runs(session, self.experiment_id, Purpose.JUDGE)
        settings = self.request.app.state.settings
        return reports.memorization.build_memorization(
            ExperimentSpec.model_validate(document, context=STORED),
            runs,
            ArtifactStore(settings),
            settings,
            baseline=self.baseline,
            limit=limit,
        )

    def load_ensembles(self) -> list[EnsembleItem]:
        """Those of each variant's seeds; none with axes or parts."""
        with self.database.read() as session:
            done = self._select_models(session, self.read_subject(session))
        return reports.ensembles.build_ensembles(done, ArtifactStore(self.request.app.state.settings))

    def load_targets(self, metric: TargetMetric, target: float | None) -> TargetReport | None:
        """What each variant takes to reach a target, or the default one; None with axes or parts."""
        with self.database.read() as session:
            subject = self.read_subject(session)
            if not self._select_models(session, subject):
                return None
            jobs = {name: reports.comparison.select_one_per_run(of) for name, of in subject.variants.items()}
            return reports.targets.build_targets(session, jobs, subject.baseline, metric, target)

    def load_tuning(self) -> TuningReport | None:
        """What tuning has tried and chosen; None without `tune`."""
        with self.database.read() as session:
            experiment = get_experiment(session, self.experiment_id)
            if not experiment.document.get("tune"):
                return None
            spec = ExperimentSpec.model_validate(experiment.document, context=STORED)
            tuned = find_tuned_experiment(session, experiment)
            runs = get_runs(session, tuned.id, Purpose.TUNE) if tuned else []
            trials = build_trials(spec, runs, get_validation_losses(session, runs))
        return reports.tuning.build_tuning(spec, trials, tuned.id if tuned else None)

    def _select_models(self, session: Session, subject: "JobGroups") -> dict[str, list[Job]]:
        """Of each variant the finished jobs, one a seed; nothing with axes or parts."""
        several = subject.axes or get_experiment(session, self.experiment_id).document.get("parts")
        return {} if several else reports.comparison.select_finished(subject)

    def _add_details(self, comparison: Comparison) -> Comparison:
        decomposed = self.build_bias_variance() if comparison.finished else None
        details: dict[str, Any] = {
            "bias_variance": decomposed if decomposed and decomposed.items else None,
            "tuning": self.load_tuning(),
        }
        if comparison.complete:
            details["mistakes"] = self.load_mistakes(reports.mistakes.IN_REPORT).items
            maps = self.load_memorization(reports.memorization.IN_REPORT).items
            details["memorization"] = [item for item in maps if item.mean][: reports.memorization.MAX_ITEMS]
            details["ensembles"] = self.load_ensembles()
            details["time_to_target"] = self.load_targets("validation_loss", None)
        return comparison.model_copy(update=details)


def load_comparison(
    session: Session, subject: "JobGroups", load: Callable[..., "Summaries"]
) -> Callable[[datetime], Comparison]:
    """Load what a comparison reads; returns the function that computes it, as of a moment."""
    done = reports.comparison.select_finished(subject)
    jobs = [job for group in done.values() for job in group]
    results = [job.result for job in jobs if job.result]
    load_deferred(session, results, "confusion")
    load_deferred(session, results, "test_correct")
    robust = [job.result for job in jobs if job.result and reports.robustness.asks_for_robustness(job)]
    load_deferred(session, robust, "robustness")
    load_deferred(session, reports.comparison.find_diagnosed_results(subject), "diagnostics")
    ids = _parse_ids(done)
    summaries = load(session, ids)
    onsets = reports.onsets.load_overfitting_onsets(session, ids, summaries)
    return lambda now: reports.comparison.compare(
        subject, summaries, onsets, now=now, version=version("regbench")
    )


def load_portable_comparison(session: Session, experiment_id: str, settings: Settings) -> Comparison:
    """An experiment's report as any installation with the same rows makes it.

    As of its last result, with `$REGBENCH_URL` for addresses, without bias and variance, which need files,
    and without what else was trained here.
    """
    runs = get_runs(session, experiment_id, Purpose.JUDGE)
    subject = reports.grouping.group_experiment(
        get_experiment(session, experiment_id),
        runs,
        settings=settings.model_copy(update={"api_keys_required": "true"}),
        base_url=_PORTABLE_URL,
    )
    # Between double quotes a shell puts the address in.
    path = f"{_PORTABLE_URL}/v1/experiments"
    subject = replace(subject, repeat=subject.repeat.replace(f"'{path}'", f'"{path}"', 1))
    ended = [run.job.finished_at for run in runs if run.job.result is not None and run.job.finished_at]
    moment = max(ended, default=datetime.fromtimestamp(0, UTC))
    return load_comparison(session, subject, load_exact_summaries)(moment)


def find_experiment_report(
    experiment_id: str, database: Database, request: Request, baseline: str | None = None
) -> ExperimentReport:
    """The report of an experiment, whose variants are compared with `baseline`; None: with the planned one.

    Raises:
        NotFound: there is none of that id.
        InvalidSpec: it has no such variant.
    """
    base_url = str(request.base_url)
    with database.read() as session:
        experiment = get_experiment(session, experiment_id)
        versions = get_run_versions(session, experiment_id)
        names = [variant["name"] for variant in experiment.document["variants"]]
        if baseline is not None and baseline not in names:
            raise InvalidSpec([FieldError("?baseline", f"no such variant; choose one of {', '.join(names)}")])
        follow_ups = find_follow_ups(session, [experiment_id])[experiment_id]
        datasets = load_dataset_uses(session, experiment.owner, find_datasets(experiment.document))
        source = build_source(
            *(experiment.id, experiment.name, experiment.document, experiment.extended, base_url),
            *(follow_ups, _list_uses(datasets), baseline),
            [version.row for version in versions],
            finished=not experiment.auto_extending and all(version.state.terminal for version in versions),
        )

    subject: JobGroups | None = None

    def read_subject(session: Session) -> "JobGroups":
        # Once, though comparison, mistakes, ensembles and targets need it.
        nonlocal subject
        subject = subject or reports.grouping.group_experiment(
            get_experiment(session, experiment_id),
            get_runs(session, experiment_id, Purpose.JUDGE),
            follow_ups,
            baseline=baseline,
            settings=request.app.state.settings,
            base_url=base_url,
        )
        return subject

    return ExperimentReport(database, request, source, read_subject, datasets, experiment_id, baseline)


def find_jobs_report(job_ids: Sequence[str], database: Database, request: Request) -> RequestedReport:
    """The report of any jobs.

    Raises:
        NotFound: one of them is not there.
        InvalidSpec: one of them is not measured on the test images.
    """
    base_url = str(request.base_url)

    def read_subject(session: Session) -> "JobGroups":
        return reports.grouping.group_jobs(
            get_jobs(session, job_ids),
            find_jobs_with_split_per_seed(session, job_ids),
            settings=request.app.state.settings,
            base_url=base_url,
        )

    with database.read() as session:
        jobs = get_jobs(session, job_ids)
        untested = [job.id for job in jobs if job.purpose == Purpose.TUNE]
        if untested:
            detail = f"{untested[0]} is not measured on the test images; a report compares what is"
            raise InvalidSpec([FieldError("?job", detail)])
        following = sorted(find_jobs_with_split_per_seed(session, job_ids))
        used = [DatasetSpec.model_validate(job.spec["dataset"]) for job in jobs]
        datasets = load_dataset_uses(session, jobs[0].owner, used)
        rows = [(job.id, job.version) for job in jobs]
        source = build_source(
            *(rows, following, base_url, _list_uses(datasets)),
            finished=all(JobState(job.state).terminal for job in jobs),
        )
    return RequestedReport(database, request, source, read_subject, datasets)


def _list_uses(datasets: Mapping[str, DatasetUse]) -> dict[str, Any]:
    return {name: asdict(use) for name, use in datasets.items()}


def _parse_ids(variants: Mapping[str, Sequence[Job]]) -> dict[str, list[str]]:
    return {name: [job.id for job in jobs] for name, jobs in variants.items()}
