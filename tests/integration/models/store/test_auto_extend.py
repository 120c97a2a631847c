"""Experiments that add seeds automatically, as many as needed within their budget."""

from typing import Any

import pytest

from models.experiments import ExperimentSpec
from models.store import jobs, queue
from models.store.auto_extend import auto_extend_experiments
from models.store.database import Database
from models.store.experiment_runs import get_runs
from models.store.experiments import create_experiment, get_experiment
from models.store.tables import Job
from tests.factories import finish_job, job_spec, result_record

ENOUGH = 6


def create(database: Database, *, replicates: int = ENOUGH, **rule: Any) -> str:
    """An experiment of two variants that targets an interval of 0.1 points, within 100 jobs."""
    spec = ExperimentSpec.model_validate(
        {
            "name": "until it is known",
            "base": job_spec().model_dump(mode="json"),
            "variants": [
                {"name": "none"},
                {"name": "dropout", "changes": {"regularization": {"dropout": {}}}},
            ],
            "replicates": replicates,
            "stopping_rule": {"variant": "dropout", "half_width": 0.1, "max_jobs": 100} | rule,
        }
    )
    with database.write() as session:
        return create_experiment(session, spec, preset=None)[0].id


def finish(database: Database, experiment_id: str, *, scatter: float) -> None:
    """Let every unfinished job succeed; the difference is 1 point, plus or minus `scatter`."""
    with database.read() as session:
        runs = get_runs(session, experiment_id)
    for run in runs:
        if run.job.result is None:
            gain = 0.01 + scatter / 100 * (-1) ** run.seed if run.variant == "dropout" else 0.0
            finish_job(database, run.job.id, result=result_record(test_accuracy=0.9 + gain), epochs=1)


def extend(database: Database) -> list[Job]:
    with database.write() as session:
        return auto_extend_experiments(session)


def seeds(database: Database, experiment_id: str) -> set[int]:
    with database.read() as session:
        return {run.seed for run in get_runs(session, experiment_id)}


def auto_extending(database: Database, experiment_id: str) -> bool:
    with database.read() as session:
        return get_experiment(session, experiment_id).auto_extending


def test_seeds_are_added_until_the_interval_is_narrow_enough(database: Database) -> None:
    experiment_id = create(database)
    # Half the interval's width is t(5) sd / sqrt(6) = 0.2 at first, twice the target.
    finish(database, experiment_id, scatter=0.2 / 1.15)
    new = extend(database)
    assert {job.experiment_id for job in new} == {experiment_id}
    assert len(new) == 2 * 10, "as many as one step may add, of both variants"
    assert seeds(database, experiment_id) == set(range(ENOUGH + 10))
    assert extend(database) == [], "not while jobs are under way"
    assert auto_extending(database, experiment_id)
    finish(database, experiment_id, scatter=0.2 / 1.15)
    assert extend(database) == []
    assert not auto_extending(database, experiment_id), "16 pairs are enough: 2.13 x 0.18 / 4 < 0.1"
    with database.read() as session:
        assert len(get_experiment(session, experiment_id).document["seeds"]) == ENOUGH + 10


def test_never_judged_by_fewer_than_six_pairs(database: Database) -> None:
    experiment_id = create(database, replicates=2)
    finish(database, experiment_id, scatter=0.0)
    assert len(extend(database)) == 2 * (ENOUGH - 2)


def test_the_job_budget_is_respected(database: Database) -> None:
    experiment_id = create(database, max_jobs=2 * ENOUGH + 3)
    finish(database, experiment_id, scatter=5.0)
    assert len(extend(database)) == 2, "a whole seed of both variants, and no job more"
    finish(database, experiment_id, scatter=5.0)
    assert extend(database) == []
    assert not auto_extending(database, experiment_id)


def test_failing_seeds_do_not_extend_an_experiment_forever(database: Database) -> None:
    experiment_id = create(database)
    with database.write() as session:
        for run in get_runs(session, experiment_id):
            queue.claim(session, run.job.id, owner="test", lease_seconds=30)
            queue.fail(session, run.job.id, 1, code="oops", message="Oops.", retryable=False)
    assert extend(database) == []
    assert not auto_extending(database, experiment_id)


@pytest.mark.parametrize("action", [jobs.pause_job, jobs.cancel_job])
def test_a_paused_or_cancelled_experiment_is_not_extended(database: Database, action: Any) -> None:
    experiment_id = create(database)
    with database.write() as session:
        for run in get_runs(session, experiment_id):
            action(session, run.job.id)
    assert extend(database) == []


def test_an_experiment_without_a_stopping_rule_is_not_extended(database: Database) -> None:
    with database.write() as session:
        spec = ExperimentSpec.model_validate(
            {"name": "two seeds", "variants": [{"name": "none"}], "replicates": 2}
        )
        experiment, _ = create_experiment(session, spec, preset=None)
    assert not auto_extending(database, experiment.id)
