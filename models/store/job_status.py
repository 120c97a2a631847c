"""What is polled about jobs that clients follow: whether they have changed, and what is new."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import BigInteger, Row, Select, bindparam, cast, func, select
from sqlalchemy.orm import Session
from sqlalchemy.types import JSON

from models.states import JobState
from models.store.database import Database
from models.store.sql_functions import JsonEntries, make_table
from models.store.tables import Epoch, Event, Experiment, Job, Run

_MOST_EPOCHS = 200
"""Of one job's history, what is read at once."""


@dataclass(frozen=True)
class JobStatus:
    """What tells whether a job has changed, and how far it is."""

    id: str
    owner: str
    version: int
    state: JobState
    epochs_done: int
    epochs: int
    fraction: float
    eta_seconds: float | None
    retry_of: str | None


@dataclass(frozen=True)
class ExperimentStatus:
    """What tells whether an experiment has changed: any of its jobs, or only the states they are in."""

    id: str
    version: int
    progress_key: str


def format_progress_key(counts: Mapping[JobState, int], *, auto_extending: bool) -> str:
    """How many jobs are in each state, and whether seeds may be added: as much as a long poll waits for."""
    return "-".join(str(counts.get(state, 0)) for state in JobState) + ("-more" if auto_extending else "")


def get_experiment_statuses(session: Session, experiment_ids: Collection[str]) -> dict[str, ExperimentStatus]:
    """The status of each of the experiments that exist, in one query."""
    query = (
        select(
            Experiment.id,
            Experiment.auto_extending,
            Job.state,
            func.count(Job.id).label("jobs"),
            func.sum(Job.version).label("versions"),
        )
        .outerjoin(Run, Run.experiment_id == Experiment.id)
        .outerjoin(Job, Job.id == Run.job_id)
        .where(Experiment.id.in_(experiment_ids))
        .group_by(Experiment.id, Experiment.auto_extending, Job.state)
    )
    rows: dict[str, list[Any]] = {}
    for row in session.execute(query):
        rows.setdefault(row.id, []).append(row)
    statuses = {}
    for experiment_id, states in rows.items():
        counts = {JobState(row.state): row.jobs for row in states if row.state is not None}
        key = format_progress_key(counts, auto_extending=states[0].auto_extending)
        version = hash((key, sum(row.versions or 0 for row in states)))
        statuses[experiment_id] = ExperimentStatus(experiment_id, version, key)
    return statuses


@dataclass(frozen=True)
class StreamCursor:
    """How much of a job's history a client has: its events and its epochs up to these."""

    event: int = 0
    epoch: int = 0


@dataclass
class History:
    """What is new of one job's history."""

    events: list[Event] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    complete: bool = True
    """Whether there are no more epochs than were read at once."""


def get_status(session: Session, job_id: str) -> JobStatus | None:
    """The status of a job; None if there is no such job."""
    row = session.execute(_build_status().where(Job.id == job_id)).one_or_none()
    return _read(row) if row else None


def get_statuses(session: Session, job_ids: Collection[str]) -> dict[str, JobStatus]:
    """The status of each of the jobs that exist, in one query."""
    table = make_table(dict.fromkeys(job_ids, ""))
    rows = session.execute(_build_status().join(table, table.c.key == Job.id))
    return {row.id: _read(row) for row in rows}


def get_histories(session: Session, positions: Mapping[str, StreamCursor]) -> dict[str, History]:
    """What each job's history has after the cursor, in two queries."""
    histories = {job_id: History() for job_id in positions}
    seen = make_table({job_id: str(position.event) for job_id, position in positions.items()})
    is_new = (seen.c.key == Event.job_id) & (Event.id > cast(seen.c.value, BigInteger))
    for event in session.scalars(select(Event).join(seen, is_new).order_by(Event.id)):
        histories[event.job_id].events.append(event)
    seen = make_table({job_id: str(position.epoch) for job_id, position in positions.items()})
    reached = cast(seen.c.value, BigInteger)
    is_new = (Epoch.epoch > reached) & (Epoch.epoch <= reached + _MOST_EPOCHS)
    epochs = select(Epoch).join(seen, (seen.c.key == Epoch.job_id) & is_new).order_by(Epoch.epoch)
    # Read after the events: a client that gets a job's end has got all its epochs.
    for epoch in session.scalars(epochs):
        histories[epoch.job_id].epochs.append(epoch)
    for history in histories.values():
        history.complete = len(history.epochs) < _MOST_EPOCHS
    return histories


def get_epochs_version(session: Session, job_id: str, *, after: int = 0) -> str:
    """A version that changes whenever `get_epochs` returns something else.

    Only a later attempt rewrites an epoch, which changes the sum of attempts.
    """
    count, attempts = session.execute(
        select(func.count(), func.sum(Epoch.attempt)).where(Epoch.job_id == job_id, Epoch.epoch > after)
    ).one()
    return f"{count}-{attempts or 0}"


def fetch_statuses(database: Database, job_ids: Collection[str]) -> dict[str, JobStatus]:
    """The status of each of the jobs that exist, of any owner, without a session: the most frequent query."""
    rows = database.fetch_rows(_SELECT_STATUSES, jobs=dict.fromkeys(job_ids, ""))
    return {row.id: _read(row) for row in rows}


def _build_status() -> Select[Any]:
    return select(*(getattr(Job, item.name) for item in fields(JobStatus)))


def _read(row: Row[Any]) -> JobStatus:
    return JobStatus(**row._asdict() | {"state": JobState(row.state)})


# Built once: building a query takes longer than executing it.
_REQUESTED = JsonEntries(bindparam("jobs", type_=JSON)).table_valued("key", "value")
_SELECT_STATUSES = _build_status().join(_REQUESTED, _REQUESTED.c.key == Job.id)
