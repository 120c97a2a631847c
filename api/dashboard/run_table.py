"""An experiment's jobs as a table: a row for each variant, a column for each seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from api.dashboard.filters import SIGNS
from models.states import JobState
from models.store.experiment_runs import RunGlance


@dataclass(frozen=True)
class Cell:
    """One job."""

    job_id: str
    state: JobState
    text: str
    """What stands in the cell: its accuracy, how far it is, or the sign of its state."""
    title: str
    """The same in words."""
    percent: int
    best: bool


@dataclass(frozen=True)
class Row:
    """One variant."""

    variant: str
    is_baseline: bool
    cells: tuple[Cell | None, ...]
    """One a seed; None where there is no job of that seed."""
    mean: str | None
    """Of the test accuracies that there are."""


@dataclass(frozen=True)
class Grid:
    """All jobs of an experiment."""

    seeds: tuple[int, ...]
    rows: tuple[Row, ...]


def grid(glances: Sequence[RunGlance], variants: Sequence[str], *, baseline: str) -> Grid:
    """The table of these jobs, its rows in the order of `variants`."""
    seeds = tuple(sorted({glance.seed for glance in glances}))
    by_place = {(glance.variant, glance.seed): glance for glance in glances}
    best = max((glance.test_accuracy for glance in glances if glance.test_accuracy is not None), default=None)
    return Grid(
        seeds=seeds,
        rows=tuple(
            _row(name, [by_place.get((name, seed)) for seed in seeds], name == baseline, best)
            for name in variants
        ),
    )


def _row(variant: str, places: Sequence[RunGlance | None], is_baseline: bool, best: float | None) -> Row:
    accuracies = [place.test_accuracy for place in places if place and place.test_accuracy is not None]
    return Row(
        variant=variant,
        is_baseline=is_baseline,
        cells=tuple(None if place is None else _cell(place, best) for place in places),
        mean=f"{100 * fmean(accuracies):.2f}" if accuracies else None,
    )


def _cell(glance: RunGlance, best: float | None) -> Cell:
    return Cell(
        job_id=glance.job_id,
        state=glance.state,
        text=_text(glance),
        title=f"{glance.variant}, seed {glance.seed}: {_words(glance)}",
        percent=int(100 * glance.fraction),
        best=best is not None and glance.test_accuracy == best,
    )


def _text(glance: RunGlance) -> str:
    if glance.test_accuracy is not None:
        return f"{100 * glance.test_accuracy:.2f}"
    if glance.state == JobState.RUNNING:
        return f"{int(100 * glance.fraction)} %"
    return SIGNS[glance.state]


def _words(glance: RunGlance) -> str:
    if glance.test_accuracy is not None and glance.test_loss is not None:
        trained = ", trained before" if glance.reused else ""
        return f"test accuracy {100 * glance.test_accuracy:.2f} %, test loss {glance.test_loss:.4f}{trained}"
    if glance.state == JobState.RUNNING:
        return f"running, epoch {glance.epochs_done} of {glance.epochs}"
    return f"{glance.state}: {glance.error}" if glance.error else str(glance.state)
