"""Pages of experiments: found by what people remember of them, ordered and cut in the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session

from models.states import UNFINISHED
from models.store.job_search import NEWEST_FIRST, Cursor, JobFilter, SortOrder
from models.store.tables import Experiment, Job, JobTechnique, Run


@dataclass(frozen=True)
class ExperimentFilter:
    """A filter of experiments: any value of a field may match, and every field that has values must match."""

    text: str = ""
    """Each of its words must occur in the name, notes, preset or the name of a variant, in any case."""
    finished: bool | None = None
    """Whether every job has ended and no seed will be added; None: both."""
    presets: Sequence[str] = ()
    techniques: Sequence[str] = ()
    """Of any of its jobs, as the datasets."""
    datasets: Sequence[str] = ()
    labels: Sequence[tuple[str, str]] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    archived: bool | None = None

    def build_conditions(self) -> list[ColumnElement[bool]]:
        """The WHERE clauses of a query over Experiment."""
        is_run = Run.experiment_id == Experiment.id
        conditions: list[ColumnElement[bool]] = [
            or_(
                Experiment.name.icontains(word, autoescape=True),
                Experiment.notes.icontains(word, autoescape=True),
                Experiment.preset.icontains(word, autoescape=True),
                exists().where(is_run, Run.variant.icontains(word, autoescape=True)),
            )
            for word in self.text.split()
        ]
        if self.finished is not None:
            unfinished = exists().where(is_run, Job.id == Run.job_id, Job.state.in_(UNFINISHED))
            going_on = or_(Experiment.auto_extending, unfinished)
            conditions.append(~going_on if self.finished else going_on)
        if self.presets:
            conditions.append(Experiment.preset.in_(self.presets))
        if self.techniques:
            technique = JobTechnique.technique.in_(self.techniques)
            conditions.append(exists().where(is_run, JobTechnique.job_id == Run.job_id, technique))
        if self.datasets:
            conditions.append(exists().where(is_run, Job.id == Run.job_id, Job.dataset.in_(self.datasets)))
        if self.labels:
            conditions.append(
                or_(*(Experiment.labels[name].as_string() == value for name, value in self.labels))
            )
        own = JobFilter(
            created_after=self.created_after, created_before=self.created_before, archived=self.archived
        )
        return conditions + own.match_row(Experiment)


def find_experiments(
    session: Session,
    experiment_filter: ExperimentFilter | None = None,
    *,
    after: Cursor | None,
    limit: int,
    order: SortOrder = NEWEST_FIRST,
) -> list[Experiment]:
    """Up to `limit` experiments in `order`, by time or name, from `after` on."""
    columns = getattr(Experiment, order.by), Experiment.id
    query = order.apply_to(select(Experiment), *columns)
    if after is not None:
        query = query.where(order.build_after_cursor(after, *columns))
    conditions = (experiment_filter or ExperimentFilter()).build_conditions()
    return list(session.scalars(query.where(*conditions).limit(limit)))
