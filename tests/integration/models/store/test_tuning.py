"""Experiments that choose each variant's settings first, by validation, and then judge the chosen ones."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from models.errors import Conflict
from models.experiments import ExperimentSpec
from models.extensions import Extension
from models.records import CheckpointRecord
from models.run_key import Purpose, RunKey, count_runs
from models.spec import STORED
from models.states import JobState
from models.store import queue
from models.store.auto_extend import auto_extend_experiments
from models.store.database import Database
from models.store.experiment_runs import ExperimentRun, get_runs, retry_failed
from models.store.experiments import (
    create_experiment,
    extend_experiment,
    get_experiment,
    get_progress,
    lock_experiment,
)
from models.store.jobs import cancel_job, pause_job, resume_job
from models.tuning import parse_trial
from tests.factories import epoch_record, finish_job, job_spec, result_record

RATE = "/training/optimizer/learning_rate"
LOGARITHMIC = {"low": 1e-4, "high": 1e-2, "scale": "log"}
TRIALS, SEEDS_PER_TRIAL = 4, 2


def build_spec(**changes: Any) -> ExperimentSpec:
    """Two variants, of which one tunes its strength, too; three seeds judge."""
    document = {
        "name": "tuned",
        "base": job_spec().model_dump(mode="json"),
        "variants": [
            {"name": "none"},
            {
                "name": "L2",
                "changes": {"regularization": {"l2": {"factor": 0.001}}},
                "tune": {"parameters": {"/regularization/l2/factor": LOGARITHMIC}},
            },
        ],
        "seeds": [0, 1, 2],
        "tune": {
            "parameters": {RATE: LOGARITHMIC},
            "trials": TRIALS,
            "seeds_per_trial": SEEDS_PER_TRIAL,
        },
    }
    return ExperimentSpec.model_validate(document | changes)


def create(database: Database) -> str:
    with database.write() as session:
        return create_experiment(session, build_spec(), preset=None)[0].id


def get_all(database: Database, experiment_id: str, *purposes: Purpose) -> list[ExperimentRun]:
    with database.read() as session:
        return get_runs(session, experiment_id, *purposes)


def extend(database: Database) -> int:
    with database.write() as session:
        return len(auto_extend_experiments(session))


def finish_tuning(database: Database, experiment_id: str, *, best: int = 2) -> None:
    """Every unfinished tuning job succeeds; of each variant the trial `best` has the lowest loss."""
    untested = dict.fromkeys(
        (
            "test_accuracy",
            "test_loss",
            "test_brier",
            "test_ece",
            "test_ece_debiased",
            "generalization_gap_accuracy",
            "generalization_gap_loss",
            "confusion",
            "test_correct",
            "predictions_path",
            "predictions_sha256",
        )
    )
    for run in get_all(database, experiment_id, Purpose.TUNE):
        if not JobState(run.job.state).terminal:
            number, _ = parse_trial(run.key)
            record = result_record(validation_loss=0.3 + abs(number - best) / 10, **untested)
            finish_job(database, run.job.id, result=record, epochs=1)


def train(database: Database, experiment_id: str, *, best: int, epochs: int = 9) -> int:
    """Train every queued tuning job to its end or its pause, as a worker does; returns the epochs trained."""
    trained = 0
    for run in get_all(database, experiment_id, Purpose.TUNE):
        if run.job.state != JobState.QUEUED:
            continue
        loss = 0.3 + abs(parse_trial(run.key)[0] - best) / 10
        end = run.job.pause_after or epochs
        trained += end - run.job.epochs_done
        with database.write() as session:
            job = queue.claim(session, run.job.id, owner="test", lease_seconds=30)
            assert job is not None
            for epoch in range(job.epochs_done + 1, end + 1):
                queue.record_epoch(
                    session, job.id, job.attempt, replace(epoch_record(epoch), validation_loss=loss)
                )
            if run.job.pause_after is None:
                record = result_record(validation_loss=loss, epochs_run=epochs)
                queue.succeed(session, job.id, job.attempt, record)
            else:
                queue.record_checkpoint(session, job.id, job.attempt, CheckpointRecord(end, "path", "0" * 64))
                queue.stop(session, job.id, job.attempt)
    return trained


def test_halving_spends_the_epochs_that_were_stated_and_lets_the_best_go_on(database: Database) -> None:
    base = job_spec(training={"epochs": 9}).model_dump(mode="json")
    tune = {"parameters": {RATE: LOGARITHMIC}, "trials": 9, "seeds_per_trial": 2, "method": "halving"}
    spec = build_spec(base=base, tune=tune)
    with database.write() as session:
        experiment_id = create_experiment(session, spec, preset=None)[0].id
    assert spec.tune is not None
    assert spec.tune.list_rungs(9) == [1, 3, 9]
    rungs, spent = [], 0
    while trained := train(database, experiment_id, best=2):
        spent += trained
        if not rungs:
            # A pause of its owner outlasts the end of the rung.
            (first, *_) = get_all(database, experiment_id)
            with database.write() as session:
                pause_job(session, first.job.id)
            extend(database)
            assert not train(database, experiment_id, best=2)
            with database.write() as session:
                resume_job(session, first.job.id)
        extend(database)
        with database.read() as session:
            rungs.append(get_experiment(session, experiment_id).document["tune"]["promoted"].get("L2"))
    assert rungs == [[[2, 1, 3]], [[2, 1, 3], [2]], [[2, 1, 3], [2]]]
    assert spent == 2 * spec.tune.count_epochs(9) == 2 * 2 * (9 * 1 + 3 * 2 + 1 * 6)
    states = Counter(run.job.state for run in get_all(database, experiment_id, Purpose.TUNE))
    assert states == {JobState.SUCCEEDED: 4, JobState.CANCELLED: 32}
    with database.read() as session:
        assert get_experiment(session, experiment_id).document["tune"]["chosen"] == {"none": 2, "L2": 2}
    assert len(get_all(database, experiment_id, Purpose.JUDGE)) == 6
    with database.write() as session, pytest.raises(Conflict):
        retry_failed(session, lock_experiment(session, experiment_id))  # what was not promoted has not failed


def test_rounds_of_tpe_follow_from_the_trials_alone(database: Database) -> None:
    tune = {"parameters": {RATE: LOGARITHMIC}, "trials": 10, "seeds_per_trial": 1, "method": "tpe"}
    settings = []
    for _ in range(2):
        with database.write() as session:
            experiment_id = create_experiment(session, build_spec(tune=tune, reuse=False), preset=None)[0].id
        jobs = []
        while train(database, experiment_id, best=2):
            with database.read() as session:
                progress = get_progress(session, [experiment_id])[experiment_id]
            assert progress.fraction == pytest.approx(progress.total / 26)
            jobs.append(extend(database))
        assert jobs == [8, 4, 6]
        with database.read() as session:
            settings.append(get_experiment(session, experiment_id).document["tune"]["settings"])
    assert settings[0] == settings[1]
    assert len({trial[RATE] for trial in settings[0]["none"]}) == 10
    assert all(1e-4 <= trial[RATE] <= 1e-2 for trial in settings[0]["L2"])


def test_each_variant_is_judged_with_the_setting_that_validation_chooses(database: Database) -> None:
    experiment_id = create(database)
    runs = get_all(database, experiment_id)
    assert {run.key.purpose for run in runs} == {Purpose.TUNE}
    spent = {name: [run for run in runs if run.variant == name] for name in ("none", "L2")}
    assert {name: len(jobs) for name, jobs in spent.items()} == dict.fromkeys(spent, TRIALS * SEEDS_PER_TRIAL)
    assert len({run.seed for run in runs}) == SEEDS_PER_TRIAL, "the same seeds for all trials and variants"
    assert {run.job.spec["evaluation"]["test"] for run in runs} == {False}
    rates = [
        [run.job.spec["training"]["optimizer"]["learning_rate"] for run in jobs] for jobs in spent.values()
    ]
    assert rates[0] == rates[1], "a field that all tune takes the same values"
    finish_tuning(database, experiment_id)
    assert extend(database) == 6
    judged = get_all(database, experiment_id, Purpose.JUDGE)
    assert [(run.variant, run.seed) for run in judged] == [
        (name, seed) for seed in range(3) for name in ("none", "L2")
    ]
    chosen = {name: jobs[2 * SEEDS_PER_TRIAL].job.spec for name, jobs in spent.items()}
    for run in judged:
        assert run.job.spec["training"] == chosen[run.variant]["training"]
        assert run.job.spec["regularization"] == chosen[run.variant]["regularization"]
        assert "evaluation" not in run.job.spec
        finish_job(database, run.job.id, epochs=1)
    assert extend(database) == 0
    with database.read() as session:
        experiment = get_experiment(session, experiment_id)
        assert (experiment.auto_extending, experiment.extended) == (False, False)
        progress = get_progress(session, [experiment_id])[experiment_id]
        assert (progress.fraction, progress.total) == (1.0, 2 * TRIALS * SEEDS_PER_TRIAL + 6)
        assert count_runs(experiment.document) == progress.total
        assert [means.seeds for means in progress.means] == [3, 3], "of what is judged only"


def test_progress_allows_for_what_will_be_judged(database: Database) -> None:
    experiment_id = create(database)
    finish_tuning(database, experiment_id)
    with database.read() as session:
        progress = get_progress(session, [experiment_id])[experiment_id]
        assert progress.fraction == pytest.approx(16 / 22)
        assert not progress.means
        assert get_experiment(session, experiment_id).auto_extending, "it has not finished"


def test_a_trial_that_failed_is_the_worst(database: Database) -> None:
    experiment_id = create(database)
    for run in get_all(database, experiment_id):
        if parse_trial(run.key)[0] == 2 and run.variant == "L2":
            with database.write() as session:
                claimed = queue.claim(session, run.job.id, owner="test", lease_seconds=30)
                assert claimed is not None
                queue.fail(
                    session, run.job.id, claimed.attempt, code="diverged", message="NaN", retryable=False
                )
            break
    finish_tuning(database, experiment_id)
    extend(database)
    with database.read() as session:
        tune = get_experiment(session, experiment_id).document["tune"]
    assert tune["chosen"] == {"none": 2, "L2": 1}


def test_an_added_variant_is_tuned_before_it_is_judged(database: Database) -> None:
    experiment_id = create(database)
    finish_tuning(database, experiment_id)
    extend(database)
    for run in get_all(database, experiment_id, Purpose.JUDGE):
        finish_job(database, run.job.id, epochs=1)
    extend(database)
    addition = Extension.model_validate(
        {"variants": [{"name": "dropout", "changes": {"regularization": {"dropout": {}}}}]}
    )
    with database.write() as session:
        experiment = lock_experiment(session, experiment_id)
        after = ExperimentSpec.model_validate(addition.apply_to(experiment.document), context=STORED)
        jobs = extend_experiment(session, experiment, after)
        assert [job.purpose for job in jobs] == [Purpose.TUNE] * TRIALS * SEEDS_PER_TRIAL
    finish_tuning(database, experiment_id, best=0)
    assert extend(database) == 3
    with database.read() as session:
        experiment = get_experiment(session, experiment_id)
        assert experiment.extended, "there were results, so that the plan has changed"
        assert experiment.document["tune"]["chosen"] == {"none": 2, "L2": 2, "dropout": 0}


def test_cancelled_tuning_goes_on_when_it_is_retried(database: Database) -> None:
    experiment_id = create(database)
    with database.write() as session:
        for run in get_runs(session, experiment_id):
            cancel_job(session, run.job.id)
        lock_experiment(session, experiment_id).auto_extending = False
    assert extend(database) == 0
    with database.write() as session:
        assert len(retry_failed(session, lock_experiment(session, experiment_id))) == 16
    finish_tuning(database, experiment_id)
    assert extend(database) == 6
    keys = {run.key for run in get_all(database, experiment_id, Purpose.TUNE)}
    assert all(isinstance(key, RunKey) for key in keys)
    assert len(keys) == 16
