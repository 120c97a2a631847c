"""A full disk: a tmpfs of a few hundred kilobytes, on machines where the test may mount one."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.artifacts import ArtifactStore
from models.settings import Settings
from models.states import JobState
from models.store import jobs
from models.store.database import Database
from models.store.tables import Job
from models.store.transitions import get_job
from tests.chaos.fault_log import Tally
from tests.factories import job_spec
from worker.program import ProgramCache
from worker.runner import Runner


@contextmanager
def tmpfs(folder: Path, kilobytes: int) -> Iterator[Path]:
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    command = [str(mount), "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own can only be mounted by root on Linux")
    try:
        yield folder
    finally:
        subprocess.run([str(umount), str(folder)], check=True)


@pytest.fixture(scope="module")
def programs() -> ProgramCache:
    """Shared: compiling takes longer than training."""
    return ProgramCache()


def trained(settings: Settings, database: Database, disk: Path, programs: ProgramCache) -> Job:
    """A job whose model takes about 200 kB, a checkpoint of it about 600."""
    tight = settings.model_copy(update={"artifacts_url": f"file://{disk}", "checkpoint_seconds": 0.0})
    with database.write() as session:
        spec = job_spec(model={"hidden_units": [64]}, training={"epochs": 4})
        (job,) = jobs.create_jobs(session, [jobs.NewJob(spec)])
    runner = Runner(tight)
    runner._programs = programs
    assert runner.run_next()
    runner.close()
    with database.read() as session:
        return get_job(session, job.id)


def test_a_disk_without_space_for_a_second_checkpoint(
    database: Database,
    database_settings: Settings,
    tally: Tally,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    programs: ProgramCache,
) -> None:
    with tmpfs(tmp_path / "disk", kilobytes=1_000) as disk:
        job = trained(database_settings, database, disk, programs)
        tally.faults += caplog.text.count("No space left on device")
        tally.jobs += 1
        tally.lost += job.state != JobState.SUCCEEDED
        store = ArtifactStore(database_settings.model_copy(update={"artifacts_url": f"file://{disk}"}))
        assert job.result is not None, job.error_message
        # The model is complete, and no checkpoint or part of one is left.
        assert store.get(job.result.model_path, sha256=job.result.model_sha256)
        assert {*store.list_files(job.id)} == {job.result.model_path, job.result.predictions_path}
    assert tally.faults, "there was room enough"


def test_a_disk_without_space_for_the_model(
    database: Database, database_settings: Settings, tally: Tally, tmp_path: Path, programs: ProgramCache
) -> None:
    with tmpfs(tmp_path / "disk", kilobytes=60) as disk:
        job = trained(database_settings, database, disk, programs)
        tally.faults += 1
        tally.jobs += 1
        tally.lost += (job.state, job.error_code) != (JobState.FAILED, "artifacts_unwritable")
        assert job.error_retryable is True
        assert "No space left on device" in str(job.error_message)
        assert (
            ArtifactStore(
                database_settings.model_copy(update={"artifacts_url": f"file://{disk}"})
            ).list_files()
            == {}
        )
