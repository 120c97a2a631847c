"""Experiments that add runs by themselves: as their stopping rule asks, or what tuning has chosen."""

from collections.abc import Mapping, Sequence
from itertools import count, islice
from typing import Any

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from models.errors import QuotaExceeded
from models.experiments import ExperimentSpec
from models.run_key import Purpose, RunKey
from models.spec import STORED
from models.states import UNFINISHED, JobState
from models.store.experiment_runs import ExperimentRun, find_missing_runs, get_runs, get_validation_losses
from models.store.experiments import extend_experiment
from models.store.jobs import cancel_job, resume_job
from models.store.queue import is_at_rung
from models.store.tables import Experiment, Job, Run
from models.tuning import Trial, build_point, parse_trial


def auto_extend_experiments(session: Session) -> list[Job]:
    """Add seeds to each experiment whose stopping rule asks for them; return the new jobs.

    One whose owner has no quota left for them is left as it is, for a later attempt.
    """
    unfinished = (
        exists()
        .where(
            Run.experiment_id == Experiment.id,
            Run.job_id == Job.id,
            Job.state.in_(UNFINISHED),
            # Of successive halving: it waits for what is decided here, unless its owner has paused it, too.
            or_(Job.state != JobState.PAUSED, ~is_at_rung(), Job.requested_action.is_not(None)),
        )
        .correlate(Experiment)
    )
    # One that another worker is extending is skipped.
    ready = select(Experiment).where(Experiment.auto_extending, ~unfinished).with_for_update(skip_locked=True)
    jobs: list[Job] = []
    for experiment in session.scalars(ready).all():
        runs = get_runs(session, experiment.id)
        # Another worker may have extended it after this query had looked at its jobs, and before the lock.
        if not all(JobState(run.job.state).terminal or run.job.waits_for_others for run in runs):
            continue
        jobs += _continue_experiment(session, experiment, runs)
    return jobs


def build_trials(
    spec: ExperimentSpec, runs: Sequence[ExperimentRun], losses: Mapping[str, float | None]
) -> list[Trial]:
    """The trials of an experiment's tuning so far, with the validation losses of their jobs.

    `losses` are those of `get_validation_losses`; of jobs that were cancelled they do not count.
    """
    results = {
        run.key: losses.get(run.job.id)
        for run in runs
        if run.key.purpose == Purpose.TUNE and run.job.state in (JobState.SUCCEEDED, JobState.PAUSED)
    }
    tune = spec.tune
    return [
        Trial(
            variant,
            number,
            setting,
            tuple(
                results.get(RunKey(variant, seed, build_point(number, setting), purpose=Purpose.TUNE))
                for seed in tune.seeds
            ),
        )
        for variant, settings in (tune.settings if tune else {}).items()
        for number, setting in enumerate(settings)
        if tune
    ]


def _end_rung(session: Session, spec: ExperimentSpec, runs: Sequence[ExperimentRun]) -> None:
    """Let the jobs that wait for other trials go on to the next rung, or end where they were not promoted."""
    for run in runs:
        if spec.tune is None or not run.job.waits_for_others:
            continue
        if spec.tune.is_running(run.variant, parse_trial(run.key)[0]):
            run.job.pause_after = spec.find_pause(run.key, run.job.epochs)
            resume_job(session, run.job.id)
        else:
            cancel_job(session, run.job.id)


def _continue_experiment(
    session: Session, experiment: Experiment, runs: Sequence[ExperimentRun]
) -> list[Job]:
    """Add the runs that a locked experiment's tuning or rule asks for, or note that it asks for none."""
    from models.sequential import plan_continuation  # noqa: PLC0415 (numpy and scipy, only where needed)
    from models.tuning_methods import continue_tuning  # noqa: PLC0415 (the same)

    document = before = experiment.document
    spec = ExperimentSpec.model_validate(document, context=STORED)
    if not spec.is_tuned:
        after = continue_tuning(spec, build_trials(spec, runs, get_validation_losses(session, runs)))
        _end_rung(session, after, runs)
        if not find_missing_runs(session, experiment.id, after):
            experiment.document = after.model_dump(mode="json")
            return []
        try:
            return extend_experiment(session, experiment, after, planned=True)
        except QuotaExceeded:
            experiment.document, experiment.auto_extending = before, True
            return []
    # As in reports: of another dataset there is nothing to pair.
    datasets = {run.job.dataset for run in runs if run.variant == spec.baseline_name}
    results: dict[RunKey, Any] = {
        run.key: run.job.result
        for run in runs
        if run.key.purpose == Purpose.JUDGE and run.job.result is not None and run.job.dataset in datasets
    }
    step = plan_continuation(spec, results)
    if step.closed:
        document = document | {"stopping_rule": document["stopping_rule"] | {"closed": dict(step.closed)}}
    pilot = session.get(Experiment, experiment.confirms) if experiment.confirms else None
    used = {*spec.seeds, *(pilot.document["seeds"] if pilot else ())}
    # A quota may have room for one seed where it has none for several; the others follow at the next look.
    for seeds in sorted({step.seeds, min(step.seeds, 1)}, reverse=True):
        if not seeds:
            experiment.document, experiment.auto_extending = document, False
            continue
        unused = islice((seed for seed in count() if seed not in used), seeds)
        extended = document | {"seeds": [*spec.seeds, *unused]}
        try:
            return extend_experiment(
                session, experiment, ExperimentSpec.model_validate(extended, context=STORED), planned=True
            )
        except QuotaExceeded:
            experiment.document = before
    return []
