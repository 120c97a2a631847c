"""An experiment's jobs as a table: a row for each variant, a column for each seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from api.dashboard.filters import STATE_SYMBOLS
from models.states import JobState
from models.store.experiment_runs import RunSummary


@dataclass(frozen=True)
class Cell:
    """One job."""

    job_id: str
    state: JobState
    text: str
    """Its accuracy, its progress, or the symbol of its state."""
    title: str
    """The same in words."""
    best: bool


@dataclass(frozen=True)
class Row:
    """One variant."""

    variant: str
    is_baseline: bool
    cells: tuple[Cell | None, ...]
    """One for each seed; None if the variant has no job with that seed."""
    mean: str | None
    """Of the test accuracies so far."""


@dataclass(frozen=True)
class RunTable:
    """All jobs of an experiment."""

    seeds: tuple[int, ...]
    rows: tuple[Row, ...]


def build_run_table(runs: Sequence[RunSummary], variants: Sequence[str], *, baseline: str) -> RunTable:
    """The table of these runs, its rows in the order of `variants`."""
    seeds = tuple(sorted({run.seed for run in runs}))
    by_variant_and_seed = {(run.variant, run.seed): run for run in runs}
    best = max((run.test_accuracy for run in runs if run.test_accuracy is not None), default=None)
    rows = []
    for variant in variants:
        row_runs = [by_variant_and_seed.get((variant, seed)) for seed in seeds]
        accuracies = [run.test_accuracy for run in row_runs if run and run.test_accuracy is not None]
        rows.append(
            Row(
                variant=variant,
                is_baseline=variant == baseline,
                cells=tuple(None if run is None else _build_cell(run, best) for run in row_runs),
                mean=f"{100 * fmean(accuracies):.2f}" if accuracies else None,
            )
        )
    return RunTable(seeds, tuple(rows))


def _build_cell(run: RunSummary, best_accuracy: float | None) -> Cell:
    if run.test_accuracy is not None and run.test_loss is not None:
        reused = ", trained before" if run.reused else ""
        text = f"{100 * run.test_accuracy:.2f}"
        details = f"test accuracy {text} %, test loss {run.test_loss:.4f}{reused}"
    elif run.state == JobState.RUNNING:
        text = f"{int(100 * run.fraction)} %"
        details = f"running, epoch {run.epochs_done} of {run.epochs}"
    else:
        text = STATE_SYMBOLS[run.state]
        details = f"{run.state}: {run.error}" if run.error else str(run.state)
    return Cell(
        job_id=run.job_id,
        state=run.state,
        text=text,
        title=f"{run.variant}, seed {run.seed}: {details}",
        best=best_accuracy is not None and run.test_accuracy == best_accuracy,
    )
