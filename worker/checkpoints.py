"""Checkpoints: the state of a job after an epoch, in a file that is either whole or not used.

The shuffle and all random layers draw from (seed, epoch or step), so weights, optimizer and history are the
whole state: a resumed job ends with exactly the weights of one that was never interrupted.
"""

import hashlib
import io
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifacts import CHECKPOINT, ArtifactStore, get_attempt_folder
from models.errors import ArtifactsUnavailable, NotFound
from models.records import CheckpointRecord, Engine, EpochRecord

log = logging.getLogger(__name__)

Arrays = list[NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """The state of a job after an epoch."""

    history: list[EpochRecord]
    """Every epoch so far; the best epoch and the learning rate follow from them."""
    program: Arrays
    """What `CompiledProgram.get_state` returned."""
    best_weights: Arrays
    """The best epoch's weights where they may be restored, else empty."""

    @property
    def epoch(self) -> int:
        """The last epoch that is done."""
        return len(self.history)

    def to_bytes(self, origin: dict[str, Any]) -> bytes:
        """As a `.npz` file without pickled objects; `origin` identifies specification and engine."""
        about = json.dumps({"origin": origin, "history": [asdict(record) for record in self.history]})
        arrays = {f"program_{index:04d}": array for index, array in enumerate(self.program)}
        arrays |= {f"best_{index:04d}": array for index, array in enumerate(self.best_weights)}
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, about=np.frombuffer(about.encode(), np.uint8), **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, origin: dict[str, Any]) -> "Checkpoint | None":
        """Read what `to_bytes` wrote; None if its origin is another engine, release or specification."""
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            if about["origin"] != origin:
                return None
            names = sorted(file.files)
            return cls(
                history=[EpochRecord(**record) for record in about["history"]],
                program=[file[name] for name in names if name.startswith("program_")],
                best_weights=[file[name] for name in names if name.startswith("best_")],
            )


class Checkpoints:
    """The checkpoints of one job, written by one attempt."""

    def __init__(
        self,
        store: ArtifactStore,
        job_id: str,
        attempt: int,
        *,
        spec_hash: str,
        engine: Engine,
        every_seconds: float,
    ) -> None:
        self._store, self._job_id, self._attempt = store, job_id, attempt
        # The release is part of the engine: another one may train in another way, or keep other arrays.
        self._origin = {"spec_hash": spec_hash, **asdict(engine)}
        self._every_seconds = every_seconds
        self._saved_at = time.monotonic()
        self._stored: list[str] = []

    def save_if_due(self, make: Callable[[], Checkpoint]) -> CheckpointRecord | None:
        """Write a checkpoint, if the last one is old enough; None if none was written."""
        if time.monotonic() - self._saved_at < self._every_seconds:
            return None
        checkpoint = make()
        try:
            return self.save(checkpoint)
        except OSError as error:
            # Training continues; only an interruption would lose more epochs than necessary.
            log.warning("no checkpoint of epoch %d: %s", checkpoint.epoch, error)
            return None

    def save(self, checkpoint: Checkpoint) -> CheckpointRecord:
        """Write a checkpoint.

        Raises:
            OSError: the store cannot be written to; ArtifactsUnavailable where it cannot be reached.
        """
        content = checkpoint.to_bytes(self._origin)
        digest = hashlib.sha256(content).hexdigest()
        # The digest is part of the name, so that an older file can be checked without the database.
        name = f"{CHECKPOINT}{checkpoint.epoch:04d}-{digest}.npz"
        path = f"{get_attempt_folder(self._job_id, self._attempt)}/{name}"
        try:
            self._store.put(path, content)
        finally:
            # Of a failed attempt, too: an object store that is away takes seconds to fail.
            self._saved_at = time.monotonic()
        return CheckpointRecord(epoch=checkpoint.epoch, path=path, sha256=digest)

    def mark_stored(self, record: CheckpointRecord) -> None:
        """Note that the database refers to this one, and remove all but it and the one before."""
        self._stored.append(record.path)
        for path in self._stored[:-2]:
            try:
                self._store.remove(path)
            except OSError as error:
                log.warning("could not remove %s: %s", path, error)
        self._stored = self._stored[-2:]

    def load_newest(self, record: CheckpointRecord) -> Checkpoint | None:
        """The checkpoint that the database refers to; if it cannot be used, the newest sound one before.

        Raises:
            ArtifactsUnavailable: the object store cannot be reached, which says nothing about the checkpoint.
        """
        files = self._store.list_checkpoints(self._job_id)
        older = sorted(
            (path for path in files if _parse_epoch(path) <= record.epoch), key=_parse_epoch, reverse=True
        )
        # Other attempts' files too: they are removed once there are two newer ones.
        self._stored = files
        digests = [(path, path.rpartition("-")[2].removesuffix(".npz")) for path in older]
        for path, digest in [(record.path, record.sha256), *digests]:
            try:
                checkpoint = Checkpoint.from_bytes(self._store.get(path, sha256=digest), self._origin)
            except (NotFound, OSError, ValueError, KeyError, TypeError) as error:
                if isinstance(error, ArtifactsUnavailable) and not self._store.is_local:
                    raise
                log.warning("%s cannot be used: %s", path, error)
                continue
            if checkpoint is None:
                log.warning("%s was written by another engine or release", path)
                continue
            self._stored = [*(file for file in files if file != path), path]
            return checkpoint
        return None


def _parse_epoch(path: str) -> int:
    return int(path.rpartition(CHECKPOINT)[2].partition("-")[0])
