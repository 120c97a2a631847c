"""Which job stands for each seed of each variant of an experiment; a job may serve several experiments."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from models.dataset_cards import DATASETS
from models.dataset_spec import DatasetSpec
from models.errors import Conflict
from models.experiments import ExperimentSpec
from models.run_key import NO_PART, Purpose, RunKey, name_variant, parse_point
from models.selection import compute_chance_loss
from models.spec import STORED, JobSpec
from models.states import JobState
from models.store.jobs import NewJob, create_jobs, retry_job
from models.store.tables import Epoch, Experiment, Job, Result, Run
from models.tuning import parse_trial

# What must be equal for equal specifications to give equal weights.
_ENGINE = (
    Result.dataset_sha256,
    Result.tensorflow,
    Result.keras,
    Result.device,
    Result.threads,
    Result.regbench,
)


@dataclass(frozen=True)
class ExperimentRun:
    """A job, and its place in an experiment."""

    key: RunKey
    reused: bool
    """Whether it had succeeded before the experiment asked for it."""
    job: Job

    @property
    def variant(self) -> str:
        """The plain name."""
        return self.key.variant

    @property
    def seed(self) -> int:
        """What pairs share."""
        return self.key.seed


@dataclass(frozen=True)
class RunSummary:
    """A job of an experiment as far as a table of all of them shows it."""

    variant: str
    seed: int
    reused: bool
    job_id: str
    state: JobState
    fraction: float
    epochs_done: int
    epochs: int
    error: str | None
    test_accuracy: float | None
    test_loss: float | None
    validation_loss: float | None
    point: str = ""
    part: int = NO_PART


def add_runs(
    session: Session, experiment: Experiment, requested: Sequence[tuple[RunKey, JobSpec]], *, reuse: bool
) -> list[Job]:
    """Give each (key, specification) its job: if `reuse`, one that has succeeded before.

    Only jobs of the experiment's owner are reused.

    Returns the jobs that are new.
    """
    # Trials of successive halving are compared after as many epochs, which an ended one has behind it.
    halving = (experiment.document.get("tune") or {}).get("method") == "halving"
    specs = [spec for key, spec in requested if not (halving and key.purpose == Purpose.TUNE)]
    reusable = find_reusable_jobs(session, specs, owner=experiment.owner) if reuse else {}
    new = [(key, spec) for key, spec in requested if spec.spec_hash not in reusable]
    jobs = create_jobs(
        session,
        [NewJob(spec, owner=experiment.owner, experiment_id=experiment.id, key=key) for key, spec in new],
    )
    created = {key: job.id for (key, _), job in zip(new, jobs, strict=True)}
    session.add_all(
        Run(
            experiment_id=experiment.id,
            **asdict(key),
            job_id=created.get(key) or reusable[spec.spec_hash],
            reused=key not in created,
        )
        for key, spec in requested
    )
    if jobs:
        experiment.announced = False
    session.flush()
    return jobs


def find_reusable_jobs(session: Session, specs: Collection[JobSpec], *, owner: str) -> dict[str, str]:
    """By hash, `owner`'s newest succeeded job of each specification that would come out the same today.

    That is: with the dataset and the engine of the newest result on that dataset, as the workers are now.
    """
    same_today: list[ColumnElement[bool]] = []
    datasets = {spec.dataset.content.digest if spec.dataset.content else spec.dataset.name for spec in specs}
    for dataset in sorted(datasets):
        # An uploaded dataset is known by its digest: its name may have stood for other images.
        is_named = dataset in DATASETS
        of_dataset = Job.dataset == dataset if is_named else Result.dataset_sha256 == dataset
        newest = session.execute(
            select(*_ENGINE)
            .join(Job, Job.id == Result.job_id)
            .where(of_dataset)
            .order_by(Job.finished_at.desc(), Job.id.desc())
            .limit(1)
        ).one_or_none()
        if newest is not None:
            same = [column == value for column, value in zip(_ENGINE, newest, strict=True)]
            same_today.append(and_(of_dataset, *same))
    if not same_today:
        return {}
    query = (
        select(Job.spec_hash, Job.id)
        .join(Result, Result.job_id == Job.id)
        .where(
            Job.owner == owner,
            Job.state == JobState.SUCCEEDED,
            # How far it came depends on how busy the machine was.
            Result.__table__.c.stop_reason != "max_seconds",
            Job.spec_hash.in_({spec.spec_hash for spec in specs}),
            or_(*same_today),
        )
        .order_by(Job.finished_at, Job.id)
        # Locked until the commit, so that no job is deleted before its run is stored.
        .with_for_update(read=True, key_share=True, of=Job)
    )
    # The newest comes last, and stays.
    return {row.spec_hash: row.id for row in session.execute(query)}


@dataclass(frozen=True)
class Variance:
    """A pooled variance, and from how many independent deviations it comes."""

    value: float
    degrees_of_freedom: int


def get_variance_over_seeds(
    session: Session, dataset: DatasetSpec, *, epochs: int, parameters: Collection[int]
) -> Variance | None:
    """How much test accuracy (a fraction) varies from seed to seed within a variant.

    Pooled over the variants of all experiments on this dataset with networks of so many `parameters` and
    epochs of which two seeds have finished; None if there is none. Models at chance level are left out: they
    vary in another way.
    """
    metrics = Result.__table__.c
    accuracy: ColumnElement[float] = metrics.test_accuracy
    query = (
        select(func.count(), func.sum(accuracy), func.sum(accuracy * accuracy))
        .select_from(Run)
        .join(Result, Result.job_id == Run.job_id)
        .join(Job, Job.id == Run.job_id)
        .where(
            Job.dataset == dataset.name,
            *([Result.dataset_sha256 == dataset.content.digest] if dataset.content else []),
            Job.epochs == epochs,
            metrics.parameters.in_(parameters),
            metrics.test_loss < compute_chance_loss(dataset.classes),
        )
        .group_by(Run.experiment_id, Run.variant, Run.point, Run.part)
        .having(func.count() > 1)
    )
    groups = session.execute(query).all()
    if not groups:
        return None
    # Rounding may leave a group of equal values a hair below zero.
    squares = sum(max(0.0, total_squares - total**2 / count) for count, total, total_squares in groups)
    degrees_of_freedom = sum(count - 1 for count, _, _ in groups)
    return Variance(squares / degrees_of_freedom, degrees_of_freedom)


def get_runs(session: Session, experiment_id: str, *purposes: Purpose) -> list[ExperimentRun]:
    """An experiment's jobs with their results, in one query, in the order of their creation.

    Those of these purposes; by default all. One that was retried is left out: its retry stands in its place.
    """
    query = (
        select(Run, Job)
        .join(Job, Job.id == Run.job_id)
        .where(Run.experiment_id == experiment_id, Run.purpose.in_(purposes or [*Purpose]))
        .order_by(Job.created_at, Job.id, Run.variant, Run.point)
    )
    return [ExperimentRun(RunKey.from_row(run), run.reused, job) for run, job in session.execute(query)]


def get_validation_losses(session: Session, runs: Sequence[ExperimentRun]) -> dict[str, float | None]:
    """By job the validation loss of its result, or of the epoch after which it paused by itself."""
    jobs = [run.job for run in runs]
    query = (
        select(Epoch.job_id, Epoch.validation_loss)
        .join(Job, Job.id == Epoch.job_id)
        .where(
            Job.id.in_([job.id for job in jobs if job.pause_after]),
            Epoch.epoch == Job.epochs_done,
            Epoch.epoch == Job.pause_after,
        )
    )
    return dict(session.execute(query).all()) | {
        job.id: job.result.validation_loss for job in jobs if job.result is not None
    }


def group_parts(runs: Sequence[ExperimentRun], variant: str) -> dict[tuple[str, int], list[ExperimentRun]]:
    """A variant's runs by (point, seed), each group in the order of its parts, or of one run."""
    groups: dict[tuple[str, int], list[ExperimentRun]] = {}
    for run in sorted(runs, key=lambda run: run.key.part):
        if run.variant == variant:
            groups.setdefault((run.key.point, run.seed), []).append(run)
    return groups


def has_results(session: Session, experiment_id: str) -> bool:
    """Whether a job of the experiment whose test metrics are compared has a result."""
    query = (
        select(Run.job_id)
        .join(Result, Result.job_id == Run.job_id)
        .where(Run.experiment_id == experiment_id, Run.purpose == Purpose.JUDGE)
    )
    return session.scalar(query.limit(1)) is not None


def find_variants(session: Session, job_id: str) -> list[tuple[Experiment, str]]:
    """Which variants a job stands for, with their point in words, of which experiments, the oldest first."""
    query = (
        select(Experiment, Run.variant, Run.point)
        .join(Run, Run.experiment_id == Experiment.id)
        .where(Run.job_id == job_id)
        .order_by(Experiment.created_at, Experiment.id, Run.variant)
    )
    return [
        (experiment, name_variant(variant, parse_point(point)))
        for experiment, variant, point in session.execute(query)
    ]


def find_jobs_with_split_per_seed(session: Session, job_ids: Collection[str]) -> set[str]:
    """Those jobs that stand for a seed of an experiment whose split follows the seed."""
    query = (
        select(Run.job_id)
        .join(Experiment, Experiment.id == Run.experiment_id)
        .where(Run.job_id.in_(job_ids), Experiment.document["split_per_seed"].as_boolean().is_(True))
    )
    return set(session.scalars(query))


def get_run_summaries(session: Session, experiment_id: str) -> list[RunSummary]:
    """The jobs that are compared, without their specifications and most of their results."""
    query = (
        select(
            Run.variant,
            Run.seed,
            Run.reused,
            Job.id,
            Job.state,
            Job.fraction,
            Job.epochs_done,
            Job.epochs,
            Job.error_message,
            Result.__table__.c.test_accuracy,
            Result.__table__.c.test_loss,
            Result.__table__.c.validation_loss,
            Run.point,
            Run.part,
        )
        .join(Job, Job.id == Run.job_id)
        .outerjoin(Result, Result.job_id == Job.id)
        .where(Run.experiment_id == experiment_id, Run.purpose == Purpose.JUDGE)
    )
    return [
        RunSummary(variant, seed, reused, job_id, JobState(state), *rest)
        for variant, seed, reused, job_id, state, *rest in session.execute(query)
    ]


def apply_to_unfinished(
    session: Session, experiment_id: str, action: Callable[[Session, str], Job]
) -> list[Job]:
    """Apply `action` to every job of an experiment that has not ended; returns the jobs as they are then.

    Jobs that the experiment reuses have ended, so that it does not reach them.

    Raises:
        Conflict: every job has ended.
    """
    unfinished = [run.job for run in get_runs(session, experiment_id) if not JobState(run.job.state).terminal]
    if not unfinished:
        raise Conflict(f"Every job of experiment {experiment_id} has ended; there is nothing left to change.")
    changed = []
    for job in unfinished:
        # One that has ended since it was read, or is being cancelled, must not stop the loop.
        with suppress(Conflict):
            changed.append(action(session, job.id))
    return changed


def find_missing_runs(
    session: Session, experiment_id: str, spec: ExperimentSpec
) -> list[tuple[RunKey, JobSpec]]:
    """The runs of `spec` that have no job in the experiment."""
    runs = session.scalars(select(Run).where(Run.experiment_id == experiment_id))
    return spec.build_runs({RunKey.from_row(run) for run in runs})


def retry_failed(session: Session, experiment: Experiment) -> list[Job]:
    """Another job for each failed, cancelled or deleted one of a locked experiment; returns the new jobs.

    Raises:
        Conflict: no job has failed, was cancelled or was deleted.
    """
    spec = ExperimentSpec.model_validate(experiment.document, context=STORED)
    is_tuned = spec.is_tuned
    ended = [
        run.job.id
        for run in get_runs(session, experiment.id)
        if run.job.state in (JobState.FAILED, JobState.CANCELLED)
        # A trial that can no longer be chosen would change nothing.
        and (
            run.key.purpose == Purpose.JUDGE
            or (spec.tune and spec.tune.is_running(run.variant, parse_trial(run.key)[0]))
        )
    ]
    # Of an experiment that was cancelled before its settings were chosen.
    experiment.auto_extending = experiment.auto_extending or not is_tuned
    deleted = find_missing_runs(session, experiment.id, spec)
    if not (ended or deleted):
        raise Conflict(f"No job of experiment {experiment.id} has failed, was cancelled or was deleted.")
    # The retry takes the run's place, so that of two requests at once the second finds the first one's retry.
    retries = [retry_job(session, job_id) for job_id in ended]
    new = [job for job, is_new in retries if is_new]
    return new + add_runs(session, experiment, deleted, reuse=spec.reuse)
