"""An interrupted job resumes at its checkpoint: same weights, each epoch once, and no file left behind."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest

from models.artifacts import ArtifactStore
from models.records import EpochRecord, Progress
from models.retention import prune
from models.settings import Settings
from models.spec import JobSpec
from models.states import Action, JobState
from models.store import jobs
from models.store.database import Database
from models.store.tables import Job
from tests.factories import job_spec
from tests.object_store import UnreliableFileSystem, outage
from worker import checkpoints
from worker.checkpoints import Checkpoint
from worker.lease import Lease
from worker.program import ProgramCache
from worker.runner import Runner

SPEC = job_spec(
    seed=7,
    regularization={"dropout": {"rate": 0.3}, "batch_normalization": {}, "early_stopping": {"patience": 3}},
    training={"epochs": 6},
)


@pytest.fixture
def settings(database_settings: Settings) -> Settings:
    """A checkpoint after every epoch."""
    return database_settings.model_copy(update={"checkpoint_seconds": 0.0})


@pytest.fixture
def runner(settings: Settings, programs: ProgramCache) -> Iterator[Runner]:
    runner = Runner(settings)
    runner._programs = programs
    yield runner
    runner.close()


@pytest.fixture
def store(settings: Settings) -> ArtifactStore:
    return ArtifactStore(settings)


def queued(database: Database, spec: JobSpec) -> str:
    with database.write() as session:
        return jobs.create_jobs(session, [jobs.NewJob(spec)])[0].id


def job_now(database: Database, job_id: str) -> Job:
    with database.read() as session:
        return jobs.get_job(session, job_id)


def history(database: Database, job_id: str) -> list[int]:
    with database.read() as session:
        return [epoch.epoch for epoch in jobs.get_epochs(session, job_id)]


def expected_weights(database: Database, runner: Runner) -> str:
    undisturbed = queued(database, SPEC)
    runner.run_next()
    result = job_now(database, undisturbed).result
    assert result is not None
    return result.weights_sha256


@pytest.fixture
def request_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Action], None]:
    """Request an action once, at the end of the given epoch: an owner's request at a fixed time."""
    stored = Lease.on_epoch_end

    def request(epochs: int, action: Action) -> None:
        done = False

        def on_epoch_end(
            lease: Lease, record: EpochRecord, progress: Progress, checkpoint: Callable[[], Checkpoint]
        ) -> None:
            nonlocal done
            if record.epoch == epochs and not done:
                done = True
                with lease._database.write() as session:
                    jobs.get_job(session, lease.job_id).requested_action = action
            stored(lease, record, progress, checkpoint)

        monkeypatch.setattr(Lease, "on_epoch_end", on_epoch_end)

    return request


def interrupted(
    database: Database,
    runner: Runner,
    request: Callable[[int, Action], None],
    action: Action = Action.RELEASE,
    epochs: int = 3,
) -> str:
    """A job that stopped after `epochs`."""
    request(epochs, action)
    job_id = queued(database, SPEC)
    assert runner.run_next()
    return job_id


def test_a_released_job_continues_at_its_checkpoint_and_ends_with_the_same_weights(
    database: Database,
    runner: Runner,
    store: ArtifactStore,
    request_after: Callable[[int, Action], None],
) -> None:
    expected = expected_weights(database, runner)
    job_id = interrupted(database, runner, request_after)
    waiting = job_now(database, job_id)
    assert (waiting.state, waiting.checkpoint_epoch, waiting.epochs_done) == (JobState.QUEUED, 3, 3)
    assert waiting.fraction == 0.5
    assert history(database, job_id) == [1, 2, 3]
    assert len(store.list_checkpoints(job_id)) == 2  # the newest, and the one before in case it is damaged
    runner.run_next()
    job = job_now(database, job_id)
    assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, 2, 0)
    assert job.result is not None
    assert job.result.weights_sha256 == expected
    with database.read() as session:
        attempts = [epoch.attempt for epoch in jobs.get_epochs(session, job_id)]
    assert attempts == [1, 1, 1, *[2] * (job.result.epochs_run - 3)]
    assert store.list_checkpoints(job_id) == []
    assert (job.checkpoint_epoch, job.checkpoint_path) == (None, None)


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1e6])
def test_a_pause_writes_a_checkpoint_of_its_own(
    database: Database, settings: Settings, programs: ProgramCache, checkpoint_seconds: float
) -> None:
    runner = Runner(settings.model_copy(update={"checkpoint_seconds": checkpoint_seconds}))
    runner._programs = programs
    expected = expected_weights(database, runner)
    with database.write() as session:
        (job,) = jobs.create_jobs(session, [jobs.NewJob(SPEC)])
        job_id, job.pause_after = job.id, 2
    runner.run_next()
    waiting = job_now(database, job_id)
    assert (waiting.state, waiting.checkpoint_epoch, waiting.epochs_done) == (JobState.PAUSED, 2, 2)
    assert waiting.waits_for_others
    # Its owner's pause and resume do not start it before the other trials have come as far.
    with database.write() as session:
        assert jobs.pause_job(session, job_id).requested_action == Action.PAUSE
        resumed = jobs.resume_job(session, job_id)
        assert (resumed.state, resumed.requested_action) == (JobState.PAUSED, None)
    # A worker that died between the checkpoint and the pause leaves only the pause to do.
    with database.write() as session:
        jobs.get_job(session, job_id).state = JobState.QUEUED
    runner.run_next()
    waiting = job_now(database, job_id)
    assert (waiting.state, waiting.epochs_done, waiting.attempt) == (JobState.PAUSED, 2, 2)
    with database.write() as session:
        jobs.get_job(session, job_id).pause_after = None
        assert jobs.resume_job(session, job_id).state == JobState.QUEUED
    runner.run_next()
    job = job_now(database, job_id)
    assert job.result is not None
    assert (job.state, job.result.weights_sha256) == (JobState.SUCCEEDED, expected)
    with database.read() as session:
        attempts = [epoch.attempt for epoch in jobs.get_epochs(session, job_id)]
    assert attempts == [1, 1, *[3] * (job.result.epochs_run - 2)]
    runner.close()


def test_a_requested_pause_at_an_epochs_end_loses_no_epoch(
    database: Database, settings: Settings, programs: ProgramCache, request_after: Any
) -> None:
    runner = Runner(settings.model_copy(update={"checkpoint_seconds": 1e6}))
    runner._programs = programs
    job = job_now(database, interrupted(database, runner, request_after, Action.PAUSE))
    assert (job.epochs_done, job.checkpoint_epoch) == (3, 3)
    runner.close()


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
def test_d5_a_job_outlives_outages_of_the_object_store(
    database: Database,
    settings: Settings,
    programs: ProgramCache,
    request_after: Callable[[int, Action], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The store is away when the job resumes, at a later checkpoint, and when its model is to be stored."""
    runner = Runner(settings.model_copy(update={"artifacts_url": "unreliable://models"}))
    runner._programs = programs
    expected = expected_weights(database, runner)
    job_id = interrupted(database, runner, request_after)
    stored = Lease.on_epoch_end

    def end_outage(_: float) -> None:
        waiting.append(job_now(database, job_id).epochs_done)
        UnreliableFileSystem.away = False

    def begin_outage(lease: Lease, record: EpochRecord, *rest: Any) -> None:
        UnreliableFileSystem.away = True
        stored(lease, record, *rest)

    waiting: list[int] = []
    monkeypatch.setattr("worker.runner.time", SimpleNamespace(sleep=end_outage, monotonic=time.monotonic))
    monkeypatch.setattr(Lease, "on_epoch_end", begin_outage)
    with outage():
        runner.run_next()
    runner.close()
    job = job_now(database, job_id)
    assert (job.state, job.attempt, job.crashes) == (JobState.SUCCEEDED, 2, 0), job.error_message
    assert job.result is not None
    assert job.result.weights_sha256 == expected
    assert waiting == [3, job.result.epochs_run]


def test_a_job_that_is_interrupted_again_and_again_keeps_two_checkpoints(
    database: Database, runner: Runner, store: ArtifactStore, request_after: Callable[[int, Action], None]
) -> None:
    job_id = interrupted(database, runner, request_after, epochs=2)
    request_after(4, Action.RELEASE)
    assert runner.run_next()
    job = job_now(database, job_id)
    assert (job.state, job.attempt, job.checkpoint_epoch) == (JobState.QUEUED, 2, 4)
    checkpoints = sorted(store.list_checkpoints(job_id))
    assert [name.rpartition("checkpoint-")[2][:4] for name in checkpoints] == ["0003", "0004"]
    assert checkpoints[-1] == job.checkpoint_path


@pytest.mark.parametrize(("damaged", "goes_on_after"), [(1, 2), (2, 0)])
def test_a_damaged_checkpoint_is_never_loaded(
    damaged: int,
    goes_on_after: int,
    database: Database,
    runner: Runner,
    settings: Settings,
    request_after: Callable[[int, Action], None],
) -> None:
    expected = expected_weights(database, runner)
    job_id = interrupted(database, runner, request_after)
    files = sorted((settings.home / "artifacts" / "jobs" / job_id).rglob("checkpoint-*"), reverse=True)
    assert len(files) == 2
    for file in files[:damaged]:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    runner.run_next()
    job = job_now(database, job_id)
    assert job.result is not None
    assert job.result.weights_sha256 == expected
    with database.read() as session:
        attempts = [epoch.attempt for epoch in jobs.get_epochs(session, job_id)]
    assert attempts == [*[1] * goes_on_after, *[2] * (job.result.epochs_run - goes_on_after)]


def test_a_torn_checkpoint_is_never_loaded(
    database: Database, runner: Runner, settings: Settings, request_after: Callable[[int, Action], None]
) -> None:
    job_id = interrupted(database, runner, request_after)
    for file in (settings.home / "artifacts" / "jobs" / job_id).rglob("checkpoint-*"):
        file.write_bytes(file.read_bytes()[:1000])
    runner.run_next()
    job = job_now(database, job_id)
    assert job.state == JobState.SUCCEEDED
    assert history(database, job_id) == list(range(1, job.epochs_done + 1))


def test_a_checkpoint_of_another_release_is_not_resumed(
    database: Database,
    runner: Runner,
    request_after: Callable[[int, Action], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = interrupted(database, runner, request_after)
    monkeypatch.setattr(runner, "_engine", replace(runner._engine, regbench="999.0"))
    runner.run_next()
    with database.read() as session:
        assert {epoch.attempt for epoch in jobs.get_epochs(session, job_id)} == {2}
    assert job_now(database, job_id).state == JobState.SUCCEEDED


def test_a_checkpoint_whose_history_has_other_fields_is_not_resumed(
    database: Database,
    runner: Runner,
    request_after: Callable[[int, Action], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between two states of the code with the same release number."""

    def older_fields(record: object) -> dict[str, object]:
        return asdict(record) | ({"then_known_as": 1} if isinstance(record, EpochRecord) else {})

    with monkeypatch.context() as older:
        older.setattr(checkpoints, "asdict", older_fields)
        job_id = interrupted(database, runner, request_after)
    runner.run_next()
    job = job_now(database, job_id)
    assert (job.state, job.error_message) == (JobState.SUCCEEDED, None)


def test_a_full_disk_loses_the_checkpoint_and_not_the_job(
    database: Database, settings: Settings, runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """The real error of a full device: /dev/full takes the place of the checkpoint's file."""

    class Full(ArtifactStore):
        def put(self, name: str, content: bytes) -> str:
            if "checkpoint-" in name:
                with open("/dev/full", "wb") as device:
                    device.write(content)
            return super().put(name, content)

    runner._store = Full(settings)
    job_id = queued(database, SPEC)
    runner.run_next()
    assert job_now(database, job_id).state == JobState.SUCCEEDED
    assert "no checkpoint of epoch 1: [Errno 28] No space left on device" in caplog.text


def test_d13_the_retry_of_a_job_whose_model_found_no_space_resumes_from_its_checkpoint(
    database: Database,
    settings: Settings,
    runner: Runner,
    store: ArtifactStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = expected_weights(database, runner)

    class Full(ArtifactStore):
        def put(self, name: str, content: bytes) -> str:
            if "checkpoint-" not in name:
                with open("/dev/full", "wb") as device:
                    device.write(content)
            return super().put(name, content)

    runner._store = Full(settings)
    failed = queued(database, SPEC)
    runner.run_next()
    assert job_now(database, failed).error_code == "artifacts_unwritable"
    checkpoint = str(job_now(database, failed).checkpoint_path)
    prune(database, store, days=1e-9)
    assert store.list_checkpoints(failed) == [checkpoint]
    with database.write() as session:
        retry = jobs.retry_job(session, failed)[0].id
    waiting = job_now(database, retry)
    epochs = waiting.checkpoint_epoch
    assert (epochs, waiting.epochs_done, job_now(database, failed).checkpoint_path) == (6, 6, None)
    assert history(database, retry) == [1, 2, 3, 4, 5, 6]
    prune(database, store, days=1e-9)
    assert store.has(checkpoint)
    monkeypatch.setattr(runner, "_store", store)
    caplog.set_level("INFO")
    runner.run_next()
    job = job_now(database, retry)
    assert f"job {retry} resumes after epoch 6" in caplog.text
    assert job.result is not None, job.error_message
    assert job.result.weights_sha256 == expected
    prune(database, store)
    assert store.list_files(failed) == {}
    assert store.list_checkpoints(retry) == []


@pytest.mark.parametrize("action", [Action.PAUSE, Action.CANCEL])
def test_a_paused_job_keeps_its_checkpoint_and_a_cancelled_one_does_not(
    action: Action,
    database: Database,
    runner: Runner,
    store: ArtifactStore,
    request_after: Callable[[int, Action], None],
) -> None:
    job_id = interrupted(database, runner, request_after, action)
    job = job_now(database, job_id)
    if action is Action.PAUSE:
        assert (job.state, job.checkpoint_epoch) == (JobState.PAUSED, 3)
        assert store.list_checkpoints(job_id)
    else:
        assert (job.state, job.checkpoint_epoch) == (JobState.CANCELLED, None)
        assert store.list_checkpoints(job_id) == []


def test_checkpoints_are_written_at_the_configured_interval(
    database: Database,
    database_settings: Settings,
    programs: ProgramCache,
    request_after: Callable[[int, Action], None],
) -> None:
    rarely = Runner(database_settings.model_copy(update={"checkpoint_seconds": 3600.0}))
    rarely._programs = programs
    job_id = interrupted(database, rarely, request_after)
    rarely.close()
    job = job_now(database, job_id)
    assert (job.state, job.checkpoint_epoch, job.epochs_done) == (JobState.QUEUED, None, 0)
    assert history(database, job_id) == []
