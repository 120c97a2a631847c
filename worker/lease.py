"""A worker's hold on one job: every write goes through it and names the attempt.

A database that is away for a while costs nothing but the wait: training goes on, and what was to be written
is kept, until a lease's length has passed since the lease was last renewed. From then on the job may be
another worker's; training stops, and only the end of the job, result or not, is still offered to the
database, whose fence decides whether it is wanted.
"""

import logging
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TypeVar

from sqlalchemy.orm import Session

from models.errors import LeaseLost, RegbenchError, ServiceUnavailable
from models.records import CheckpointRecord, EpochRecord, Progress, ResultRecord
from models.settings import Settings
from models.states import Action, JobState
from models.store import queue
from models.store.database import Database
from worker.checkpoints import Checkpoint, Checkpoints

log = logging.getLogger(__name__)

# A few may fail before the lease runs out; also the longest wait before a failed write is tried again.
_BEATS_A_LEASE = 6
_FIRST_RETRY_SECONDS = 0.1
# How long the end of a job is kept for a database that is away. Training processes have nothing else to do
# then; but one that is told to shut down would wait for it.
_LEASES_OF_PATIENCE = 20

Found = TypeVar("Found")


# Drawn once in a worker's parent process and inherited by its forked children. Containers and cloned
# machines may share host name and process number; without it, each would take the other's jobs for abandoned.
_TOKEN = secrets.token_hex(4)


def get_worker_name(parent_pid: int) -> str:
    """The prefix of the lease owners of one worker's processes: host, parent process, random token."""
    return f"{socket.gethostname()}:{parent_pid}:{_TOKEN}"


class Interrupted(RegbenchError):
    """The job is to stop: its owner or its worker, shutting down, has asked for it, or its lease ran out."""

    code = "interrupted"


class Lease:
    """The right to write into a job, for one attempt. It is the trainer's observer: each look renews it."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        job_id: str,
        attempt: int,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self._database, self._seconds = database, settings.lease_seconds
        self._backoff = _Backoff(self._seconds / _BEATS_A_LEASE)
        self._renewed_at = time.monotonic()
        self._unwritten: list[EpochRecord] = []
        self._checkpoints = checkpoints
        self._unwritten_checkpoint: CheckpointRecord | None = None
        self.job_id, self.attempt = job_id, attempt

    @contextmanager
    def keep_alive(self) -> Iterator[None]:
        """Keep the lease while the block runs, however long a compilation or a single step may take."""
        stopped = Event()
        beat = Thread(target=self._beat, args=(stopped,), name="heartbeat", daemon=True)
        beat.start()
        try:
            yield
        finally:
            stopped.set()
            beat.join()

    def _beat(self, stopped: Event) -> None:
        while not stopped.wait(self._seconds / _BEATS_A_LEASE):
            try:
                self._write(self._hold)
            except LeaseLost:
                return  # the trainer learns of it at its next look
            except ServiceUnavailable as error:
                log.warning("job %s: %s", self.job_id, error.message)

    def on_chunk_end(self, progress: Progress) -> None:
        """Renew the lease and say how far the job is.

        Raises:
            Interrupted: the job is to stop.
            LeaseLost: the job is no longer this worker's.
        """
        if (requested := self._report(progress)) is not None:
            raise Interrupted(f"Asked to {requested}.")

    def on_epoch_end(
        self, record: EpochRecord, progress: Progress, checkpoint: Callable[[], Checkpoint] | None = None
    ) -> None:
        """Store an epoch's history, and where the job could go on.

        If the database is away, at the latest with the next chunk that finds it there.

        Raises:
            Interrupted: the job is to stop.
            LeaseLost: the job is no longer this worker's.
        """
        self._unwritten.append(record)
        if self._checkpoints and checkpoint and (saved := self._checkpoints.save_if_due(checkpoint)):
            self._unwritten_checkpoint = saved
        if (requested := self._report(progress)) is not None:
            raise Interrupted(f"Asked to {requested}.")

    def succeed(self, result: ResultRecord) -> JobState:
        """End the job with its result, or as its owner has been promised; returns its state.

        Raises:
            LeaseLost: the job is no longer this worker's.
            ServiceUnavailable: the database stayed away.
        """

        def write(session: Session) -> JobState:
            self._write_history(session)
            return queue.succeed(session, self.job_id, self.attempt, result)

        state = self._write_until_stored(write)
        log.info("job %s %s: test accuracy %.4f", self.job_id, state, result.test_accuracy)
        return state

    def fail(self, code: str, message: str, *, retryable: bool) -> JobState:
        """End the job without one, or as its owner has been promised; returns its state.

        Raises:
            LeaseLost: the job is no longer this worker's.
            ServiceUnavailable: the database stayed away.
        """

        def write(session: Session) -> JobState:
            self._write_history(session)
            return queue.fail(
                session, self.job_id, self.attempt, code=code, message=message, retryable=retryable
            )

        state = self._write_until_stored(write)
        log.warning("job %s %s (%s): %s", self.job_id, state, code, message)
        return state

    def stop(self) -> JobState:
        """Do what was asked of the job, else give it back.

        Raises:
            LeaseLost: the job is no longer this worker's.
            ServiceUnavailable: the database stayed away.
        """

        def write(session: Session) -> JobState:
            self._write_history(session)
            return queue.stop(session, self.job_id, self.attempt)

        state = self._write_until_stored(write)
        log.info("job %s: %s", self.job_id, state)
        return state

    def _report(self, progress: Progress) -> Action | None:
        """Write what is new, if the database is there; returns what is asked of the job."""

        def write(session: Session) -> Action | None:
            requested = queue.renew(
                session, self.job_id, self.attempt, lease_seconds=self._seconds, progress=progress
            )
            self._write_history(session)
            return requested

        if self._backoff.over:
            try:
                requested = self._write(write)
            except ServiceUnavailable as error:
                log.warning("job %s trains on, its history is kept: %s", self.job_id, error.message)
            else:
                self._history_is_stored()
                return requested
        if time.monotonic() - self._renewed_at > self._seconds:
            raise Interrupted("The database has been away for as long as a lease holds.")
        return None

    def _write_history(self, session: Session) -> None:
        for record in self._unwritten:
            queue.record_epoch(session, self.job_id, self.attempt, record)
        # In the same transaction: a job never goes on after an epoch that its history lacks.
        if self._unwritten_checkpoint:
            queue.record_checkpoint(session, self.job_id, self.attempt, self._unwritten_checkpoint)

    def _history_is_stored(self) -> None:
        self._unwritten.clear()
        if self._checkpoints and self._unwritten_checkpoint:
            self._checkpoints.mark_stored(self._unwritten_checkpoint)
        self._unwritten_checkpoint = None

    def rewind_to_checkpoint(self, epoch: int) -> None:
        """Say that the job goes on after `epoch`: no later checkpoint of it can be used.

        Raises:
            LeaseLost: the job is no longer this worker's.
            ServiceUnavailable: the database is away.
        """
        self._write(lambda session: queue.rewind_to_checkpoint(session, self.job_id, self.attempt, epoch))

    def _hold(self, session: Session) -> None:
        queue.heartbeat(session, self.job_id, self.attempt, lease_seconds=self._seconds)

    def _write_until_stored(self, write: Callable[[Session], Found]) -> Found:
        """Write the job's end, as soon as the database is there."""
        deadline = time.monotonic() + _LEASES_OF_PATIENCE * self._seconds
        while True:
            try:
                return self._write(write)
            except ServiceUnavailable as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("job %s: what became of it waits to be stored: %s", self.job_id, error.message)
                time.sleep(self._backoff.seconds)

    def _write(self, write: Callable[[Session], Found]) -> Found:
        began = time.monotonic()
        try:
            with self._database.write() as session:
                result = write(session)
        except ServiceUnavailable:
            self._backoff.failed()
            raise
        self._renewed_at = max(self._renewed_at, began)
        self._backoff.succeeded()
        return result


class _Backoff:
    """When to try again what has failed: after twice as long as the last time, up to a limit."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit = limit_seconds
        self.succeeded()

    def succeeded(self) -> None:
        """Begin anew."""
        self.seconds, self._until = 0.0, 0.0

    def failed(self) -> None:
        """Wait longer than before."""
        self.seconds = min(self._limit, 2 * self.seconds or _FIRST_RETRY_SECONDS)
        self._until = time.monotonic() + self.seconds

    @property
    def over(self) -> bool:
        """Whether it is time to try again."""
        return time.monotonic() >= self._until
