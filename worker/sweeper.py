"""The watch over jobs whose worker or whose doorbell is gone, kept by every worker's parent process."""

import logging
import os
import time
from threading import Event, Thread

from models.artifacts import ArtifactStore
from models.dispatch import notify_workers
from models.errors import ServiceUnavailable
from models.retention import find_useless_files
from models.settings import Settings
from models.store.auto_extend import auto_extend_experiments
from models.store.database import Database
from models.store.idempotency import delete_old_keys
from models.store.rescue import find_undispatched_jobs, get_lease_owners, rescue_abandoned
from worker.fork_safety import fork_safe_database
from worker.lease import get_worker_name

log = logging.getLogger(__name__)

# Enough to keep a large worker busy, and few enough that a long queue is not rung for again and again.
_BELLS_A_SWEEP = 32
_PRUNE_SECONDS = 3_600.0


class Sweeper:
    """Sweeps every few seconds, in a thread, until it is stopped. Many may run at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopped = Event()
        self._rescue_from = self._prune_from = 0.0
        self._thread = Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin, with the first sweep at once."""
        self._thread.start()

    def stop(self) -> None:
        """Sweep no more."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.sweep()
            except Exception:
                # A fault in one sweep must not end the watch.
                log.exception("a sweep failed")
            self._stopped.wait(self._settings.sweep_seconds)

    def sweep(self) -> None:
        """Rescue abandoned jobs, ring again for those that nobody has heard of, and clear up now and then."""
        try:
            with fork_safe_database(self._settings) as database:
                ended = self._sweep(database)
            # Files without the database: a slow store must not keep the worker from forking.
            for job_id in ended:
                ArtifactStore(self._settings).delete_checkpoints(job_id)
            if time.monotonic() >= self._prune_from:
                self._prune_from = time.monotonic() + _PRUNE_SECONDS
                self._prune(ArtifactStore(self._settings))
        except ServiceUnavailable as error:
            log.warning("%s", error.message)
            # While the database was away no worker could renew its lease; each gets time to do so.
            self._rescue_from = time.monotonic() + self._settings.lease_seconds

    def _prune(self, store: ArtifactStore) -> None:
        files = store.list_files()
        with fork_safe_database(self._settings) as database:
            useless, _ = find_useless_files(database, files, days=self._settings.keep_artifacts_days)
        store.remove_files(useless)
        if useless:
            log.info("%d file(s) of jobs that have ended were removed", len(useless))

    def _sweep(self, database: Database) -> list[str]:
        """Returns the jobs that it has brought to their end."""
        ended: list[str] = []
        if time.monotonic() >= self._rescue_from:
            with database.write() as session:
                rescued = rescue_abandoned(
                    session, _dead(get_lease_owners(session, get_worker_name(os.getpid())))
                )
            for job_id in rescued.queued:
                log.warning("job %s was abandoned by its worker and waits for another", job_id)
            for job_id in rescued.ended:
                log.warning("job %s was abandoned by its worker and has ended", job_id)
            ended = rescued.ended
        with database.write() as session:
            added = auto_extend_experiments(session)
        if added:
            log.info("%d job(s) were added to experiments that ask for closer answers", len(added))
        with database.write() as session:
            delete_old_keys(session)
        with database.read() as session:
            unheard = find_undispatched_jobs(
                session, older_than_seconds=self._settings.redispatch_seconds, limit=_BELLS_A_SWEEP
            )
        if unheard:
            notify_workers(database, self._settings, unheard, only_if_queue_is_empty=True)
        return ended


def _dead(holders: list[str]) -> set[str]:
    """Those of this process's children that are no more: nobody need wait for their leases to run out."""
    return {holder for holder in holders if not _alive(int(holder.rpartition("/")[2]))}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's process has the number by now: its lease decides
    return True
