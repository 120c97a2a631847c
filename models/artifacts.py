"""Files that jobs leave behind (models, predictions), in a folder or an object store, through fsspec."""

import hashlib
import logging
import posixpath
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from models.errors import ArtifactCorrupted, NotFound
from models.files import PART, write_atomically
from models.settings import Settings

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint-"
"""What the names of checkpoint files begin with, in the folder of the attempt that wrote them."""


def get_attempt_folder(job_id: str, attempt: int) -> str:
    """Where an attempt at a job keeps its files; two attempts never write the same one."""
    return f"{_job_folder(job_id)}/{attempt}"


def parse_job_id(name: str) -> str:
    """The id of the job that keeps a file."""
    return name.split("/")[1]


def is_checkpoint(name: str) -> bool:
    """Whether a file is a checkpoint: of use only until its job has ended."""
    return posixpath.basename(name).startswith(CHECKPOINT)


def is_partial(name: str) -> bool:
    """Whether a file was never finished: its writer is at it now, or died."""
    return name.endswith(PART)


_JOBS = "jobs"


def _job_folder(job_id: str) -> str:
    return f"{_JOBS}/{job_id}"


class ArtifactStore:
    """Named byte strings under one address. Names come from the service, never from a user."""

    def __init__(self, settings: Settings) -> None:
        self._files: Any
        self._root: str
        self._files, self._root = fsspec.core.url_to_fs(settings.resolved_artifacts_url)

    def put(self, name: str, content: bytes) -> str:
        """Keep `content` under `name`, whole or not at all; returns its SHA-256."""
        if isinstance(self._files, LocalFileSystem):
            # Not by fsspec's transactions, which pass through the system's temporary folder.
            write_atomically(Path(self._path(name)), content)
        else:
            # An object store shows an object only when all of it has arrived.
            self._files.pipe_file(self._path(name), content)
        return hashlib.sha256(content).hexdigest()

    def get(self, name: str, *, sha256: str) -> bytes:
        """The bytes under `name`.

        Raises:
            NotFound: they are gone.
            ArtifactCorrupted: they are not the ones that were kept.
        """
        try:
            content: bytes = self._files.cat_file(self._path(name))
        except FileNotFoundError:
            raise NotFound(f"The file {name} is no longer kept.") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ArtifactCorrupted(f"The file {name} is damaged: its SHA-256 is not the one recorded.")
        return content

    def files(self, job_id: str | None = None) -> dict[str, int]:
        """Name and size in bytes of all that a job keeps, or that all jobs keep."""
        folder = _JOBS if job_id is None else _job_folder(job_id)
        root = self._path(folder)
        # An object store may still list what has just been removed.
        self._files.invalidate_cache()
        found = self._files.find(root, detail=True)
        return {f"{folder}/{posixpath.relpath(path, root)}": about["size"] for path, about in found.items()}

    def checkpoints(self, job_id: str) -> list[str]:
        """The names of a job's checkpoints, of all its attempts."""
        return [name for name in self.files(job_id) if is_checkpoint(name)]

    def forget_checkpoints(self, job_id: str) -> None:
        """Remove all checkpoints of a job: it has ended. What cannot be removed is logged, and stays."""
        self._forget(job_id, lambda: self.checkpoints(job_id))

    def forget(self, job_id: str) -> None:
        """Remove all that a job keeps, of every attempt. What cannot be removed is logged, and stays."""
        self._forget(job_id, lambda: [*self.files(job_id)])

    def _forget(self, job_id: str, names: Callable[[], list[str]]) -> None:
        # The row says already that the job has ended, or is gone: nobody could do anything about a failure.
        try:
            self.remove_all(names())
        except OSError as error:
            log.warning("files of job %s stay: %s", job_id, error)

    def remove_all(self, names: Iterable[str]) -> None:
        """Forget all of these."""
        for name in names:
            self.remove(name)

    def remove(self, name: str) -> None:
        """Forget the bytes under `name`, if they are there."""
        if self._files.exists(self._path(name)):
            # Gone by now, where another process clears up too.
            with suppress(FileNotFoundError):
                self._files.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return posixpath.join(self._root, name)
