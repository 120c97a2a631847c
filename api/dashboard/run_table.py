"""An experiment's jobs as a table: a row for each variant, point and part, a column for each seed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean

from api.dashboard.filters import AT_CHANCE, STATE_SYMBOLS
from models.run_key import NO_PART, format_place
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
    flag: str = ""
    """A word of warning about the result."""


@dataclass(frozen=True)
class Row:
    """One variant, at a point of the axes and on a part of the data, where there are any."""

    variant: str
    name: str
    """With its point and part."""
    is_baseline: bool
    cells: tuple[Cell | None, ...]
    """One for each seed; None if there is no job with that seed."""
    mean: str | None
    """Test accuracy over the seeds that all variants with results have, and how many, if not all."""


@dataclass(frozen=True)
class RunTable:
    """All jobs of an experiment."""

    seeds: tuple[int, ...]
    rows: tuple[Row, ...]


def build_run_table(
    runs: Sequence[RunSummary], variants: Sequence[str], *, baseline: str, chance: Collection[str] = ()
) -> RunTable:
    """The table of these runs, its rows in the order of `variants`.

    `chance` are the ids of the jobs whose models are no better than guessing.
    """
    seeds = tuple(sorted({run.seed for run in runs}))
    places = sorted({(run.point, run.part) for run in runs}) or [("", NO_PART)]
    by_key = {(run.variant, run.point, run.part, run.seed): run for run in runs}
    measured: dict[tuple[str, int], dict[str, set[int]]] = {place: {} for place in places}
    for finished in runs:
        if finished.test_accuracy is not None:
            measured[finished.point, finished.part].setdefault(finished.variant, set()).add(finished.seed)
    # Means over different seeds would differ by which seeds have finished.
    common = {place: set.intersection(*seeds.values()) for place, seeds in measured.items() if seeds}
    rows = []
    for variant, (point, part) in product(variants, places):
        cells: list[Cell | None] = []
        for seed in seeds:
            run = by_key.get((variant, point, part, seed))
            if run is None:
                cells.append(None)
                continue
            if run.test_accuracy is not None and run.test_loss is not None:
                reused = ", trained before" if run.reused else ""
                reused += f", {AT_CHANCE}" if run.job_id in chance else ""
                text = f"{100 * run.test_accuracy:.2f}"
                details = f"test accuracy {text} %, test loss {run.test_loss:.4f}{reused}"
            elif run.state == JobState.RUNNING:
                text = f"{int(100 * run.fraction)} %"
                details = f"running, epoch {run.epochs_done} of {run.epochs}"
            else:
                text = STATE_SYMBOLS[run.state]
                details = f"{run.state}: {run.error}" if run.error else str(run.state)
            title = f"{run.variant}, seed {run.seed}: {details}"
            cells.append(Cell(run.job_id, run.state, text, title, "chance" if run.job_id in chance else ""))
        rows.append(
            Row(
                variant=variant,
                name=", ".join([variant, *format_place(point, part)]),
                is_baseline=variant == baseline,
                cells=tuple(cells),
                mean=_format_mean(
                    [by_key.get((variant, point, part, seed)) for seed in common.get((point, part), ())],
                    len(seeds),
                ),
            )
        )
    return RunTable(seeds, tuple(rows))


def _format_mean(runs: Sequence[RunSummary | None], seeds: int) -> str | None:
    accuracies = [run.test_accuracy for run in runs if run is not None and run.test_accuracy is not None]
    if not accuracies:
        return None
    mean = f"{100 * fmean(accuracies):.2f}"
    return mean if len(accuracies) == seeds else f"{mean} ({len(accuracies)})"
