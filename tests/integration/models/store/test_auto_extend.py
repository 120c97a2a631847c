"""Experiments that add seeds automatically, as many as needed within their budget."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from models.errors import Conflict
from models.experiments import ExperimentSpec
from models.extensions import Extension
from models.run_key import count_runs as count_document_runs
from models.stopping_rules import get_common_seeds
from models.store import jobs, queue
from models.store.auto_extend import auto_extend_experiments
from models.store.database import Database
from models.store.experiment_runs import get_runs, retry_failed
from models.store.experiments import (
    create_experiment,
    extend_experiment,
    get_experiment,
    lock_experiment,
)
from models.store.quotas import Quotas
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


def test_twelve_seeds_are_added_after_the_interval_is_narrow_enough(database: Database) -> None:
    experiment_id = create(database)
    scatter = 0.2 / 1.15
    # Ten at least. Half the width is then t(9) sd / sqrt(10) = 0.131, which takes 17 pairs to be 0.1; with 15
    # it is 2.14 x 0.18 / 3.87 for the first time, so that 27 are enough.
    for total in (10, 17, 27):
        finish(database, experiment_id, scatter=scatter)
        new = extend(database)
        assert {job.experiment_id for job in new} == {experiment_id}
        assert seeds(database, experiment_id) == set(range(total))
        assert len(get_document(database, experiment_id)["seeds"]) == total
        assert extend(database) == [], "not while jobs are under way"
        assert auto_extending(database, experiment_id)
    finish(database, experiment_id, scatter=scatter)
    assert extend(database) == []
    assert not auto_extending(database, experiment_id)


def test_a_width_is_never_judged_by_fewer_than_ten_pairs(database: Database) -> None:
    experiment_id = create(database, replicates=2)
    finish(database, experiment_id, scatter=0.0)
    assert len(extend(database)) == 2 * (10 - 2)


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


DECIDED, OPEN, FAILING = "decided", "open", "failing"
HALF = "decided at the first of two points"


def create_deciding(database: Database, *variants: str, max_jobs: int = 1_000, **fields: Any) -> str:
    """An experiment with six seeds that ends when every variant is decided."""
    names = ["none", *variants]
    document = {
        "name": "until all are decided",
        "base": job_spec().model_dump(mode="json"),
        "variants": [
            {"name": name, "changes": {"regularization": {"dropout": {"rate": 0.1 * index}}}}
            for index, name in enumerate(names)
        ],
        "replicates": ENOUGH,
        "stopping_rule": {"kind": "decide", "max_jobs": max_jobs},
        "reuse": False,
    }
    spec = ExperimentSpec.model_validate(document | fields)
    with database.write() as session:
        return create_experiment(session, spec, preset=None)[0].id


def finish_deciding(database: Database, experiment_id: str) -> None:
    """Let every unfinished job succeed: `decided` gains much and surely, `open` nothing with much scatter."""
    with database.read() as session:
        runs = get_runs(session, experiment_id)
    for run in runs:
        if run.job.result is not None or run.job.state == "failed":
            continue
        if run.variant == FAILING:
            with database.write() as session:
                queue.claim(session, run.job.id, owner="test", lease_seconds=30)
                queue.fail(session, run.job.id, 1, code="oops", message="Oops.", retryable=False)
            continue
        sign = (-1) ** run.seed
        variant = run.variant
        if variant == HALF:
            variant = DECIDED if '": 16' in run.key.point else OPEN
        gain = {DECIDED: 0.05 + 0.0001 * sign, OPEN: 0.01 * sign}.get(variant, 0.0)
        result = result_record(test_accuracy=0.9 + gain, test_loss=0.5 - gain)
        finish_job(database, run.job.id, result=result, epochs=1)


def count_runs(database: Database, experiment_id: str) -> dict[str, int]:
    with database.read() as session:
        return dict(Counter(run.variant for run in get_runs(session, experiment_id)))


def get_document(database: Database, experiment_id: str) -> dict[str, Any]:
    with database.read() as session:
        return get_experiment(session, experiment_id).document


def test_a_decided_variant_gets_no_more_seeds(database: Database) -> None:
    experiment_id = create_deciding(database, DECIDED, OPEN, max_jobs=3 * ENOUGH + 9)
    finish_deciding(database, experiment_id)
    for seed in (6, 7, 8, 9):
        new = extend(database)
        assert sorted((job.variant, job.seed) for job in new) == [("none", seed), (OPEN, seed)]
        assert extend(database) == [], "not while jobs are under way"
        finish_deciding(database, experiment_id)
    assert extend(database) == [], "one more job is within the budget, and a seed takes two"
    assert not auto_extending(database, experiment_id)
    assert count_runs(database, experiment_id) == {"none": 10, OPEN: 10, DECIDED: ENOUGH}
    document = get_document(database, experiment_id)
    assert document["stopping_rule"]["closed"] == {DECIDED: ENOUGH}
    assert count_document_runs(document) == 26
    assert get_common_seeds(document) == list(range(ENOUGH))
    with database.write() as session, pytest.raises(Conflict):
        retry_failed(session, lock_experiment(session, experiment_id))


def test_with_axes_and_parts_a_variant_goes_on_until_it_is_decided_at_every_point(database: Database) -> None:
    axes, seeds = [{"field": "/training/batch_size", "values": [16, 32]}], 10
    experiment_id = create_deciding(
        database, DECIDED, HALF, axes=axes, parts=2, replicates=seeds, max_jobs=4 * 3 * seeds + 15
    )
    finish_deciding(database, experiment_id)
    new = extend(database)
    assert {(job.variant, job.seed) for job in new} == {("none", seeds), (HALF, seeds)}
    assert len(new) == 2 * 2 * 2
    finish_deciding(database, experiment_id)
    assert extend(database) == [], "seven jobs are within the budget, and a seed takes eight"
    assert get_document(database, experiment_id)["stopping_rule"]["closed"] == {DECIDED: seeds}


def test_an_experiment_ends_when_all_variants_are_decided(database: Database) -> None:
    experiment_id = create_deciding(database, DECIDED)
    finish_deciding(database, experiment_id)
    assert extend(database) == []
    assert not auto_extending(database, experiment_id)
    assert get_document(database, experiment_id)["stopping_rule"]["closed"] == {DECIDED: ENOUGH}


def test_a_margin_decides_too(database: Database) -> None:
    experiment_id = create_deciding(database, OPEN, margin_points=90.0, margin_loss=90.0)
    finish_deciding(database, experiment_id)
    assert extend(database) == []
    # Only what is tested must be decided, and a loss without margin only by excluding 0.
    experiment_id = create_deciding(database, OPEN, margin_points=90.0, primary=["test_accuracy"])
    finish_deciding(database, experiment_id)
    assert extend(database) == []
    experiment_id = create_deciding(database, OPEN, margin_points=90.0)
    finish_deciding(database, experiment_id)
    assert len(extend(database)) == 2


def test_fewer_than_six_seeds_are_filled_up_and_later_a_tenth_is_added(database: Database) -> None:
    few = create_deciding(database, OPEN, replicates=2)
    finish_deciding(database, few)
    assert len(extend(database)) == 2 * (ENOUGH - 2)
    many = create_deciding(database, OPEN, replicates=30)
    finish_deciding(database, many)
    assert len(extend(database)) == 2 * 3


def test_a_variant_without_any_pair_gets_no_more_seeds(database: Database) -> None:
    experiment_id = create_deciding(database, OPEN, FAILING)
    finish_deciding(database, experiment_id)
    assert {job.variant for job in extend(database)} == {"none", OPEN}


def test_seeds_added_by_hand_are_for_every_variant(database: Database) -> None:
    experiment_id = create_deciding(database, DECIDED, OPEN, max_jobs=3 * ENOUGH + 2)
    finish_deciding(database, experiment_id)
    extend(database)
    with database.write() as session:
        experiment = lock_experiment(session, experiment_id)
        after = Extension(seeds=(20,)).apply_to(experiment.document)
        new = extend_experiment(session, experiment, ExperimentSpec.model_validate(after))
    assert sorted((job.variant, job.seed) for job in new) == [
        (DECIDED, 6),
        (DECIDED, 20),
        ("none", 20),
        (OPEN, 20),
    ]


def test_seeds_wait_for_their_owners_quota(database: Database) -> None:
    experiment_id = create_deciding(database, OPEN, replicates=30)
    finish_deciding(database, experiment_id)

    def extend_within(queued_jobs: int) -> list[Job]:
        with database.write() as session:
            session.info["quotas"] = Quotas(queued_jobs, 0)
            return auto_extend_experiments(session)

    assert extend_within(1) == []
    assert auto_extending(database, experiment_id)
    assert len(get_document(database, experiment_id)["seeds"]) == 30
    assert len(extend_within(5)) == 2, "one seed, where there is no room for the three that it asks for"


def test_several_workers_extend_an_experiment_once(database: Database) -> None:
    experiment_id = create_deciding(database, OPEN)
    finish_deciding(database, experiment_id)
    with ThreadPoolExecutor(4) as threads:
        added = list(threads.map(lambda _: len(extend(database)), range(8)))
    assert sorted(added) == [0] * 7 + [2]
    assert count_runs(database, experiment_id) == {"none": 7, OPEN: 7}
