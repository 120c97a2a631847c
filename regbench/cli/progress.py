"""How jobs are shown while they train: live bars on a terminal, now and then a plain line elsewhere.

Every display gets one job after the other at each poll (`regbench/cli/polling.py`).
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from models.formatting import format_duration
from models.run_key import name_variant
from regbench.base import to_one_line
from regbench.reports import Trial
from regbench.resources import Epoch, Job, JobState

# Without a terminal: at most one line for each job in so many seconds, except for changes of state.
LINE_SECONDS = 10.0
# Rows of a terminal that are left free.
SPARE_ROWS = 3
# A terminal narrower than these many columns shows no sparklines, no bars.
SPARKLINE_COLUMNS, BAR_COLUMNS = 90, 60
_SPARKLINE_WIDTH = 16
_MIN_TITLE_WIDTH = 8
_REFRESHES_PER_SECOND = 4.0

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = "_.-~=+*#"
_SIGNS = {JobState.SUCCEEDED: "✓", JobState.FAILED: "✗", JobState.CANCELLED: "-", JobState.PAUSED: "‖"}
_GRID_SIGNS = _SIGNS | {JobState.QUEUED: "·", JobState.RUNNING: "▸"}
# More jobs of one experiment than these are shown as a grid of variants and seeds.
_MOST_ROWS = 12
STYLES = {JobState.SUCCEEDED: "green", JobState.FAILED: "red", JobState.RUNNING: "cyan"}
# Which states come first where there is no room for all jobs.
_ORDER = ("running", "failed", "queued", "paused", "cancelled", "succeeded")


def make_display(console: Console) -> "Display":
    """Bars where they can move, else lines."""
    return Bars(console) if console.is_terminal and not console.is_dumb_terminal else Lines(console)


class Display:
    """Shows jobs, and on `console` what concerns no single one.

    `planned_trials`: how many settings the experiments that are shown try in tuning.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self.planned_trials = 0
        self._trials = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, job: Job, history: Sequence[Epoch]) -> None:
        """Bring what is shown of this job up to date; `history`: its epochs so far."""
        raise NotImplementedError

    def show_trials(self, trials: Sequence[Trial]) -> None:
        """Print how many trials have ended, if that has changed."""
        text = format_trials(trials, self.planned_trials)
        if text != self._trials:
            self._trials = text
            self.note(text)

    def note(self, message: str) -> None:
        """Print a line as it is: above bars, between lines."""
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)


class Bars(Display):
    """Live rows, those that train first, and a count of all; never more than fit the terminal.

    Colours follow NO_COLOR, as rich does.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._rows: dict[tuple[str, str], tuple[Job, Sequence[Epoch]]] = {}
        self._live = Live(
            self,
            console=console,
            refresh_per_second=_REFRESHES_PER_SECOND,
            vertical_overflow="crop",
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, job: Job, history: Sequence[Epoch]) -> None:
        """Keep the job's row up to date."""
        self._rows[job.id, job.title] = (job, history)

    def show_trials(self, trials: Sequence[Trial]) -> None:
        """Keep the last row up to date."""
        self._trials = format_trials(trials, self.planned_trials)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The rows that fit the terminal's present size."""
        rows = list(self._rows.values())
        max_rows = max((options.height or console.height) - SPARE_ROWS, 1)
        # The sort is stable, so that rows do not jump about.
        visible = (
            sorted(rows, key=lambda row: _ORDER.index(row[0].state))[:max_rows]
            if len(rows) > max_rows
            else rows
        )
        jobs_by_variant = group_by_variant([job for job, _ in rows])
        if len(rows) > _MOST_ROWS and jobs_by_variant:
            yield self._render_grid(jobs_by_variant)
        else:
            yield self._render_table(visible, options)
        if len(rows) > 1:
            jobs = [job for job, _ in rows]
            states = [job.state for job in jobs]
            counts = [f"{states.count(state)} {state}" for state in JobState if state in states]
            # As the service counts an experiment: nothing more is to be done for a job that has failed.
            fractions = [1.0 if job.state.terminal else job.progress.fraction for job in jobs]
            facts = [f"{100 * sum(fractions) / len(jobs):.0f}% done"]
            if self._trials:
                facts.insert(0, self._trials)
            seconds = estimate_seconds_left(jobs)
            if seconds is not None:
                facts.append(f"about {format_duration(seconds)} left")
            full, short = (f"{len(jobs)} jobs: {', '.join(parts)}" for parts in (counts + facts, facts))
            line = full if len(full) <= options.max_width else short
            yield Text(line, style="bold", no_wrap=True, overflow="ellipsis")

    def _render_grid(self, jobs_by_variant: Mapping[str, Sequence[Job]]) -> Table:
        """A row for each variant, a sign for each of its seeds, and how far it is."""
        has_unicode = self._console.encoding.startswith("utf")
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=2, min_width=_MIN_TITLE_WIDTH)
        table.add_column(ratio=3)
        table.add_column(no_wrap=True, justify="right")
        for variant, jobs in jobs_by_variant.items():
            seeds = Text()
            for job in sorted(jobs, key=lambda job: int(job.spec.get("seed") or 0)):
                sign = _GRID_SIGNS[job.state] if has_unicode else str(job.state)[0]
                seeds.append(sign, style=STYLES.get(job.state, ""))
            done = sum(1.0 if job.state.terminal else job.progress.fraction for job in jobs)
            table.add_row(Text(variant), seeds, Text(f"{100 * done / len(jobs):.0f}%"))
        return table

    def _render_table(self, rows: Sequence[tuple[Job, Sequence[Epoch]]], options: ConsoleOptions) -> Table:
        has_unicode = self._console.encoding.startswith("utf")
        with_bars = options.max_width >= BAR_COLUMNS
        with_sparklines = options.max_width >= SPARKLINE_COLUMNS
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(no_wrap=True, width=1)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=3, min_width=_MIN_TITLE_WIDTH)
        if with_bars:
            table.add_column(no_wrap=True, ratio=2)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True, overflow="ellipsis")
        if with_sparklines:
            table.add_column(no_wrap=True, width=_SPARKLINE_WIDTH)
        for job, history in rows:
            state = _SIGNS.get(job.state, "") if has_unicode else str(job.state)[0]
            cells: list[Text | ProgressBar] = [Text(state, style=STYLES.get(job.state, "")), Text(job.title)]
            if with_bars:
                # What has ended needs no bar any more.
                ended = job.state.terminal
                cells.append(Text() if ended else ProgressBar(total=1.0, completed=_get_fraction(job)))
            facts = _describe_job(job, history, short=True)
            if not with_bars:
                # A narrow terminal has room for one: of a running job its accuracy, else its state.
                facts = facts[1:2] if job.state is JobState.RUNNING else facts[:1]
            cells += [Text(f"{100 * _get_fraction(job):.0f}%"), Text(", ".join(facts))]
            if with_sparklines:
                losses = [epoch.validation_loss for epoch in history if epoch.validation_loss is not None]
                line = render_sparkline(losses, _SPARKLINE_WIDTH, encoding=self._console.encoding)
                cells.append(Text(line, style="cyan"))
            table.add_row(*cells)
        return table


class Lines(Display):
    """Plain lines without control characters, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._last: dict[tuple[str, str], tuple[JobState, float]] = {}

    def show(self, job: Job, history: Sequence[Epoch]) -> None:
        """Print the job's line, if its state has changed or its last line is old."""
        now = time.monotonic()
        state, printed_at = self._last.get((job.id, job.title), (None, 0.0))
        if state is job.state and (job.state is not JobState.RUNNING or now - printed_at < LINE_SECONDS):
            return
        self._last[job.id, job.title] = (job.state, now)
        self.note(
            f"{job.title}: " + ", ".join([f"{100 * _get_fraction(job):.0f}%", *_describe_job(job, history)])
        )


class Records(Display):
    """One JSON document a line on stdout whenever a job's state or epoch has changed; messages to stderr."""

    def __init__(self, stdout: Console, stderr: Console) -> None:
        super().__init__(stderr)
        self._stdout = stdout
        self._last: dict[tuple[str, str], tuple[JobState, int]] = {}

    def show(self, job: Job, history: Sequence[Epoch]) -> None:
        """Print the job's line, if its state or epoch has changed."""
        current = (job.state, job.progress.epoch)
        if self._last.get((job.id, job.title)) == current:
            return
        self._last[job.id, job.title] = current
        last = history[-1] if history else None
        record = {
            "id": job.id,
            "name": job.name,
            "state": str(job.state),
            "epoch": job.progress.epoch,
            "epochs": job.progress.epochs,
            "fraction": _get_fraction(job),
            "eta_seconds": job.progress.eta_seconds,
            "validation_loss": last and last.validation_loss,
            "validation_accuracy": last and last.validation_accuracy,
            "error": job.error and job.error.model_dump(),
        }
        # Escapes keep it JSON where the terminal's encoding lacks a character.
        has_unicode = self._stdout.encoding.startswith("utf")
        self._stdout.out(json.dumps(record, ensure_ascii=not has_unicode), highlight=False)


def format_trials(trials: Sequence[Trial], planned: int) -> str:
    """How many of the planned trials have ended; methods that ask in rounds have not begun all of them."""
    ended = [trial for trial in trials if trial.state not in {"queued", "running", "paused"}]
    return f"{len(ended)} of {planned} trials have ended"


def group_by_variant(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    """The jobs of each variant at each point; nothing if they are not several seeds of one experiment's."""
    if not all(job.variant for job in jobs) or len({job.experiment_id for job in jobs}) != 1:
        return {}
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(to_one_line(name_variant(job.variant or "", job.point)), []).append(job)
    return groups if len(groups) < len(jobs) else {}


def render_sparkline(values: Sequence[float], width: int, *, encoding: str) -> str:
    """The values from first to last as a line of blocks, lowest to highest; of many, `width` of them."""
    if not values:
        return ""
    blocks = _BLOCKS if encoding.lower().startswith("utf") else _ASCII_BLOCKS
    if len(values) > width:
        values = [values[round(column * (len(values) - 1) / (width - 1))] for column in range(width)]
    low, high = min(values), max(values)
    steps = (len(blocks) - 1) / (high - low) if high > low else 0.0
    return "".join(blocks[round((value - low) * steps)] for value in values)


def estimate_seconds_left(jobs: Sequence[Job]) -> float | None:
    """Until those that train or wait have ended, if as many continue to train at once.

    A job without an estimate is expected to take as long as the others do on average; None without any.
    """
    running = [job for job in jobs if job.state is JobState.RUNNING]
    waiting = [job for job in jobs if job.state is JobState.QUEUED]
    estimates = [job.progress.eta_seconds for job in running if job.progress.eta_seconds is not None]
    unestimated = [job for job in running if job.progress.eta_seconds is None] + waiting
    # Seconds that a job takes: as those that succeeded did, else as those that train will.
    ended = [job.result.training_seconds for job in jobs if job.result and job.result.training_seconds]
    projected = [
        job.progress.eta_seconds / (1 - job.progress.fraction)
        for job in running
        if job.progress.eta_seconds is not None and job.progress.fraction < 1
    ]
    durations = ended or projected
    mean = sum(durations) / len(durations) if durations else None
    if not running or (unestimated and mean is None):
        return None
    expected = [(1 - job.progress.fraction) * (mean or 0.0) for job in unestimated]
    # However many train at once, the longest determines the end.
    return max([*estimates, sum(estimates + expected) / len(running)])


def _get_fraction(job: Job) -> float:
    # Early stopping ends a job before its last epoch.
    return 1.0 if job.state is JobState.SUCCEEDED else job.progress.fraction


def _describe_job(job: Job, history: Sequence[Epoch], *, short: bool = False) -> list[str]:
    """A job's state, epoch, accuracy and time left; `short` beside a bar, where columns are few."""
    facts = [] if short and job.state is JobState.RUNNING else [str(job.state)]
    facts.append(f"epoch {job.progress.epoch}/{job.progress.epochs}")
    accuracy = history[-1].validation_accuracy if history else None
    if accuracy is not None:
        facts.append(f"{'val. acc.' if short else 'val. accuracy'} {accuracy:.4f}")
    if job.state is JobState.RUNNING and job.progress.eta_seconds is not None:
        facts.append(f"{format_duration(job.progress.eta_seconds)} left")
    return facts
