"""How jobs are shown while they train: live bars on a terminal, now and then a plain line elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from client.resources import Job
from models.states import JobState

# Without a terminal: at most one line for each job in so many seconds, but for changes of state.
LINE_SECONDS = 10.0
# More bars than these do not fit a terminal: then only the jobs that train have one.
MOST_BARS = 12


def display_on(console: Console) -> "Bars | Lines":
    """Bars where they can move, else lines."""
    return Bars(console) if console.is_terminal and not console.is_dumb_terminal else Lines(console)


class Bars:
    """One live bar for each job. Colours follow NO_COLOR, as rich does."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %", markup=False),
            TextColumn("{task.fields[facts]}", markup=False),
            console=console,
            expand=True,
        )
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, job: Job, validation_accuracy: float | None) -> None:
        """Move the job's bar."""
        if job.id not in self._bars:
            self._bars[job.id] = self._progress.add_task(job.title, total=1.0, facts="")
        self._progress.update(
            self._bars[job.id],
            completed=_fraction(job),
            # A moving bar says that much itself, and 80 columns are few.
            facts=", ".join(_facts(job, validation_accuracy)).removeprefix("running, "),
            visible=job.state is JobState.RUNNING or len(self._bars) <= MOST_BARS,
        )

    def note(self, message: str) -> None:
        """Print above the bars."""
        self._progress.console.print(message, markup=False, highlight=False, soft_wrap=True)


class Lines:
    """Plain lines without control characters, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, tuple[JobState, float]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, job: Job, validation_accuracy: float | None) -> None:
        """Print the job's line, if its state has changed or its last line is old."""
        now = time.monotonic()
        state, printed_at = self._last.get(job.id, (None, 0.0))
        if state is job.state and (job.state is not JobState.RUNNING or now - printed_at < LINE_SECONDS):
            return
        self._last[job.id] = (job.state, now)
        facts = _facts(job, validation_accuracy)
        self.note(f"{job.title}: " + ", ".join([f"{100 * _fraction(job):.0f} %", *facts]))

    def note(self, message: str) -> None:
        """Print a line."""
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)


def _fraction(job: Job) -> float:
    # Early stopping ends a job before its last epoch: done is done.
    return 1.0 if job.state is JobState.SUCCEEDED else job.progress.fraction


def _facts(job: Job, validation_accuracy: float | None) -> list[str]:
    """What is known of a job, in words."""
    facts = [str(job.state), f"epoch {job.progress.epoch}/{job.progress.epochs}"]
    if validation_accuracy is not None:
        facts.append(f"val. accuracy {validation_accuracy:.4f}")
    if job.state is JobState.RUNNING and job.progress.eta_seconds is not None:
        facts.append(f"{job.progress.eta_seconds:.0f} s left")
    return facts
