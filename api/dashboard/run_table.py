"""An experiment's jobs as a table: a row for each variant and part, a column for each seed, at each point."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean

from api.dashboard.filters import AT_CHANCE, STATE_SYMBOLS
from models.run_key import NO_PART, describe_point, name_variant, parse_point
from models.states import JobState
from models.store.experiment_runs import RunSummary

SHADES = 6


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
    reused: bool = False
    """Whether another experiment trained it."""
    shade: int | None = None
    """From 0 for the lowest accuracy of the table to `SHADES` for the highest; None without a result."""


@dataclass(frozen=True)
class Row:
    """One variant, on a part of the data where there are any."""

    variant: str
    name: str
    """With its part."""
    is_baseline: bool
    cells: tuple[Cell | None, ...]
    """One for each seed; None if there is no job with that seed."""
    mean: str | None
    """Test accuracy over the seeds that all variants with results have, and how many, if not all."""


@dataclass(frozen=True)
class Group:
    """The rows of one point of the axes, or all."""

    title: str
    """The point in words; empty without axes."""
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class RunTable:
    """The jobs of an experiment."""

    seeds: tuple[int, ...]
    groups: tuple[Group, ...]
    common_seeds: int
    """How many seeds have finished in every variant, at every point."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """Those of all groups."""
        return tuple(row for group in self.groups for row in group.rows)


def build_run_table(
    runs: Sequence[RunSummary],
    variants: Sequence[str],
    *,
    baseline: str,
    chance: Collection[str] = (),
    points: Sequence[str] = ("",),
) -> RunTable:
    """The table of the runs at these points, its rows in the order of `points` and `variants`.

    `chance` are the ids of the jobs whose models are no better than guessing.
    """
    seeds = tuple(sorted({run.seed for run in runs}))
    parts = sorted({run.part for run in runs}) or [NO_PART]
    places = list(product(points, parts))
    by_key = {(run.variant, run.point, run.part, run.seed): run for run in runs}
    measured: dict[tuple[str, int], dict[str, set[int]]] = {place: {} for place in places}
    for finished in runs:
        if finished.test_accuracy is not None and finished.point in points:
            measured[finished.point, finished.part].setdefault(finished.variant, set()).add(finished.seed)
    # Means over different seeds would differ by which seeds have finished.
    common = {place: set.intersection(*seeds.values()) for place, seeds in measured.items() if seeds}
    accuracies = [run.test_accuracy for run in runs if run.test_accuracy is not None and run.point in points]
    rows: dict[str, list[Row]] = {point: [] for point in points}
    for point, variant, part in product(points, variants, parts):
        by_seed = [by_key.get((variant, point, part, seed)) for seed in seeds]
        judged = [by_key.get((variant, point, part, seed)) for seed in common.get((point, part), ())]
        rows[point].append(
            Row(
                variant=variant,
                name=variant if part == NO_PART else f"{variant}, part {part}",
                is_baseline=variant == baseline,
                cells=tuple(
                    None if run is None else _build_cell(run, accuracies, at_chance=run.job_id in chance)
                    for run in by_seed
                ),
                mean=_format_mean(judged, len(seeds)),
            )
        )
    groups = (Group(describe_point(parse_point(point)), tuple(items)) for point, items in rows.items())
    complete = [
        set.intersection(*(place.get(variant, set()) for variant in variants)) for place in measured.values()
    ]
    return RunTable(seeds, tuple(groups), len(set.intersection(*complete)))


def _build_cell(run: RunSummary, accuracies: Sequence[float], *, at_chance: bool) -> Cell:
    shade = None
    if run.test_accuracy is not None and run.test_loss is not None:
        facts = [", trained before"] * run.reused + [f", {AT_CHANCE}"] * at_chance
        text = f"{100 * run.test_accuracy:.2f}"
        low, high = min(accuracies), max(accuracies)
        shade = round(SHADES * (run.test_accuracy - low) / (high - low)) if high > low else 0
        details = f"test accuracy {text} %, test loss {run.test_loss:.4f}{''.join(facts)}"
    elif run.state == JobState.RUNNING:
        text = f"{int(100 * run.fraction)} %"
        details = f"running, epoch {run.epochs_done} of {run.epochs}"
    else:
        text = STATE_SYMBOLS[run.state]
        details = f"{run.state}: {run.error}" if run.error else str(run.state)
    name = name_variant(run.variant, parse_point(run.point))
    flag = "chance" if at_chance else ""
    title = f"{name}, seed {run.seed}: {details}"
    return Cell(run.job_id, run.state, text, title, flag, run.reused, shade)


def _format_mean(runs: Sequence[RunSummary | None], seeds: int) -> str | None:
    accuracies = [run.test_accuracy for run in runs if run is not None and run.test_accuracy is not None]
    if not accuracies:
        return None
    mean = f"{100 * fmean(accuracies):.2f}"
    return mean if len(accuracies) == seeds else f"{mean} ({len(accuracies)})"
