"""Webhooks, and what is to be told to them.

A delivery is stored in the transaction that ends its job, so that none is forgotten; whoever sends it holds
it for a while, as a job is held, and writes down how it went. What is sent twice, because a sender died after
the answer and before it wrote that down, has the same id twice.
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
"""How long after each failure the next attempt follows: about a day in all. Then it is given up."""
CLAIM_SECONDS = 60.0
_SPREAD = 0.2
_GONE = 410
_MOST_LETTERS = 500
_SECRET_BYTES = 24


def create_secret() -> str:
    """A secret as standardwebhooks writes them."""
    return f"whsec_{b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"


def create_webhook(
    session: Session, owner: str, *, url: str, states: Sequence[JobState], secret: str | None
) -> Webhook:
    """Store an address that is told when a job of `owner` ends in one of these states."""
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
    parcels = []
    for delivery, webhook, job in session.execute(due):
        delivery.attempts += 1
        parcels.append(
            DueDelivery(
                delivery.id, webhook.id, webhook.url, webhook.secret, delivery.event, job, delivery.attempts
            )
        )
        delivery.next_attempt_at = get_database_now(session) + timedelta(seconds=CLAIM_SECONDS)
    return parcels


def record_success(session: Session, parcel: DueDelivery, status: int) -> None:
    """Note that a delivery has arrived."""
    now = DatabaseNow()
    _end(session, parcel, next_attempt_at=None, delivered_at=now, last_status=status, last_error=None)


def record_failure(session: Session, parcel: DueDelivery, *, status: int | None, error: str) -> None:
    """Note that an attempt has failed; another one follows later, unless it was the last.

    A receiver that says that it is gone for good is told nothing more: its webhook goes.
    """
    if status == _GONE:
        session.execute(delete(Webhook).where(Webhook.id == parcel.webhook_id))
        return
    wait = next(iter(RETRY_AFTER_SECONDS[parcel.attempt - 1 :]), None)
    # Spread, so that a receiver that was away is not met by everything at once.
    later = None if wait is None else DatabaseNow(wait * random.uniform(1, 1 + _SPREAD))  # noqa: S311 (no secret)
    _end(session, parcel, next_attempt_at=later, last_status=status, last_error=error[:_MOST_LETTERS])


def _end(session: Session, parcel: DueDelivery, **values: Any) -> None:
    # One that took so long that another sender has taken it over has nothing to say any more.
    session.execute(
        update(Delivery)
        .where(
            Delivery.id == parcel.id,
            Delivery.attempts == parcel.attempt,
            Delivery.delivered_at.is_(None),
        )
        .values(**values)
        .execution_options(synchronize_session=False)
    )
