import hashlib
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.artifacts import ArtifactStore
from models.errors import NotFound
from models.settings import Settings

NAME = "jobs/job_1/1/model.keras"
CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(params=["folder", "object store"])
def store(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> ArtifactStore:
    """In a folder, and behind an fsspec address that is no folder."""
    if request.param == "object store":
        return ArtifactStore(settings.model_copy(update={"artifacts_url": f"memory:/{tmp_path}"}))
    return ArtifactStore(settings)


def test_what_was_put_is_got(store: ArtifactStore) -> None:
    assert store.put(NAME, CONTENT) == SHA256
    assert store.get(NAME, sha256=SHA256) == CONTENT


def test_what_is_put_again_replaces_the_old(store: ArtifactStore) -> None:
    store.put(NAME, b"older")
    store.put(NAME, CONTENT)
    assert store.get(NAME, sha256=SHA256) == CONTENT


def test_a_missing_artifact_raises_not_found(store: ArtifactStore) -> None:
    with pytest.raises(NotFound, match="has been removed"):
        store.get(NAME, sha256=SHA256)


def test_what_has_changed_is_not_handed_out(store: ArtifactStore) -> None:
    store.put(NAME, b"other weights")
    with pytest.raises(NotFound, match="damaged"):
        store.get(NAME, sha256=SHA256)


def test_what_is_removed_is_gone_and_may_be_removed_again(store: ArtifactStore) -> None:
    store.put(NAME, CONTENT)
    store.remove(NAME)
    store.remove(NAME)
    with pytest.raises(NotFound):
        store.get(NAME, sha256=SHA256)


def test_a_put_that_fails_leaves_the_old_file_whole_and_nothing_else(
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
    """As on a disk that is full: a write of more bytes fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_is_as_readable_as_the_umask_says(settings: Settings) -> None:
    # API and workers may run as different users on a shared folder.
    ArtifactStore(settings).put(NAME, CONTENT)
    umask = os.umask(0)
    os.umask(umask)
    assert (settings.home / "artifacts" / NAME).stat().st_mode & 0o777 == 0o666 & ~umask
