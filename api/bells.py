"""The doorbell for what was just submitted, rung once for all that is stored while it rings."""

import asyncio
from collections.abc import Sequence

from fastapi.concurrency import run_in_threadpool

from models import dispatch
from models.settings import Settings
from models.store.database import Database

_GATHERING_SECONDS = 0.02
"""How long a ring waits for others: far less than a worker needs to begin, and time for a few under load."""


class Bells:
    """Rings for jobs after their commit: one request rings, others leave their jobs to it.

    A ring writes to the broker and to the database; one for each of a hundred requests would take longer than
    storing their jobs. Used from its event loop only.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings
        self._waiting: list[str] = []
        self._ringing = False

    async def ring(self, job_ids: Sequence[str]) -> None:
        """Ring for these jobs, or leave them to whoever rings now; if the broker is away, that is logged."""
        self._waiting += job_ids
        if self._ringing:
            return
        self._ringing = True
        try:
            while self._waiting:
                await asyncio.sleep(_GATHERING_SECONDS)
                waiting, self._waiting = self._waiting, []
                await run_in_threadpool(dispatch.ring, self._database, self._settings, waiting)
        finally:
            self._ringing = False
