"""A job from claim to end against both databases, trained for real."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.app import create_app
from api.datasets.files import UploadedFile
from api.datasets.importing import import_dataset
from api.datasets.schemas import DatasetOptions
from models.artifacts import ArtifactStore, get_dataset_file
from models.dataset_arrays import load, load_uploaded
from models.dataset_cards import DatasetContent
from models.dataset_spec import DatasetSpec
from models.errors import LeaseLost, NotFound
from models.records import Progress, ResultRecord
from models.settings import Settings
from models.spec import JobSpec
from models.states import JobState
from models.store import jobs, queue
from models.store.database import Database
from models.store.rescue import rescue_abandoned
from models.store.tables import Job
from models.test_predictions import TestPredictions
from tests.factories import job_spec
from tests.integration.api.conftest import TestClient
from tests.unit.api.datasets.forms import as_keras, draw
from worker.datasets import split_dataset
from worker.lease import Lease
from worker.program import ProgramCache
from worker.runner import Runner


@pytest.fixture
def runner(database_settings: Settings, programs: ProgramCache) -> Iterator[Runner]:
    runner = Runner(database_settings)
    runner._programs = programs
    yield runner
    runner.close()


def queued(database: Database, spec: JobSpec) -> str:
    with database.write() as session:
        return jobs.create_jobs(session, [jobs.NewJob(spec)])[0].id


def scraped(settings: Settings) -> dict[str, float]:
    """The counters of /metrics."""
    with TestClient(create_app(settings)) as client:
        families = text_string_to_metric_families(client.get("/metrics").text)
        return {sample.name: sample.value for family in families for sample in family.samples}


def job_now(database: Database, job_id: str) -> Job:
    with database.read() as session:
        return jobs.get_job(session, job_id)


@pytest.mark.parametrize("database_settings", ["postgresql"], indirect=True)
def test_a_second_job_of_the_same_shape_needs_no_compilation_and_is_counted_so(
    database: Database, runner: Runner, database_settings: Settings
) -> None:
    runner._programs = ProgramCache()  # as in a new process
    first = job_spec(regularization={"dropout": {"rate": 0.2}, "l2": {"factor": 1e-3}})
    other = job_spec(
        seed=5,
        regularization={"dropout": {"rate": 0.7}, "l2": {"factor": 1e-5}},
        training={"optimizer": {"learning_rate": 0.01}, "epochs": 2},
    )
    queued(database, first)
    runner.run_next()
    after_first = scraped(database_settings)
    assert after_first["regbench_compilations_total"] == 2  # training steps and evaluation
    assert after_first["regbench_compile_seconds_total"] > 0
    job_id = queued(database, other)
    runner.run_next()
    after_second = scraped(database_settings)
    assert after_second["regbench_compilations_total"] == 2
    assert (after_second["regbench_trainings_total"], after_second["regbench_epochs_total"]) == (2, 3)
    result = job_now(database, job_id).result
    assert result is not None
    assert result.compilations == 0


def test_a_job_stores_its_history_result_and_files(
    database: Database, runner: Runner, database_settings: Settings
) -> None:
    job_id = queued(database, job_spec(training={"epochs": 2}, regularization={"dropout": {"rate": 0.2}}))
    assert runner.run_next()
    job = job_now(database, job_id)
    assert (job.state, job.epochs_done, job.fraction, job.attempt) == (JobState.SUCCEEDED, 2, 1.0, 1)
    assert job.started_at is not None
    assert job.finished_at is not None
    with database.read() as session:
        history = jobs.get_epochs(session, job_id)
        events = [event.to_state for event in jobs.get_events(session, job_id)]
    assert [epoch.epoch for epoch in history] == [1, 2]
    assert events == ["queued", "running", "succeeded"]
    result = job.result
    assert result is not None
    assert result.validation_loss == history[-1].validation_loss
    assert result.generalization_gap_loss == pytest.approx(result.test_loss - result.train_loss)
    store = ArtifactStore(database_settings)
    content = store.get(result.predictions_path, sha256=result.predictions_sha256)
    predictions = TestPredictions.from_bytes(content)
    assert predictions.to_bytes() == content
    assert predictions.log_probabilities.shape == (1000, 10)
    assert predictions.log_probabilities.dtype == np.float32
    of_truth = predictions.log_probabilities[np.arange(1000), predictions.labels]
    assert -of_truth.mean() == pytest.approx(result.test_loss, rel=1e-6)
    assert store.get(result.model_path, sha256=result.model_sha256)[:2] == b"PK"  # a zip file, as .keras is


def test_three_messages_for_a_job_train_it_once(database: Database, runner: Runner) -> None:
    job_id = queued(database, job_spec())
    assert [runner.run_next() for _ in range(3)] == [True, False, False]
    assert job_now(database, job_id).attempt == 1


def test_a_message_without_a_queued_job_is_harmless(runner: Runner) -> None:
    assert runner.run_next() is False


def test_a_cancelled_job_stops_within_a_chunk_and_keeps_its_history(
    database: Database, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = queued(database, job_spec(training={"epochs": 1000}))
    ended = Lease.on_epoch_end

    def cancel_after_second_epoch(lease: Lease, *arguments: Any) -> None:
        ended(lease, *arguments)
        _record, progress, _checkpoint = arguments
        if progress.epochs_done == 2:
            with database.write() as session:
                assert jobs.cancel_job(session, lease.job_id).state == JobState.RUNNING

    monkeypatch.setattr(Lease, "on_epoch_end", cancel_after_second_epoch)
    runner.run_next()
    job = job_now(database, job_id)
    # With epochs as short as these, the next check is at the end of one.
    assert (job.state, job.epochs_done, job.result) == (JobState.CANCELLED, 3, None)
    assert job.requested_action is None


def test_a_job_that_is_cancelled_when_its_training_is_done_leaves_no_files(
    database: Database, runner: Runner, database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = queued(database, job_spec())
    succeed = Lease.succeed
    saved: list[Path] = []

    def cancel_before(lease: Lease, result: ResultRecord) -> JobState:
        saved.extend(file for file in (database_settings.home / "artifacts").rglob("*") if file.is_file())
        with database.write() as session:
            jobs.cancel_job(session, lease.job_id)
        return succeed(lease, result)

    monkeypatch.setattr(Lease, "succeed", cancel_before)
    runner.run_next()
    assert job_now(database, job_id).state == JobState.CANCELLED
    assert saved
    assert not any(file.exists() for file in saved)


def test_training_that_diverges_fails_the_job_with_advice(database: Database, runner: Runner) -> None:
    wild = {"optimizer": {"name": "sgd", "learning_rate": 10.0, "momentum": 0.9}, "epochs": 5}
    job_id = queued(database, job_spec(training=wild, regularization={"l2": {"factor": 0.1}}))
    runner.run_next()
    job = job_now(database, job_id)
    assert (job.state, job.error_code, job.error_retryable) == (JobState.FAILED, "diverged", False)
    assert "learning_rate" in str(job.error_message)
    assert job.result is None


@pytest.mark.parametrize(
    "dataset",
    [
        {"train_samples": 3_999},
        {"validation_fraction": 0.0005},
        {"train_samples": 100, "validation_fraction": 0.05},
    ],
)
def test_a_subset_with_fewer_examples_than_classes_is_still_split(
    dataset: dict[str, float], settings: Settings
) -> None:
    spec = DatasetSpec.model_validate({"name": "mnist_5k", **dataset})
    split = split_dataset(load("mnist_5k", settings), spec)
    assert split.validation is not None
    assert (len(split.train), len(split.validation)) == (
        spec.training_examples,
        spec.validation_examples,
    )


def test_a_dataset_that_the_worker_lacks_fails_the_job_and_not_the_worker(
    database: Database, runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    lacking = queued(database, job_spec(dataset={"name": "fashion_mnist"}))
    good = queued(database, job_spec())
    runner.run_next()
    runner.run_next()
    assert job_now(database, lacking).error_code == "dataset_unavailable"
    assert job_now(database, good).state == JobState.SUCCEEDED


def test_an_unexpected_error_fails_the_job_and_not_the_worker(
    database: Database, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = queued(database, job_spec())

    def break_down(*_: object) -> None:
        raise ArithmeticError("divided by zero\n[SQL: all that is nobody's business]")

    with monkeypatch.context() as patch:
        patch.setattr("worker.runner.save_artifacts", break_down)
        runner.run_next()
    job = job_now(database, job_id)
    assert (job.state, job.error_code) == (JobState.FAILED, "internal_error")
    assert job.error_message == "ArithmeticError: divided by zero"


def test_a_worker_that_lost_its_lease_changes_no_job(database: Database, database_settings: Settings) -> None:
    job_id = queued(database, job_spec())
    with database.write() as session:
        first = queue.claim(session, job_id, owner="first", lease_seconds=30)
        assert first is not None
        attempt = first.attempt
        queue.stop(session, job_id, attempt)
        assert queue.claim(session, job_id, owner="second", lease_seconds=30) is not None
    zombie = Lease(database, database_settings, job_id, attempt)
    with pytest.raises(LeaseLost):
        zombie.on_chunk_end(Progress(1, 0.9, 0.0))
    with pytest.raises(LeaseLost):
        zombie.fail("internal_error", "too late", retryable=True)
    job = job_now(database, job_id)
    assert (job.state, job.fraction, job.lease_owner) == (JobState.RUNNING, 0.0, "second")


def test_removed_artifacts_of_a_job_are_missing(
    database: Database, runner: Runner, database_settings: Settings
) -> None:
    job_id = queued(database, job_spec())
    runner.run_next()
    result = job_now(database, job_id).result
    assert result is not None
    store = ArtifactStore(database_settings)
    store.remove(result.model_path)
    with pytest.raises(NotFound, match="has been removed"):
        store.get(result.model_path, sha256=result.model_sha256)


def test_a_heartbeat_renews_the_lease_during_a_step_longer_than_the_lease(
    database: Database, database_settings: Settings
) -> None:
    short = database_settings.model_copy(update={"lease_seconds": 0.6})
    job_id = queued(database, job_spec())
    with database.write() as session:
        job = queue.claim(session, job_id, owner="test", lease_seconds=short.lease_seconds)
        assert job is not None
    with Lease(database, short, job_id, job.attempt).keep_alive():
        time.sleep(1.5)
        with database.write() as session:
            assert rescue_abandoned(session).queued == []
    time.sleep(1.0)
    with database.write() as session:
        assert rescue_abandoned(session).queued == [job_id]


def test_non_finite_weights_with_a_finite_objective_are_divergence(
    database: Database, runner: Runner
) -> None:
    spec = job_spec(
        dataset={"train_samples": 100},
        model={"hidden_units": [512] * 8},
        training={
            "optimizer": {"name": "sgd", "learning_rate": 10.0, "momentum": 0.99},
            "batch_size": 80,
            "epochs": 9,
        },
    )
    job_id = queued(database, spec)
    runner.run_next()
    assert job_now(database, job_id).error_code == "diverged"


def upload_letters(database: Database, store: ArtifactStore, folder: Path) -> DatasetContent:
    """A dataset with three classes, stored as the API does."""
    files = []
    for index, (name, content) in enumerate(as_keras(draw(train=160, test=20)).items()):
        (folder / str(index)).write_bytes(content)
        files.append(UploadedFile(name, folder / str(index)))
    imported = import_dataset(files, DatasetOptions(), folder, 10_000_000)
    imported.write_archive(folder / "archive.npz")
    store.put_file(get_dataset_file(imported.digest), folder / "archive.npz")
    return DatasetContent(digest=imported.digest, classes=3, train_examples=160, test_examples=20)


def test_a_job_on_an_uploaded_dataset_is_trained_by_digest(
    database: Database, runner: Runner, database_settings: Settings, tmp_path: Path
) -> None:
    store = ArtifactStore(database_settings)
    content = upload_letters(database, store, tmp_path)
    dataset = {"name": "letters", "content": content.model_dump(), "train_samples": None}
    spec = job_spec(dataset=dataset, regularization={"label_smoothing": {"alpha": 0.1}})
    job_id, gone_id = queued(database, spec), queued(database, spec.model_copy(update={"seed": 1}))
    assert runner.run_next()
    result = job_now(database, job_id).result
    assert result is not None
    assert result.dataset_sha256 == content.digest
    with database.read() as session:
        details = jobs.get_job_details(session, job_id).result
        assert details is not None
        confusion = details.confusion
    assert np.array(confusion).shape == (3, 3)
    predictions = store.get(result.predictions_path, sha256=result.predictions_sha256)
    assert TestPredictions.from_bytes(predictions).log_probabilities.shape == (20, 3)
    store.remove(get_dataset_file(content.digest))
    load_uploaded.cache_clear()
    assert runner.run_next()
    job = job_now(database, gone_id)
    assert (job.state, job.error_code) == (JobState.FAILED, "dataset_unavailable")
