"""The audit trail: who did what opens doors, or cannot be undone."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.store.service_tables import AuditEvent
from models.store.sql_functions import DatabaseNow

JOB_DELETED = "job_deleted"


def record(
    session: Session,
    action: str,
    subject: str,
    *,
    owner: str,
    key_id: str | None = None,
    request_id: str | None = None,
) -> None:
    """Note what is done, in the transaction that does it."""
    session.add(
        AuditEvent(
            at=DatabaseNow(),
            owner=owner,
            key_id=key_id,
            action=action,
            subject=subject,
            request_id=request_id,
        )
    )


def find_events(session: Session, *, before: int | None = None, limit: int) -> list[AuditEvent]:
    """Up to `limit` events, newest first, from the one before event `before` on."""
    query = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit)
    return list(session.scalars(query if before is None else query.where(AuditEvent.id < before)))
