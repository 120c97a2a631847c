import hashlib
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.artifacts import ArtifactStore
from models.errors import NotFound, ServiceUnavailable
from models.settings import Settings
from tests.object_store import outage

NAME = "jobs/job_1/1/model.keras"
CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(params=["folder", "object store"])
def store(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> ArtifactStore:
    """In a folder, and at an fsspec address that is not a folder."""
    if request.param == "object store":
        return ArtifactStore(settings.model_copy(update={"artifacts_url": f"memory:/{tmp_path}"}))
    return ArtifactStore(settings)


def test_a_stored_artifact_is_read_back(store: ArtifactStore) -> None:
    assert store.put(NAME, CONTENT) == SHA256
    assert store.get(NAME, sha256=SHA256) == CONTENT


def test_storing_an_artifact_again_replaces_it(store: ArtifactStore) -> None:
    store.put(NAME, b"older")
    store.put(NAME, CONTENT)
    assert store.get(NAME, sha256=SHA256) == CONTENT


def test_a_missing_artifact_raises_not_found(store: ArtifactStore) -> None:
    with pytest.raises(NotFound, match="has been removed"):
        store.get(NAME, sha256=SHA256)


def test_a_changed_artifact_is_not_returned(store: ArtifactStore) -> None:
    store.put(NAME, b"other weights")
    with pytest.raises(NotFound, match="damaged"):
        store.get(NAME, sha256=SHA256)


def test_d5_an_object_store_that_is_away_raises_oserrors(settings: Settings) -> None:
    store = ArtifactStore(settings.model_copy(update={"artifacts_url": "unreliable://models"}))
    store.put(NAME, CONTENT)
    operations: list[Callable[[], object]] = [
        lambda: store.put(NAME, CONTENT),
        lambda: store.get(NAME, sha256=SHA256),
        store.list_files,
        lambda: store.remove(NAME),
    ]
    for operation in operations:
        with outage(), pytest.raises(OSError, match="artifacts cannot be reached") as raised:
            operation()
        assert isinstance(raised.value, ServiceUnavailable)
    with outage():
        store.delete_job_files("job_1")
    assert store.get(NAME, sha256=SHA256) == CONTENT


def test_removing_an_artifact_is_idempotent(store: ArtifactStore) -> None:
    store.put(NAME, CONTENT)
    store.remove(NAME)
    store.remove(NAME)
    with pytest.raises(NotFound):
        store.get(NAME, sha256=SHA256)


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(
    settings: Settings,
) -> None:
    store = ArtifactStore(settings)
    store.put(NAME, CONTENT)
    with _no_file_longer_than(7), pytest.raises(OSError, match="File too large"):
        store.put(NAME, b"newer and longer weights")
    assert store.get(NAME, sha256=SHA256) == CONTENT
    folder = settings.home / "artifacts" / "jobs" / "job_1" / "1"
    assert [path.name for path in folder.iterdir()] == ["model.keras"]


@contextmanager
def _no_file_longer_than(length: int) -> Iterator[None]:
    """As on a full disk: a longer write fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_has_the_permissions_of_the_umask(settings: Settings) -> None:
    # API and workers may run as different users on a shared folder.
    ArtifactStore(settings).put(NAME, CONTENT)
    umask = os.umask(0)
    os.umask(umask)
    assert (settings.home / "artifacts" / NAME).stat().st_mode & 0o777 == 0o666 & ~umask
