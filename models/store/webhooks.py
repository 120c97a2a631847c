"""Webhooks and their deliveries.

A delivery is stored in the transaction that ends its job, so that none is lost. A worker claims it for a
while, as it claims a job, and records the outcome. A delivery that is sent twice, because a worker died
before it recorded the response, has the same id both times.
"""

import random
import secrets
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from models.errors import NotFound
from models.states import JobState
from models.store.sql_functions import DatabaseNow
from models.store.tables import Delivery, Job, Webhook
from models.store.transitions import get_database_now

RETRY_AFTER_SECONDS = (5, 30, 120, 600, 3_600, 10_800, 21_600, 43_200)
"""How long after each failure the next attempt follows: about a day in all. Then the delivery has failed."""
CLAIM_SECONDS = 60.0
_JITTER = 0.2
_GONE = 410
_LONGEST_ERROR = 500
_SECRET_BYTES = 24


def create_secret() -> str:
    """A secret as standardwebhooks writes them."""
    return f"whsec_{b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"


def create_webhook(
    session: Session, owner: str, *, url: str, states: Sequence[JobState], secret: str | None
) -> Webhook:
    """Store an address that gets a message when a job of `owner` ends in one of these states."""
    webhook = Webhook(
        owner=owner,
        url=url,
        states=[str(state) for state in states],
        secret=secret or create_secret(),
        created_at=get_database_now(session),
    )
    session.add(webhook)
    session.flush()
    return webhook


def get_webhook(session: Session, webhook_id: str) -> Webhook:
    """The webhook.

    Raises:
        NotFound: there is none of that id.
    """
    webhook = session.get(Webhook, webhook_id)
    if webhook is None:
        raise NotFound(f"There is no webhook {webhook_id}.")
    return webhook


def get_all_webhooks(session: Session) -> list[Webhook]:
    """Every webhook, oldest first."""
    return list(session.scalars(select(Webhook).order_by(Webhook.created_at, Webhook.id)))


def get_deliveries(session: Session, webhook_id: str, *, limit: int) -> list[Delivery]:
    """The latest deliveries to a webhook, newest first."""
    query = select(Delivery).where(Delivery.webhook_id == webhook_id)
    return list(session.scalars(query.order_by(Delivery.created_at.desc(), Delivery.id.desc()).limit(limit)))


@dataclass(frozen=True)
class DueDelivery:
    """A delivery to be sent now."""

    id: str
    webhook_id: str
    url: str
    secret: str
    event: str
    job: Job
    attempt: int


def claim_due_deliveries(session: Session, *, limit: int) -> list[DueDelivery]:
    """Up to `limit` deliveries that are due; no other worker claims them for CLAIM_SECONDS."""
    due = (
        select(Delivery, Webhook, Job)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .join(Job, Job.id == Delivery.job_id)
        .where(Delivery.next_attempt_at <= DatabaseNow())
        .order_by(Delivery.next_attempt_at)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Delivery)
    )
    claimed = []
    for delivery, webhook, job in session.execute(due):
        delivery.attempts += 1
        claimed.append(
            DueDelivery(
                delivery.id, webhook.id, webhook.url, webhook.secret, delivery.event, job, delivery.attempts
            )
        )
        delivery.next_attempt_at = get_database_now(session) + timedelta(seconds=CLAIM_SECONDS)
    return claimed


def record_success(session: Session, delivery: DueDelivery, status: int) -> None:
    """Record that a delivery has arrived."""
    now = DatabaseNow()
    _record_outcome(
        session, delivery, next_attempt_at=None, delivered_at=now, last_status=status, last_error=None
    )


def record_failure(session: Session, delivery: DueDelivery, *, status: int | None, error: str) -> None:
    """Record that an attempt has failed; another follows later, unless it was the last.

    A receiver that answers 410 (gone) loses its webhook.
    """
    if status == _GONE:
        session.execute(delete(Webhook).where(Webhook.id == delivery.webhook_id))
        return
    wait = next(iter(RETRY_AFTER_SECONDS[delivery.attempt - 1 :]), None)
    # With jitter, so that a receiver that was away does not get all retries at once.
    later = None if wait is None else DatabaseNow(wait * random.uniform(1, 1 + _JITTER))  # noqa: S311 (no secret)
    error = error[:_LONGEST_ERROR]
    _record_outcome(session, delivery, next_attempt_at=later, last_status=status, last_error=error)


def _record_outcome(session: Session, delivery: DueDelivery, **values: Any) -> None:
    # Fenced by its attempt: another worker may have claimed a delivery that took too long.
    session.execute(
        update(Delivery)
        .where(
            Delivery.id == delivery.id,
            Delivery.attempts == delivery.attempt,
            Delivery.delivered_at.is_(None),
        )
        .values(**values)
        .execution_options(synchronize_session=False)
    )
