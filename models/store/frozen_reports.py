"""Reports kept as they were at one moment."""

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from models.errors import NotFound
from models.store.service_tables import FrozenReport
from models.store.sql_functions import DatabaseNow


def save_report(session: Session, report: FrozenReport) -> FrozenReport:
    """Keep a report; the same content twice is one report."""
    existing = session.scalar(select(FrozenReport).where(FrozenReport.digest == report.digest))
    if existing is not None:
        return existing
    report.created_at = DatabaseNow()
    session.add(report)
    session.flush()
    session.refresh(report)
    return report


def find_reports(session: Session, experiment_id: str) -> list[FrozenReport]:
    """An experiment's frozen reports without their content, newest first."""
    query = select(FrozenReport).where(FrozenReport.experiment_id == experiment_id)
    return list(session.scalars(query.order_by(FrozenReport.created_at.desc(), FrozenReport.digest)))


def get_report(session: Session, digest: str) -> FrozenReport:
    """A frozen report with its content.

    Raises:
        NotFound: there is none of that digest.
    """
    query = select(FrozenReport).where(FrozenReport.digest == digest).options(undefer(FrozenReport.content))
    report = session.scalar(query)
    if report is None:
        raise NotFound("There is no frozen report with that digest, or its owner has deleted it.")
    return report
