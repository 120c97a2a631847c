"""Files of jobs (models, checkpoints, predictions), in a folder or an object store, through fsspec."""

import hashlib
import logging
import posixpath
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from models.errors import ArtifactCorrupted, ArtifactsUnavailable, NotFound
from models.files import copy_atomically, write_atomically
from models.settings import Settings

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint-"
"""What the names of checkpoint files begin with, in the folder of the attempt that wrote them."""


def get_attempt_folder(job_id: str, attempt: int) -> str:
    """The folder of one attempt at a job; two attempts never write the same file."""
    return f"jobs/{job_id}/{attempt}"


def get_dataset_file(digest: str) -> str:
    """The file of an uploaded dataset."""
    return f"datasets/{digest}.npz"


def parse_job_id(name: str) -> str:
    """The id of the job that a file belongs to."""
    return name.split("/")[1]


def is_checkpoint(name: str) -> bool:
    """Whether a file is a checkpoint, which is of use only until its job has ended."""
    return posixpath.basename(name).startswith(CHECKPOINT)


class ArtifactStore:
    """Named byte strings under one address. Names come from the service, never from a user.

    Every method raises an OSError where it cannot reach the files: of an object store ArtifactsUnavailable,
    whatever its client raises.
    """

    def __init__(self, settings: Settings) -> None:
        self._files: Any
        self._root: str
        self._files, self._root = fsspec.core.url_to_fs(settings.resolved_artifacts_url)

    @property
    def is_local(self) -> bool:
        """Whether it is a folder, and no object store."""
        return isinstance(self._files, LocalFileSystem)

    def get_free_bytes(self) -> int | None:
        """The free space of the folder's disk; None of an object store, which does not say."""
        if not self.is_local:
            return None
        root = Path(self._root)
        return shutil.disk_usage(next(path for path in (root, *root.parents) if path.exists())).free

    def put(self, name: str, content: bytes) -> str:
        """Store `content` under `name` atomically; returns its SHA-256."""
        if self.is_local:
            # Not by fsspec's transactions, which pass through the system's temporary folder.
            write_atomically(Path(self._resolve(name)), content)
        else:
            # An object store shows an object only when all of it has arrived.
            with self._convert_errors():
                self._files.pipe_file(self._resolve(name), content)
        return hashlib.sha256(content).hexdigest()

    def put_file(self, name: str, path: Path) -> None:
        """Store the content of a file under `name` atomically, however large it is."""
        if self.is_local:
            with path.open("rb") as source:
                copy_atomically(Path(self._resolve(name)), source)
        else:
            with self._convert_errors():
                self._files.put_file(str(path), self._resolve(name))

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        with self._convert_errors():
            self._files.invalidate_cache()
            return bool(self._files.exists(self._resolve(name)))

    def get(self, name: str, *, sha256: str | None) -> bytes:
        """The bytes under `name`; `sha256` is None where the caller checks what they contain.

        Raises:
            NotFound: the file has been removed.
            ArtifactCorrupted: their SHA-256 is not `sha256`.
            ArtifactsUnavailable: the file cannot be read now.
        """
        try:
            with self._convert_errors():
                content: bytes = self._files.cat_file(self._resolve(name))
        except FileNotFoundError:
            raise NotFound(f"The file {name} has been removed.") from None
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise ArtifactCorrupted(f"The file {name} is damaged: its SHA-256 is not the one recorded.")
        return content

    def list_files(self, job_id: str | None = None) -> dict[str, int]:
        """Name and size in bytes of all files of a job, or of all jobs."""
        folder = "jobs" if job_id is None else f"jobs/{job_id}"
        root = self._resolve(folder)
        # An object store may still list what has just been removed.
        self._files.invalidate_cache()
        with self._convert_errors():
            entries = self._files.find(root, detail=True)
        return {f"{folder}/{posixpath.relpath(path, root)}": entry["size"] for path, entry in entries.items()}

    def list_checkpoints(self, job_id: str) -> list[str]:
        """The names of a job's checkpoints, of all its attempts."""
        return [name for name in self.list_files(job_id) if is_checkpoint(name)]

    def delete_checkpoints(self, job_id: str) -> None:
        """Remove all checkpoints of a job that has ended; failures are logged."""
        self._remove_or_log(job_id, lambda: self.list_checkpoints(job_id))

    def delete_job_files(self, job_id: str) -> None:
        """Remove all files of a job, of every attempt; failures are logged."""
        self._remove_or_log(job_id, lambda: [*self.list_files(job_id)])

    def _remove_or_log(self, job_id: str, names: Callable[[], list[str]]) -> None:
        # The row already says that the job has ended or was deleted; a caller could not undo that.
        try:
            self.remove_files(names())
        except OSError as error:
            log.warning("could not remove files of job %s: %s", job_id, error)

    def remove_files(self, names: Iterable[str]) -> None:
        """Remove these files."""
        for name in names:
            self.remove(name)

    def remove(self, name: str) -> None:
        """Remove the file `name` if it exists."""
        # Not by asking first whether it exists: fsspec says no, too, where it cannot tell.
        with suppress(FileNotFoundError), self._convert_errors():
            self._files.rm_file(self._resolve(name))

    @contextmanager
    def _convert_errors(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:
            # The clients of object stores have errors of their own, such as botocore's.
            detail = f"The artifacts cannot be reached: {type(error).__name__}: {error}"
            raise ArtifactsUnavailable(detail) from error

    def _resolve(self, name: str) -> str:
        return posixpath.join(self._root, name)
