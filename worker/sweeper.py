"""Recovery of jobs whose worker died or whose message was lost, by every worker's parent process."""

import logging
import os
import signal
import time
from datetime import datetime

from migrations import explain_revision, is_refused
from models.artifacts import ArtifactStore
from models.dispatch import notify_workers
from models.errors import ArtifactsUnavailable, ServiceUnavailable
from models.retention import find_useless_files
from models.settings import Settings
from models.store.auto_extend import auto_extend_experiments
from models.store.database import Database
from models.store.idempotency import delete_old_keys
from models.store.quotas import Quotas
from models.store.readiness import read_schema
from models.store.rescue import Rescued, find_undispatched_jobs, get_lease_owners, rescue_abandoned
from models.store.transitions import get_database_now
from models.store.webhooks import announce_finished_experiments
from models.store.workers import announce_worker
from worker.background import PeriodicThread
from worker.fork_safety import fork_safe_database
from worker.lease import get_worker_name

log = logging.getLogger(__name__)

# Enough to keep a large worker busy, and few enough that a long queue does not fill the broker.
_MESSAGES_A_SWEEP = 32
_PRUNE_SECONDS = 3_600.0


class Sweeper(PeriodicThread):
    """Sweeps every few seconds. Many may run at once."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("sweeper", settings.sweep_seconds)
        self._settings = settings
        self._rescue_from = self._prune_from = 0.0
        self._clock_offset: float | None = None
        self._processes = settings.worker_concurrency or os.cpu_count() or 1

    def run_once(self) -> None:
        """Rescue abandoned jobs, send lost messages again, and remove old files once an hour."""
        store = ArtifactStore(self._settings)
        try:
            with fork_safe_database(self._settings) as database:
                ended = self._sweep_database(database)
            # Files without the database: a slow store must not keep the worker from forking.
            for job_id in ended:
                store.delete_checkpoints(job_id)
            if time.monotonic() < self._prune_from:
                return
            self._prune_from = time.monotonic() + _PRUNE_SECONDS
            files = store.list_files()
            with fork_safe_database(self._settings) as database:
                useless, _ = find_useless_files(database, files, days=self._settings.keep_artifacts_days)
            store.remove_files(useless)
            if useless:
                log.info("removed %d file(s) of jobs that have ended", len(useless))
        except ArtifactsUnavailable as error:
            log.warning("%s", error.message)  # workers renewed their leases meanwhile
        except ServiceUnavailable as error:
            log.warning("%s", error.message)
            # No worker could renew its lease during the outage; each gets time to do so.
            self._rescue_from = time.monotonic() + self._settings.lease_seconds

    def _sweep_database(self, database: Database) -> list[str]:
        """Returns the jobs that it has ended and whose checkpoints can go."""
        rescued = Rescued([], [])
        with database.write() as session:
            if is_refused(schema := read_schema(session.connection())):
                log.critical("this worker stops: %s", explain_revision(schema))
                os.kill(os.getpid(), signal.SIGTERM)
                return []
            # In the transaction that rescues: the clock may be set between two.
            self._detect_clock_change(get_database_now(session))
            if time.monotonic() >= self._rescue_from:
                owners = get_lease_owners(session, get_worker_name(os.getpid()))
                # Leases of this process's own dead children need not expire first.
                dead = {owner for owner in owners if not _is_alive(int(owner.rpartition("/")[2]))}
                rescued = rescue_abandoned(session, dead)
        for job_id in rescued.queued:
            log.warning("job %s was abandoned by its worker and goes back into the queue", job_id)
        for job_id in rescued.ended + rescued.resumable:
            log.warning("job %s was abandoned by its worker and has ended", job_id)
        with database.write() as session:
            announce_worker(session, get_worker_name(os.getpid()), processes=self._processes)
        with database.write() as session:
            # Seeds that are added automatically count towards their owner's quotas, as posted ones do.
            session.info["quotas"] = Quotas(self._settings.max_queued_jobs, self._settings.max_flops_per_day)
            added = auto_extend_experiments(session)
        if added:
            log.info("added %d job(s) to experiments that extend themselves", len(added))
        with database.write() as session:
            announce_finished_experiments(session)
        with database.write() as session:
            delete_old_keys(session)
        with database.read() as session:
            undispatched = find_undispatched_jobs(
                session, older_than_seconds=self._settings.redispatch_seconds, limit=_MESSAGES_A_SWEEP
            )
        if undispatched:
            notify_workers(database, self._settings, undispatched, only_if_queue_is_empty=True)
        return rescued.ended

    def _detect_clock_change(self, now: datetime) -> None:
        """After a change of the database's clock, give each worker time to renew its lease."""
        offset = now.timestamp() - time.monotonic()
        change = 0.0 if self._clock_offset is None else offset - self._clock_offset
        self._clock_offset = offset
        if abs(change) > self._settings.lease_seconds / 4:
            log.warning("the database's clock has changed by %.0f s", change)
            self._rescue_from = time.monotonic() + self._settings.lease_seconds


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's process has the number by now: the lease decides
    return True
