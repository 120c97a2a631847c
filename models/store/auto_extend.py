"""Experiments that add runs by themselves: as their stopping rule asks, or what tuning has chosen."""

from collections.abc import Sequence
from itertools import count, islice
from typing import Any

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from models.errors import QuotaExceeded
from models.experiments import ExperimentSpec
from models.run_key import Purpose, RunKey
from models.spec import STORED
from models.states import UNFINISHED, JobState
from models.store.experiment_runs import ExperimentRun, get_runs
from models.store.experiments import extend_experiment
from models.store.tables import Experiment, Job, Run
from models.tuning import Trial, build_point


def auto_extend_experiments(session: Session) -> list[Job]:
    """Add seeds to each experiment whose stopping rule asks for them; return the new jobs.

    One whose owner has no quota left for them is left as it is, for a later attempt.
    """
    unfinished = (
        exists()
        .where(Run.experiment_id == Experiment.id, Run.job_id == Job.id, Job.state.in_(UNFINISHED))
        .correlate(Experiment)
    )
    # One that another worker is extending is skipped.
    ready = select(Experiment).where(Experiment.auto_extending, ~unfinished).with_for_update(skip_locked=True)
    jobs: list[Job] = []
    for experiment in session.scalars(ready).all():
        runs = get_runs(session, experiment.id)
        # Another worker may have extended it after this query had looked at its jobs, and before the lock.
        if not all(JobState(run.job.state).terminal for run in runs):
            continue
        jobs += _continue_experiment(session, experiment, runs)
    return jobs


def build_trials(spec: ExperimentSpec, runs: Sequence[ExperimentRun]) -> list[Trial]:
    """The trials of an experiment's tuning so far, with the validation losses of jobs that succeeded."""
    results = {
        run.key: run.job.result.validation_loss
        for run in runs
        if run.key.purpose == Purpose.TUNE and run.job.result is not None
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


def _continue_experiment(
    session: Session, experiment: Experiment, runs: Sequence[ExperimentRun]
) -> list[Job]:
    """Add the runs that a locked experiment's tuning or rule asks for, or note that it asks for none."""
    from models.sequential import plan_continuation  # noqa: PLC0415 (numpy and scipy, only where needed)
    from models.tuning_methods import continue_tuning  # noqa: PLC0415 (the same)

    document = before = experiment.document
    spec = ExperimentSpec.model_validate(document, context=STORED)
    if not spec.is_tuned:
        try:
            return extend_experiment(
                session, experiment, continue_tuning(spec, build_trials(spec, runs)), planned=True
            )
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
