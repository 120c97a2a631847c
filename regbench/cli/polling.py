"""Watching jobs until they end: one loop, whatever the display."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from regbench.client import Regbench
from regbench.errors import ProblemError, Unreachable
from regbench.resources import Epoch, Job, JobState

POLL_SECONDS = 0.5
# A service that is being restarted, or a laptop that slept, is waited for.
PATIENCE_SECONDS = 60.0
# A key has a limit of requests: many jobs that belong to no experiment are looked at less often.
_SECONDS_A_REQUEST = 0.03

_GOING_ON = [state for state in JobState if not state.terminal]


class Display(Protocol):
    """Shows how jobs are doing; see regbench/cli/progress.py."""

    def show(self, job: Job, history: Sequence[Epoch]) -> None:
        """Bring what is shown of this job up to date; `history`: its epochs so far."""

    def note(self, message: str) -> None:
        """Say something that concerns no single job."""


@dataclass
class _Watched:
    job: Job
    history: list[Epoch] = field(default_factory=list)

    @property
    def seen_epoch(self) -> int:
        return self.history[-1].epoch if self.history else 0


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
                display.show(each.job, each.history)
        if all(each.job.state.terminal for each in watched):
            return [each.job for each in watched]
        time.sleep(max(poll_seconds, _asked_alone(watched) * _SECONDS_A_REQUEST))


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


def _asked_alone(watched: Sequence[_Watched]) -> int:
    """How many jobs have a request of their own at each look."""
    return sum(not each.job.state.terminal and each.job.experiment_id is None for each in watched)


def _refresh(client: Regbench, watched: Sequence[_Watched]) -> None:
    """Bring jobs up to date: those of one experiment by one listing, however many they are."""
    together = {each.job.experiment_id for each in watched} - {None}
    # What is missing there has ended, and is asked for once.
    fresh = {job.id: job for each in together for job in client.jobs(experiment=each, states=_GOING_ON)}
    for each in watched:
        each.job = fresh.get(each.job.id) or client.job(each.job.id)


def _read_history(client: Regbench, watched: _Watched) -> None:
    """Ask for the history, but only when an epoch has been added to it."""
    if watched.job.progress.epoch > watched.seen_epoch:
        watched.history += client.epochs(watched.job.id, after=watched.seen_epoch)
