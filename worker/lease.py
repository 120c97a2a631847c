"""A worker's lease on one job: every write goes through it and is fenced by the attempt.

During a database outage training continues and writes are buffered, until the lease has expired. From then on
the job may be another worker's: training stops, and only the end of the job is still written, if the fence
allows it.
"""

import logging
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from threading import Event, Thread
from typing import TypeVar

from sqlalchemy.orm import Session

from models.errors import LeaseLost, RegbenchError, ServiceUnavailable
from models.records import CheckpointRecord, EpochRecord, Progress, ResultRecord
from models.settings import Settings
from models.states import Action, JobState
from models.store import queue
from models.store.database import Database
from models.tracing import add_trace_event
from worker.checkpoints import Checkpoint, Checkpoints

log = logging.getLogger(__name__)

# A few may fail before the lease expires; also the longest wait before a failed write is retried.
_HEARTBEATS_A_LEASE = 6
_FIRST_RETRY_SECONDS = 0.1
# How long, in leases, writing the end of a job is retried during an outage. A training process has nothing
# else to do then, but delays a shutdown.
_LEASES_TO_RETRY = 20

Written = TypeVar("Written")


# Drawn once in a worker's parent process and inherited by its forked children. Containers and cloned
# machines may share host name and process number; without the token each would rescue the other's live jobs.
_TOKEN = secrets.token_hex(4)


def get_worker_name(parent_pid: int) -> str:
    """The prefix of the lease owners of one worker's processes: host, parent process, random token."""
    return f"{socket.gethostname()}:{parent_pid}:{_TOKEN}"


class Interrupted(RegbenchError):
    """The job is to stop: its owner or its worker's shutdown requests it, or its lease has expired."""

    code = "interrupted"
    requested: Action | None = None
    """By the job's owner or its worker's shutdown; None where nothing was requested."""


class Lease:
    """The right to write to a job, for one attempt. As the trainer's observer, progress renews it."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        job_id: str,
        attempt: int,
        checkpoints: Checkpoints | None = None,
        *,
        pause_after: int | None = None,
    ) -> None:
        """`pause_after` is the epoch after which the job pauses by itself; None: it trains to its end."""
        self._database, self._seconds = database, settings.lease_seconds
        self._backoff = _Backoff(self._seconds / _HEARTBEATS_A_LEASE)
        self._renewed_at = time.monotonic()
        self._unwritten: list[EpochRecord] = []
        self._checkpoints = checkpoints
        self._unwritten_checkpoint: CheckpointRecord | None = None
        self.job_id, self.attempt, self._pause_after = job_id, attempt, pause_after
        self.failed_retryably = False
        """Whether the job has failed, and a retry may resume from its checkpoint."""

    @contextmanager
    def keep_alive(self) -> Iterator[None]:
        """Keep the lease while the block runs, however long a compilation or a single step may take."""
        stopped = Event()

        def send_heartbeats() -> None:
            while not stopped.wait(self._seconds / _HEARTBEATS_A_LEASE):
                try:
                    self._write(self._renew)
                except LeaseLost:
                    return  # the trainer's next write finds out, too
                except ServiceUnavailable as error:
                    log.warning("job %s: %s", self.job_id, error.message)

        # With the fields that this thread's log lines have.
        target = copy_context().run
        thread = Thread(target=target, args=(send_heartbeats,), name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def on_chunk_end(self, progress: Progress) -> None:
        """Renew the lease, and write progress and what is buffered, if the database can be reached.

        Raises:
            Interrupted: the job is to stop.
            LeaseLost: the job is no longer this worker's.
        """

        def write(session: Session) -> Action | None:
            requested = self._renew(session, progress)
            self._write_history(session)
            return requested

        if self._backoff.over:
            try:
                requested = self._write(write)
            except ServiceUnavailable as error:
                log.warning(
                    "job %s continues to train, its history is buffered: %s", self.job_id, error.message
                )
            else:
                self._unwritten.clear()
                if self._checkpoints and self._unwritten_checkpoint:
                    self._checkpoints.mark_stored(self._unwritten_checkpoint)
                self._unwritten_checkpoint = None
                if requested is not None:
                    interruption = Interrupted(f"Asked to {requested}.")
                    interruption.requested = requested
                    raise interruption
        if time.monotonic() - self._renewed_at > self._seconds:
            raise Interrupted("The lease has expired while the database could not be reached.")

    def on_epoch_end(
        self, record: EpochRecord, progress: Progress, checkpoint: Callable[[], Checkpoint] | None = None
    ) -> None:
        """Store an epoch's record, and a checkpoint if one is due or the job pauses after this epoch.

        During an outage they are buffered until the first chunk after it.

        Raises:
            Interrupted: the job is to stop.
            LeaseLost: the job is no longer this worker's.
            OSError: the job pauses by itself, and its checkpoint cannot be written.
        """
        metrics = {"train_loss": record.train_loss, "validation_accuracy": record.validation_accuracy}
        add_trace_event("epoch", {"epoch": record.epoch, **metrics})
        self._unwritten.append(record)
        pauses, saved = record.epoch == self._pause_after, None
        if self._checkpoints and checkpoint:
            save_if_due = self._checkpoints.save_if_due
            saved = self._checkpoints.save(checkpoint()) if pauses else save_if_due(checkpoint)
            self._unwritten_checkpoint = saved or self._unwritten_checkpoint
        try:
            self.on_chunk_end(progress)
        except Interrupted as interruption:
            # So that no epoch since the last checkpoint is trained twice. `stop` records it.
            if interruption.requested is Action.PAUSE and self._checkpoints and checkpoint and not saved:
                with suppress(OSError):
                    self._unwritten_checkpoint = self._checkpoints.save(checkpoint())
            raise
        if pauses:
            raise Interrupted(f"It pauses after epoch {record.epoch}.")

    def succeed(self, result: ResultRecord) -> JobState:
        """End the job with its result, or cancelled if its owner has requested that; returns its state.

        Raises:
            LeaseLost: the job is no longer this worker's.
            ServiceUnavailable: the database cannot be reached.
        """
        state = self._write_end(lambda session: queue.succeed(session, self.job_id, self.attempt, result))
        log.info("job %s %s: test accuracy %s", self.job_id, state, result.test_accuracy)
        return state

    def fail(self, code: str, message: str, *, retryable: bool) -> JobState:
        """End the job without a result, or cancelled if its owner has requested that; returns its state.

        Raises:
            LeaseLost: the job is no longer this worker's.
            ServiceUnavailable: the database cannot be reached.
        """
        state = self._write_end(
            lambda session: queue.fail(
                session, self.job_id, self.attempt, code=code, message=message, retryable=retryable
            )
        )
        self.failed_retryably = retryable and state is JobState.FAILED
        log.warning("job %s %s (%s): %s", self.job_id, state, code, message)
        return state

    def stop(self) -> JobState:
        """Do what was requested of the job, else put it back into the queue.

        Raises:
            LeaseLost: the job is no longer this worker's.
            ServiceUnavailable: the database cannot be reached.
        """
        state = self._write_end(lambda session: queue.stop(session, self.job_id, self.attempt))
        log.info("job %s: %s", self.job_id, state)
        return state

    def _renew(self, session: Session, progress: Progress | None = None) -> Action | None:
        return queue.renew(session, self.job_id, self.attempt, lease_seconds=self._seconds, progress=progress)

    def _write_history(self, session: Session) -> None:
        for record in self._unwritten:
            queue.record_epoch(session, self.job_id, self.attempt, record)
        # In the same transaction: a job never resumes after an epoch that its history lacks.
        if self._unwritten_checkpoint:
            queue.record_checkpoint(session, self.job_id, self.attempt, self._unwritten_checkpoint)

    def rewind_to_checkpoint(self, epoch: int) -> None:
        """Record that the job resumes after `epoch`, because no later checkpoint can be used.

        Raises:
            LeaseLost: the job is no longer this worker's.
            ServiceUnavailable: the database cannot be reached.
        """
        self._write(lambda session: queue.rewind_to_checkpoint(session, self.job_id, self.attempt, epoch))

    def _write_end(self, end: Callable[[Session], JobState]) -> JobState:
        """End the job, with the rest of its history; retried until the database can be reached."""

        def write(session: Session) -> JobState:
            self._write_history(session)
            return end(session)

        deadline = time.monotonic() + _LEASES_TO_RETRY * self._seconds
        while True:
            try:
                state = self._write(write)
            except ServiceUnavailable as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("job %s: its outcome is not stored yet: %s", self.job_id, error.message)
                time.sleep(self._backoff.seconds)
            else:
                add_trace_event(state, {}, failed=state is JobState.FAILED)
                return state

    def _write(self, write: Callable[[Session], Written]) -> Written:
        started = time.monotonic()
        try:
            with self._database.write() as session:
                written = write(session)
        except ServiceUnavailable:
            self._backoff.failed()
            raise
        self._renewed_at = max(self._renewed_at, started)
        self._backoff.succeeded()
        return written


class _Backoff:
    """Exponential backoff: the wait before a retry doubles up to a limit."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit = limit_seconds
        self.succeeded()

    def succeeded(self) -> None:
        """Reset the wait."""
        self.seconds, self._until = 0.0, 0.0

    def failed(self) -> None:
        """Double the wait."""
        self.seconds = min(self._limit, 2 * self.seconds or _FIRST_RETRY_SECONDS)
        self._until = time.monotonic() + self.seconds

    @property
    def over(self) -> bool:
        """Whether it is time to retry."""
        return time.monotonic() >= self._until
