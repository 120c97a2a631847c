"""The doorbell for what was just submitted, rung once for all that is stored while it rings."""

from collections.abc import Sequence
from threading import Lock

from models import doorbell
from models.database import Database
from models.settings import Settings


class Bells:
    """Rings for jobs after their commit, from many threads: one rings, the others leave their jobs to it.

    A ring writes to the broker and to the database; one for each of a hundred requests would take longer than
    storing their jobs.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings
        self._lock = Lock()
        self._waiting: list[str] = []
        self._ringing = False

    def ring(self, job_ids: Sequence[str]) -> None:
        """Ring for these jobs, or leave them to whoever rings now; if the broker is away, that is logged."""
        with self._lock:
            self._waiting += job_ids
            if self._ringing:
                return
            self._ringing = True
        try:
            while waiting := self._taken():
                doorbell.ring(self._database, self._settings, waiting)
        except BaseException:
            with self._lock:
                self._ringing = False
            raise

    def _taken(self) -> list[str]:
        """What waits; if nothing does, this thread rings no more."""
        with self._lock:
            taken, self._waiting = self._waiting, []
            self._ringing = bool(taken)
            return taken
