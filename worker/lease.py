"""A worker's hold on one job: every write goes through it and names the attempt."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from models.database import Database
from models.errors import LeaseLost, RegbenchError, ServiceUnavailable
from models.records import EpochRecord, Progress, ResultRecord
from models.settings import Settings
from models.states import Action
from models.store import queue

log = logging.getLogger(__name__)

# A few may fail before the lease runs out.
_BEATS_A_LEASE = 6


def worker_name(parent_pid: int) -> str:
    """What the leases of one worker's processes begin with: its host and its parent process."""
    return f"{socket.gethostname()}:{parent_pid}"


class Interrupted(RegbenchError):
    """The job's owner, or its worker shutting down, asks it to stop; `action` says how."""

    code = "interrupted"

    def __init__(self, action: Action) -> None:
        super().__init__(f"asked to {action}")
        self.action = action


class Lease:
    """The right to write into a job, for one attempt. It is the trainer's observer: each look renews it."""

    def __init__(self, database: Database, settings: Settings, job_id: str, attempt: int) -> None:
        self._database, self._seconds = database, settings.lease_seconds
        self.job_id, self.attempt = job_id, attempt

    @contextmanager
    def kept(self) -> Iterator[None]:
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
                with self._database.write() as session:
                    queue.hold(session, self.job_id, self.attempt, lease_seconds=self._seconds)
            except LeaseLost:
                return  # the trainer learns of it at its next look
            except ServiceUnavailable as error:
                log.warning("job %s: %s", self.job_id, error.message)

    def chunk_ended(self, progress: Progress) -> None:
        """Renew the lease and say how far the job is.

        Raises:
            Interrupted: the job is asked to stop.
            LeaseLost: the job is no longer this worker's.
        """
        with self._database.write() as session:
            action = queue.renew(
                session, self.job_id, self.attempt, lease_seconds=self._seconds, progress=progress
            )
        if action is not None:
            raise Interrupted(action)

    def epoch_ended(self, record: EpochRecord, progress: Progress) -> None:
        """Store an epoch's history.

        Raises:
            LeaseLost: the job is no longer this worker's.
        """
        with self._database.write() as session:
            queue.renew(session, self.job_id, self.attempt, lease_seconds=self._seconds, progress=progress)
            queue.record_epoch(session, self.job_id, self.attempt, record)

    def succeed(self, result: ResultRecord) -> None:
        """End the job with its result."""
        with self._database.write() as session:
            queue.succeed(session, self.job_id, self.attempt, result)
        log.info("job %s succeeded: test accuracy %.4f", self.job_id, result.test_accuracy)

    def fail(self, code: str, message: str, *, retryable: bool) -> None:
        """End the job without one."""
        with self._database.write() as session:
            queue.fail(session, self.job_id, self.attempt, code=code, message=message, retryable=retryable)
        log.warning("job %s failed (%s): %s", self.job_id, code, message)

    def stop(self, action: Action) -> None:
        """Do what was asked of the job."""
        with self._database.write() as session:
            queue.stop(session, self.job_id, self.attempt, action)
        log.info("job %s: %s", self.job_id, action)
