"""Polling jobs until they end: one loop, whatever the display."""

import time
from collections.abc import Callable, Collection, Sequence

from regbench.cli.progress import Display
from regbench.client import Regbench
from regbench.errors import ProblemError, Unreachable
from regbench.resources import Epoch, Job, JobState

POLL_SECONDS = 0.5
# The service may be restarted, or the laptop suspended, for as long.
PATIENCE_SECONDS = 60.0
# A key has a limit of requests: many jobs that belong to no experiment are polled less often.
_SECONDS_A_REQUEST = 0.03

_UNFINISHED = [state for state in JobState if not state.terminal]


def poll_until_finished(
    client: Regbench,
    jobs: Sequence[Job],
    display: Display,
    *,
    tuned: Collection[str] = (),
    check: Callable[[], None] = lambda: None,
    poll_seconds: float = POLL_SECONDS,
    patience_seconds: float = PATIENCE_SECONDS,
) -> list[Job]:
    """Show `jobs` until all have ended; returns them as they then are, in the same order.

    `tuned` are experiments whose trials are counted. `check` is called at every poll and may raise to end
    the loop.

    Raises:
        Unreachable: the service stayed away longer than `patience_seconds`.
        ProblemError: the service refuses, for instance because a job was deleted.
    """
    current = {job.id: job for job in jobs}
    histories: dict[str, list[Epoch]] = {job.id: [] for job in jobs}
    patience = _Patience(display, patience_seconds)
    while True:
        check()
        with patience:
            unfinished = [job for job in current.values() if not job.state.terminal]
            # Jobs of one experiment are updated by one listing, however many they are.
            experiments = {job.experiment_id for job in unfinished} - {None}
            listed = {
                job.id: job
                for experiment in experiments
                for job in client.jobs(experiment=experiment, states=_UNFINISHED)
            }
            for job in unfinished:
                # A job that is missing there has ended, and is fetched once more.
                current[job.id] = listed.get(job.id) or client.job(job.id)
            for job in current.values():
                history = histories[job.id]
                last_epoch = history[-1].epoch if history else 0
                if job.progress.epoch > last_epoch:
                    history += client.epochs(job.id, after=last_epoch)
                display.show(job, history)
            if tuned:
                display.show_trials([trial for name in tuned for trial in client.trials(name)])
        unfinished = [job for job in current.values() if not job.state.terminal]
        if not unfinished:
            return list(current.values())
        # Those that belong to no experiment have a request of their own at each poll.
        alone = [job for job in unfinished if job.experiment_id is None]
        time.sleep(max(poll_seconds, len(alone) * _SECONDS_A_REQUEST))


class _Patience:
    """Suppresses errors of an absent service, until it has been away too long."""

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
            self._display.note(f"{error.message} Waiting for it to return; the jobs are not affected.")
        return time.monotonic() - self._away_since < self._seconds
