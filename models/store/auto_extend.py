"""Experiments that add seeds by themselves, as their stopping rule asks."""

from collections.abc import Sequence
from itertools import count, islice
from typing import Any

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from models.errors import QuotaExceeded
from models.experiments import ExperimentSpec
from models.run_key import RunKey
from models.spec import STORED
from models.states import UNFINISHED, JobState
from models.store.experiment_runs import ExperimentRun, get_runs
from models.store.experiments import extend_experiment
from models.store.tables import Experiment, Job, Run


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


def _continue_experiment(
    session: Session, experiment: Experiment, runs: Sequence[ExperimentRun]
) -> list[Job]:
    """Add the seeds that the rule of a locked experiment asks for, or note that it asks for none."""
    from models.sequential import plan_continuation  # noqa: PLC0415 (numpy and scipy, only where needed)

    document = before = experiment.document
    spec = ExperimentSpec.model_validate(document, context=STORED)
    # As in reports: of another dataset there is nothing to pair.
    datasets = {run.job.dataset for run in runs if run.variant == spec.baseline_name}
    results: dict[RunKey, Any] = {
        run.key: run.job.result for run in runs if run.job.result is not None and run.job.dataset in datasets
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
