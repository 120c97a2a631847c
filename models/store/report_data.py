"""What a report reads of many jobs, in a number of queries that does not grow with them."""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Integer, case, cast, func, literal_column, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from models.dataset_spec import DatasetSpec
from models.run_key import Purpose
from models.states import JobState
from models.store.datasets import find_class_names
from models.store.sql_functions import make_table
from models.store.tables import Epoch, Job, Result, Run

_METRICS = {
    "train_loss": Epoch.train_loss,
    "train_accuracy": Epoch.train_accuracy,
    "validation_loss": Epoch.validation_loss,
    "validation_accuracy": Epoch.validation_accuracy,
    "gap_loss": Epoch.validation_loss - Epoch.train_loss,
}


@dataclass(frozen=True)
class RunVersion:
    """A run as far as it tells whether a report would be the same."""

    row: tuple[Any, ...]
    """Its place in the experiment, whether it is reused, its job and that job's version."""
    state: JobState


def get_run_versions(session: Session, experiment_id: str) -> list[RunVersion]:
    """The versions of an experiment's runs, in a fixed order."""
    places = Run.variant, Run.seed, Run.point, Run.part, Run.purpose
    query = (
        select(*places, Run.reused, Job.id, Job.version, Job.state)
        .join(Job, Job.id == Run.job_id)
        .where(Run.experiment_id == experiment_id)
        .order_by(*places)
    )
    return [RunVersion((*row,), JobState(state)) for *row, state in session.execute(query)]


@dataclass(frozen=True)
class Spread:
    """One metric over jobs; the standard deviation (n - 1) needs two."""

    n: int
    mean: float
    sd: float | None


@dataclass(frozen=True)
class EpochSummary:
    """One epoch over the jobs of a variant that reached it; None without validation images."""

    epoch: int
    train_loss: Spread
    train_accuracy: Spread
    validation_loss: Spread | None
    validation_accuracy: Spread | None
    gap_loss: Spread | None
    """Validation minus training loss, of each job."""
    validation_loss_by_half: tuple[float | None, float | None] = (None, None)
    """Means over every other job from the first on, and over the rest."""


def load_summaries(session: Session, variants: Mapping[str, Sequence[str]]) -> dict[str, list[EpochSummary]]:
    """Each variant's epochs over its jobs, given by their ids: one query, one row an epoch and variant."""
    names = list(variants)
    # One parameter, however many jobs there are: databases limit how many a statement may have.
    codes = {
        job_id: str(2 * index + position % 2)
        for index, name in enumerate(names)
        for position, job_id in enumerate(variants[name])
    }
    table = make_table(codes)
    code, two = cast(table.c.value, Integer), literal_column("2", Integer)
    variant = (code // two).label("variant")
    sums = [
        aggregate
        for column in _METRICS.values()
        for aggregate in (func.count(column), func.sum(column), func.sum(column * column))
    ]
    halves = [func.avg(case((code % two == half, Epoch.validation_loss))) for half in (0, 1)]
    query = (
        select(variant, Epoch.epoch, *halves, *sums)
        .join(table, table.c.key == Epoch.job_id)
        .group_by(variant, Epoch.epoch)
        .order_by(variant, Epoch.epoch)
    )
    summaries: dict[str, list[EpochSummary]] = {name: [] for name in names}
    for variant_index, epoch, first_half, second_half, *values in session.execute(query):
        spreads: dict[str, Any] = {}
        for index, metric in enumerate(_METRICS):
            n, total, squares = values[3 * index : 3 * index + 3]
            if total is None or squares is None:
                spreads[metric] = None
                continue
            # What the subtraction can lose is less than the last digit of the values, which were computed in
            # single precision; below that, jobs that agree would seem to differ by the sums' own rounding.
            deviations = squares - total * total / n
            if deviations < n * sys.float_info.epsilon * squares:
                deviations = 0.0
            spreads[metric] = Spread(n, total / n, math.sqrt(deviations / (n - 1)) if n > 1 else None)
        summaries[names[variant_index]].append(
            EpochSummary(epoch, **spreads, validation_loss_by_half=(first_half, second_half))
        )
    return summaries


def load_exact_summaries(
    session: Session, variants: Mapping[str, Sequence[str]]
) -> dict[str, list[EpochSummary]]:
    """The same as `load_summaries`, to the last bit whatever the database and the order of its rows."""
    ids = [job_id for job_ids in variants.values() for job_id in job_ids]
    table = make_table(dict.fromkeys(ids, ""))
    rows: dict[tuple[str, int], Epoch] = {
        (epoch.job_id, epoch.epoch): epoch
        for epoch in session.scalars(select(Epoch).join(table, table.c.key == Epoch.job_id))
    }
    summaries: dict[str, list[EpochSummary]] = {}
    for name, job_ids in variants.items():
        numbers = sorted({number for job_id, number in rows if job_id in set(job_ids)})
        summaries[name] = []
        for number in numbers:
            halves: tuple[list[Epoch], list[Epoch]] = ([], [])
            for position, job_id in enumerate(job_ids):
                if (job_id, number) in rows:
                    halves[position % 2].append(rows[job_id, number])
            epochs = halves[0] + halves[1]
            spreads = {metric: _compute_spread(epochs, metric) for metric in _METRICS}
            losses = (_compute_spread(half, "validation_loss") for half in halves)
            first, second = (spread and spread.mean for spread in losses)
            summaries[name].append(
                EpochSummary(number, **spreads, validation_loss_by_half=(first, second))  # type: ignore[arg-type]  # training metrics are never null
            )
    return summaries


def _compute_spread(epochs: Sequence[Epoch], metric: str) -> Spread | None:
    if metric == "gap_loss":
        values = [
            epoch.validation_loss - epoch.train_loss for epoch in epochs if epoch.validation_loss is not None
        ]
    else:
        values = [value for epoch in epochs if (value := getattr(epoch, metric)) is not None]
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return Spread(len(values), mean, math.sqrt(squares / (len(values) - 1)) if len(values) > 1 else None)


def load_losses(session: Session, epochs: Mapping[str, int]) -> dict[str, tuple[float | None, float]]:
    """Of each job its validation and training loss after one epoch, where it reached that: one query."""
    table = make_table({job_id: str(epoch) for job_id, epoch in epochs.items()})
    query = select(Epoch.job_id, Epoch.validation_loss, Epoch.train_loss).join(
        table, (table.c.key == Epoch.job_id) & (cast(table.c.value, Integer) == Epoch.epoch)
    )
    return {job_id: (validation, train) for job_id, validation, train in session.execute(query)}


def load_best_epochs(
    session: Session, job_ids: Iterable[str], metric: str, *, lower: bool
) -> dict[str, float]:
    """Of each job the best value of a validation metric over its epochs, where it has one: one query."""
    table, column = make_table(dict.fromkeys(job_ids, "")), getattr(Epoch, metric)
    best = func.min(column) if lower else func.max(column)
    query = select(Epoch.job_id, best).join(table, table.c.key == Epoch.job_id).group_by(Epoch.job_id)
    return {job_id: value for job_id, value in session.execute(query) if value is not None}


def load_first_epochs(
    session: Session, job_ids: Iterable[str], metric: str, target: float, *, lower: bool
) -> dict[str, tuple[int, float]]:
    """Of each job that reaches a target the first epoch that does, and the seconds until its end."""
    table, column = make_table(dict.fromkeys(job_ids, "")), getattr(Epoch, metric)
    first = (
        select(Epoch.job_id, func.min(Epoch.epoch).label("epoch"))
        .join(table, table.c.key == Epoch.job_id)
        .where(column <= target if lower else column >= target)
        .group_by(Epoch.job_id)
        .subquery()
    )
    query = (
        select(first.c.job_id, first.c.epoch, func.sum(Epoch.seconds))
        .join(Epoch, (Epoch.job_id == first.c.job_id) & (Epoch.epoch <= first.c.epoch))
        .group_by(first.c.job_id, first.c.epoch)
    )
    return {job_id: (epoch, seconds) for job_id, epoch, seconds in session.execute(query)}


@dataclass(frozen=True)
class DatasetUse:
    """What a report says of a dataset besides its sizes."""

    judged_models: int
    """How many models were measured on its test images, of those that the session may see."""
    class_names: list[str] | None
    """Null where classes are called as they are numbered."""


def load_dataset_uses(session: Session, owner: str, datasets: Iterable[DatasetSpec]) -> dict[str, DatasetUse]:
    """Of each dataset, by name, its test images by their digest; uploaded ones are the owner's."""
    uses: dict[str, DatasetUse] = {}
    for dataset in sorted(set(datasets), key=lambda dataset: dataset.name):
        query = select(func.count()).select_from(Job)
        if dataset.content is None:
            # Nothing else can have a built-in dataset's name.
            query = query.where(Job.dataset == dataset.name, Job.state == JobState.SUCCEEDED)
        else:
            query = query.join(Result).where(Result.dataset_sha256 == dataset.content.digest)
        # Each of the two counts reads an index only.
        tuning = session.scalar(query.where(Job.purpose == Purpose.TUNE)) or 0
        judged = (session.scalar(query) or 0) - tuning
        uses[dataset.name] = DatasetUse(judged, find_class_names(session, owner, dataset))
    return uses


def load_deferred(session: Session, results: Iterable[Result], column: str) -> None:
    """Fill a deferred column of rows that were read without it, in one query."""
    by_job = {result.job_id: result for result in results}
    table = make_table(dict.fromkeys(by_job, ""))
    query = select(Result.job_id, getattr(Result, column)).join(table, table.c.key == Result.job_id)
    for job_id, value in session.execute(query):
        set_committed_value(by_job[job_id], column, value)
