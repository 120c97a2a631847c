"""Watching jobs until they end: one loop, whatever the display."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from client.client import Regbench
from client.errors import ProblemError, Unreachable
from client.resources import Job

POLL_SECONDS = 0.5
# A service that is being restarted, or a laptop that slept, is waited for.
PATIENCE_SECONDS = 60.0


class Display(Protocol):
    """Shows how jobs are doing; see client/progress.py."""

    def show(self, job: Job, validation_accuracy: float | None) -> None:
        """Bring what is shown of this job up to date; accuracy is a fraction, None where not yet known."""

    def note(self, message: str) -> None:
        """Say something that concerns no single job."""


@dataclass
class _Watched:
    job: Job
    seen_epoch: int = 0
    validation_accuracy: float | None = None


def follow(
    client: Regbench,
    jobs: Sequence[Job],
    display: Display,
    *,
    check: Callable[[], None] = lambda: None,
    poll_seconds: float = POLL_SECONDS,
    patience_seconds: float = PATIENCE_SECONDS,
) -> list[Job]:
    """Show `jobs` until all have ended; returns them as they then are, in the same order.

    `check` is called at every look and may raise to end the watch.

    Raises:
        Unreachable: the service stayed away longer than `patience_seconds`.
        ProblemError: the service will not tell, for instance because a job was deleted.
    """
    watched = [_Watched(job) for job in jobs]
    patience = _Patience(display, patience_seconds)
    while True:
        check()
        with patience:
            _refresh(client, [each for each in watched if not each.job.state.terminal])
            for each in watched:
                _read_history(client, each)
                display.show(each.job, each.validation_accuracy)
        if all(each.job.state.terminal for each in watched):
            return [each.job for each in watched]
        time.sleep(poll_seconds)


class _Patience:
    """Swallows a service's absence, until it has lasted too long."""

    def __init__(self, display: Display, seconds: float) -> None:
        self._display = display
        self._seconds = seconds
        self._away_since: float | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is None:
            self._away_since = None
            return False
        if not (isinstance(error, Unreachable) or (isinstance(error, ProblemError) and error.temporary)):
            return False
        if self._away_since is None:
            self._away_since = time.monotonic()
            self._display.note(f"{error.message} Waiting for it; the jobs are not affected.")
        return time.monotonic() - self._away_since < self._seconds


def _refresh(client: Regbench, watched: Sequence[_Watched]) -> None:
    """Bring jobs up to date: those of one experiment by one listing, however many they are."""
    together = {each.job.experiment_id for each in watched} - {None}
    fresh = {job.id: job for each in together for job in client.jobs(experiment=each)}
    for each in watched:
        each.job = fresh.get(each.job.id) or client.job(each.job.id)


def _read_history(client: Regbench, watched: _Watched) -> None:
    """Ask for the history, but only when an epoch has been added to it."""
    if watched.job.progress.epoch > watched.seen_epoch:
        for epoch in client.epochs(watched.job.id, after=watched.seen_epoch):
            watched.seen_epoch = epoch.epoch
            watched.validation_accuracy = epoch.validation_accuracy
