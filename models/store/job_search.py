"""Pages of jobs: found, ordered and cut in the database, in a time that does not grow with the table.

A list is read from an index that holds it in order, and each job found there is looked up for the rest of
the question. Which index: that of the field that fewest jobs fit, as far as a short count tells. Left to
themselves, databases choose by averages, and read the whole table where those mislead.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    inspect,
    or_,
    select,
    true,
    tuple_,
    union,
)
from sqlalchemy.orm import Session, aliased

from models.states import JobState
from models.store.database import UNFILTERED
from models.store.tables import Job, JobLabel, JobTechnique, Result, Run

_FEW = 2_000
"""So many jobs are looked up and sorted in a few milliseconds, whatever their order."""
_COUNTED = 6_000
"""How far the fields of a question are counted, to see which of them fewest jobs fit."""

_ALIASES: dict[Any, Any] = {table: aliased(table) for table in (Job, JobLabel, JobTechnique, Result, Run)}
"""Aliases for conditions on a job's id; created once, because creating one costs more than the query."""

_WITHOUT_TIME = (Run, Result)
"""Tables whose rows do not repeat when their job was created."""


@dataclass(frozen=True)
class SortOrder:
    """The sort order of jobs; ties by id, of an experiment's runs by variant too, in the same direction."""

    by: str = "created_at"
    """`created_at`, or a metric: then only jobs that have it are listed."""
    descending: bool = True

    def apply_to(self, query: Select[Any], *columns: Any) -> Select[Any]:
        """`query` in the order of these columns: sort value, id, variant of a run."""
        return query.order_by(*(column.desc() if self.descending else column for column in columns))

    def build_after_cursor(self, cursor: "Cursor", *columns: Any) -> ColumnElement[bool]:
        """The condition that a row comes after `cursor`."""
        position = (cursor.value, cursor.id, cursor.variant)[: len(columns)]
        return tuple_(*columns) < position if self.descending else tuple_(*columns) > position


NEWEST_FIRST = SortOrder()


@dataclass(frozen=True)
class Cursor:
    """Keyset pagination: a page begins after the row with this id, sort value and variant."""

    value: datetime | float | str
    id: str
    variant: str = ""
    """Of an experiment's runs, several of which may share a job."""


@dataclass(frozen=True)
class MetricRange:
    """All values of a metric on one side of a bound: `test_accuracy >= 0.98`."""

    metric: str
    operator: str
    """A key of COMPARISONS."""
    bound: float


COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}


@dataclass(frozen=True)
class JobFilter:
    """A filter of jobs: any value of a field may match, and every field that has values must match."""

    states: Sequence[JobState] = ()
    techniques: Sequence[str] = ()
    datasets: Sequence[str] = ()
    experiment_ids: Sequence[str] = ()
    labels: Sequence[tuple[str, str]] = ()
    ranges: Sequence[MetricRange] = ()
    """All of which must hold."""
    created_after: datetime | None = None
    created_before: datetime | None = None
    archived: bool | None = None
    """Whether only archived jobs, or only others, match; None: both."""
    text: str = ""
    """Each of its words must occur in the job's name or its variant's, in any case."""

    def build_conditions(self) -> list[ColumnElement[bool]]:
        """The WHERE clauses of a query over Job."""
        return [*(field.match_job(Job.id) for field in self.get_fields()), *self.match_row(Job)]

    def match_row(self, job: Any) -> list[ColumnElement[bool]]:
        """Conditions on a row of jobs, or of experiments, that no other table has."""
        conditions = self.match_time(job.created_at)
        for word in self.text.split():
            names = (job.name, job.variant)
            conditions.append(or_(*(name.icontains(word, autoescape=True) for name in names)))
        return conditions if self.archived is None else [*conditions, job.archived.is_(self.archived)]

    def match_time(self, created_at: Any) -> list[ColumnElement[bool]]:
        """Conditions on the time of creation."""
        conditions: list[ColumnElement[bool]] = []
        if self.created_after is not None:
            conditions.append(created_at > self.created_after)
        if self.created_before is not None:
            conditions.append(created_at < self.created_before)
        return conditions

    def get_fields(self) -> list["_Field"]:
        """The fields that have values, each with the table that indexes it."""
        fields = [
            _Field(JobLabel, self.labels, lambda of, label: and_(of.name == label[0], of.value == label[1])),
            _Field(Run, self.experiment_ids, lambda of, value: of.experiment_id == value),
            _Field(JobTechnique, self.techniques, lambda of, value: of.technique == value),
            _Field(Job, self.states, lambda of, value: of.state == value),
            _Field(Job, self.datasets, lambda of, value: of.dataset == value),
            *(
                _Field(Result, [item], lambda of, r: COMPARISONS[r.operator](getattr(of, r.metric), r.bound))
                for item in self.ranges
            ),
        ]
        return [field for field in fields if field.values]


@dataclass(frozen=True)
class _Field:
    table: Any
    values: Sequence[Any]
    match: Callable[[Any, Any], ColumnElement[bool]]
    """Condition from the table (or an alias of it) and one of the values."""

    def match_job(self, job_id: Any) -> ColumnElement[bool]:
        """The condition that a job matches, looked up by its id whatever other indexes there are."""
        alias = _ALIASES[self.table]
        return exists().where(_get_id_column(alias) == job_id, self._match_any(alias))

    def select_ids(self, job_filter: JobFilter) -> Select[Any]:
        """The ids of all jobs that match, within the time range as far as the table has it."""
        within = [] if self.table in _WITHOUT_TIME else job_filter.match_time(self.table.created_at)
        return select(_get_id_column(self.table)).where(self._match_any(self.table), *within)

    def _match_any(self, table: Any) -> ColumnElement[bool]:
        return or_(*(self.match(table, value) for value in self.values))


_EVERY_JOB = _Field(Job, [None], lambda _of, _value: true())


def find_jobs(
    session: Session,
    job_filter: JobFilter,
    *,
    after: Cursor | None,
    limit: int,
    order: SortOrder = NEWEST_FIRST,
    specs: bool = True,
    results: bool = True,
) -> list[Row[Any]]:
    """Up to `limit` jobs in `order` after `after`, as `load_listed_jobs` gives them, with the sort value.

    Of one experiment its runs, under its own names: a job comes once for each variant that it serves.
    """
    by_time = order.by == "created_at"
    if len(job_filter.experiment_ids) == 1:
        query = _select_runs(job_filter, order, after, specs=specs, results=results or not by_time)
        return list(session.execute(query.limit(limit)).all())
    query = (_search_by_time if by_time else _search_by_metric)(session, job_filter, order, after, limit)
    while True:
        ids = session.scalars(query).all()
        result = load_listed_jobs(session, ids, specs=specs, results=results or not by_time)
        # One that was deleted in between would make this look like the last page.
        if len(result) == len(ids):
            return result


def count_jobs(
    session: Session, job_filter: JobFilter, *, most: int, order: SortOrder = NEWEST_FIRST
) -> int | None:
    """How many rows `find_jobs` gives in all, counted up to `most`.

    None where counting could mean to read every job: where `most` jobs fit each field by itself.
    """
    value = getattr(Job if order.by == "created_at" else Result, order.by)
    if len(job_filter.experiment_ids) == 1:
        query = _select_runs(job_filter, order, None, specs=False, results=False).with_only_columns(Job.id)
    else:
        fields = job_filter.get_fields()
        first, count = _find_most_selective(session, job_filter, [*fields, _EVERY_JOB], most)
        if count >= most:
            return None if fields or job_filter.text or order != NEWEST_FIRST else most
        query = select(Job.id).outerjoin(Job.result)
        query = query.where(value.is_not(None), *job_filter.build_conditions())
        if first is not _EVERY_JOB:
            query = query.where(Job.id.in_(first.select_ids(job_filter)))
    return session.scalar(select(func.count()).select_from(query.order_by(None).limit(most).subquery()))


def _select_runs(
    job_filter: JobFilter, order: SortOrder, after: Cursor | None, *, specs: bool, results: bool
) -> Select[Any]:
    is_own = and_(Job.experiment_id == Run.experiment_id, Job.variant == Run.variant, Job.point == Run.point)
    names: dict[str, ColumnElement[Any]] = {
        "experiment_id": Run.experiment_id.label("experiment_id"),
        "variant": Run.variant.label("variant"),
        "point": Run.point.label("point"),
        "part": Run.part.label("part"),
        "purpose": Run.purpose.label("purpose"),
        # Of a job of another experiment null; models.run_key.name_row names it as a run of this one.
        "name": case((is_own, Job.name)).label("name"),
    }
    value = Job.created_at if order.by == "created_at" else getattr(Result, order.by)
    query = (
        select(
            *(names.get(column.key, column) for column in _get_columns(Job) if specs or column.key != "spec")
        )
        .select_from(Run)
        .join(Job, Job.id == Run.job_id)
        .outerjoin(Result, Result.job_id == Job.id)
        .where(
            Run.experiment_id == job_filter.experiment_ids[0],
            value.is_not(None),
            *replace(job_filter, experiment_ids=()).build_conditions(),
        )
    )
    if results:
        query = query.add_columns(*_get_columns(Result))
    if after is not None:
        query = query.where(order.build_after_cursor(after, value, Job.id, Run.variant))
    return order.apply_to(query, value, Job.id, Run.variant)


@cache
def _select_listed(specs: bool, results: bool) -> Select[Any]:
    columns = [column for column in _get_columns(Job) if specs or column.key != "spec"]
    query = select(*columns).where(Job.id.in_(bindparam("ids", expanding=True)))
    return query.add_columns(*_get_columns(Result)).outerjoin(Job.result) if results else query


def load_listed_jobs(
    session: Session, job_ids: Sequence[str], *, specs: bool = True, results: bool = True
) -> list[Row[Any]]:
    """Those of the jobs that are there, in the order given: Job's columns and Result's, one row a job.

    Of a job without a result `job_id`, which is the result's, and all of Result's columns are None. Without
    `specs` or `results` these columns are not there.
    """
    # Rows, not entities, which for a page take three times as long.
    jobs = {row.id: row for row in session.execute(_select_listed(specs, results), {"ids": job_ids})}
    return [jobs[job_id] for job_id in job_ids if job_id in jobs]


def _get_columns(table: Any) -> Iterator[Any]:
    """Of a table, what is not read on demand only."""
    return (getattr(table, column.key) for column in inspect(table).column_attrs if not column.deferred)


def get_cursor(job: Row[Any], order: SortOrder) -> Cursor:
    """Where the page after `job` begins."""
    return Cursor(getattr(job, order.by), job.id, job.variant or "")


def _search_by_time(
    session: Session, job_filter: JobFilter, order: SortOrder, after: Cursor | None, limit: int
) -> Select[Any]:
    """Ids by age: each value of one field has an index in that order, whose first rows are merged."""
    fields = job_filter.get_fields()
    # Of one owner there may be fewer than of anything that is asked for.
    choices = fields if fields and session.info.get("owner") is None else [*fields, _EVERY_JOB]
    first = (
        choices[0] if len(choices) == 1 else _find_most_selective(session, job_filter, choices, _COUNTED)[0]
    )
    table, job_id = first.table, _get_id_column(first.table)
    moment = Job.created_at if table in _WITHOUT_TIME else table.created_at
    also = [field.match_job(job_id) for field in fields if field is not first]
    also += _limit_to_range(job_filter, order, after, moment, job_id)
    own = JobFilter(archived=job_filter.archived, text=job_filter.text)
    also += own.match_row(Job) if table is Job else [_match_filter(job_id, own)]
    parts = []
    for value in first.values:
        part = select(job_id.label("id"), moment.label("moment")).where(first.match(table, value), *also)
        if table in _WITHOUT_TIME:
            part = part.join(Job, Job.id == job_id).distinct()
        parts.append(order.apply_to(part, moment, job_id).limit(limit))
    if len(parts) == 1:
        return parts[0]
    # A job that has two of the values comes once.
    result = union(*(select(part.subquery()) for part in parts)).subquery()
    return order.apply_to(select(result.c.id), result.c.moment, result.c.id).limit(limit)


def _limit_to_range(
    job_filter: JobFilter, order: SortOrder, after: Cursor | None, moment: Any, job_id: Any
) -> list[ColumnElement[bool]]:
    """Conditions on the range of the index that is read."""
    if after is None:
        return job_filter.match_time(moment)
    # Of two bounds at the end where the range begins only the nearer: SQLite may begin at the other.
    edge = cast("datetime", after.value)
    if order.descending and job_filter.created_before and job_filter.created_before > edge:
        job_filter = replace(job_filter, created_before=None)
    if not order.descending and job_filter.created_after and job_filter.created_after < edge:
        job_filter = replace(job_filter, created_after=None)
    return [*job_filter.match_time(moment), order.build_after_cursor(after, moment, job_id)]


def _search_by_metric(
    session: Session, job_filter: JobFilter, order: SortOrder, after: Cursor | None, limit: int
) -> Select[Any]:
    """Ids by a metric, in the order of its index; where few jobs fit, these are found and sorted."""
    job_id, metric = Result.job_id, getattr(Result, order.by)
    query = select(job_id).where(metric.is_not(None), _match_filter(job_id, job_filter))
    if job_filter.states and JobState.SUCCEEDED not in job_filter.states:
        return query.where(false())
    # No other state has results, so there is no need to look.
    job_filter = replace(job_filter, states=())
    fields = job_filter.get_fields()
    asks = bool(fields or job_filter.created_after or job_filter.created_before)
    first, count = _EVERY_JOB, _FEW
    if asks or session.info.get("owner") is not None:
        first, count = _find_most_selective(session, job_filter, [*fields, _EVERY_JOB], _FEW)
    if count < _FEW:
        query = query.where(job_id.in_(first.select_ids(job_filter)))
        # A sum has no index that would tempt the database to read every result in its order.
        metric = metric + 0
    query = query.where(*(field.match_job(job_id) for field in fields))
    if after is not None:
        query = query.where(order.build_after_cursor(after, metric, job_id))
    return order.apply_to(query, metric, job_id).limit(limit)


def _find_most_selective(
    session: Session, job_filter: JobFilter, choices: Sequence[_Field], most: int
) -> tuple[_Field, int]:
    """The one that fewest rows fit (the last is every job), and how many these are, counted up to `most`."""
    rows = [field.select_ids(job_filter) for field in choices]
    if (owner := session.info.get("owner")) is not None:
        rows[-1] = rows[-1].where(Job.owner == owner)
    parts = [row.limit(most).subquery() for row in rows]
    counts = select(*(select(func.count()).select_from(part).scalar_subquery() for part in parts))
    # An owner's own rows of each kind have no index to be counted in; and no one sees a count.
    result = session.execute(counts.execution_options(**UNFILTERED)).one()
    return min(zip(choices, result, strict=True), key=lambda item: item[1])


def _get_id_column(table: Any) -> Any:
    return table.job_id if hasattr(table, "job_id") else table.id


def _match_filter(job_id: Any, job_filter: JobFilter) -> ColumnElement[bool]:
    """That the session may see this job, and that its own row matches."""
    job = _ALIASES[Job]
    return exists().where(job.id == job_id, *job_filter.match_row(job))
