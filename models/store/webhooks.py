"""Webhooks and their deliveries.

A delivery is stored in the transaction that ends its job, so that none is lost. A worker claims it for a
while, as it claims a job, and records the outcome. A delivery that is sent twice, because a worker died
before it recorded the response, has the same id both times.
"""

import random
import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from models.encryption import encrypt_again
from models.errors import FieldError, InvalidSpec, NotFound
from models.states import UNFINISHED, JobState
from models.store import counters
from models.store.quotas import acquire_advisory_lock
from models.store.sql_functions import DatabaseNow
from models.store.tables import Delivery, Experiment, Job, Run, Webhook
from models.store.transitions import get_database_now

RETRY_AFTER_SECONDS = (5, 30, 120, 600, 3_600, 10_800, 21_600, 43_200)
"""How long after each failure the next attempt follows: about a day in all. Then the delivery has failed."""
CLAIM_SECONDS = 60.0
TEST_EVENT = "webhook.test"
EXPERIMENT_EVENT = "experiment.finished"
_ANNOUNCED_AT_ONCE = 100
_JITTER = 0.2
_LONGEST_WAIT = RETRY_AFTER_SECONDS[-1]
_GONE = 410
_LONGEST_ERROR = 500
_SECRET_BYTES = 24


def create_secret() -> str:
    """A secret as standardwebhooks writes them."""
    return f"whsec_{b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"


def create_webhook(
    session: Session,
    owner: str,
    *,
    url: str,
    states: Sequence[JobState],
    secret: str | None,
    experiments: bool = False,
    base_url: str = "",
    limit: int | None = None,
) -> Webhook:
    """Store an address that gets a message when a job of `owner` ends in one of these states.

    Raises:
        InvalidSpec: the owner has `limit` webhooks already.
    """
    # Otherwise two concurrent requests could both take the last one.
    acquire_advisory_lock(session, f"webhooks {owner}")
    count = session.scalar(select(func.count()).where(Webhook.owner == owner)) or 0
    if limit is not None and count >= limit:
        detail = f"exceeds the limit of {limit} webhooks per owner; delete one first"
        raise InvalidSpec([FieldError("/url", detail)])
    webhook = Webhook(
        owner=owner,
        url=url,
        states=[str(state) for state in states],
        secret=secret or create_secret(),
        experiments=experiments,
        base_url=base_url,
        created_at=get_database_now(session),
    )
    session.add(webhook)
    session.flush()
    return webhook


def encrypt_secrets(session: Session, keys: str) -> int:
    """Encrypt the secrets of all webhooks with the first of the keys; returns how many were not so yet.

    Raises:
        UnknownKey: one is encrypted with none of the keys.
    """
    changed = 0
    for webhook in session.scalars(select(Webhook)):
        encrypted = encrypt_again(webhook.secret, keys)
        changed += encrypted != webhook.secret
        webhook.secret = encrypted
    return changed


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


def create_test_delivery(session: Session, webhook_id: str) -> Delivery:
    """Store a message about no job, which is due now.

    Raises:
        NotFound: there is no webhook of that id.
    """
    now = get_database_now(session)
    delivery = Delivery(
        webhook_id=get_webhook(session, webhook_id).id,
        event=TEST_EVENT,
        next_attempt_at=now,
        created_at=now,
    )
    session.add(delivery)
    session.flush()
    return delivery


def redeliver(session: Session, webhook_id: str, delivery_id: str) -> Delivery:
    """Make a delivery due now, with the same id and all its attempts before it, whatever became of it.

    Raises:
        NotFound: there is no such webhook, or no such delivery to it.
    """
    get_webhook(session, webhook_id)
    delivery = session.get(Delivery, delivery_id)
    if delivery is None or delivery.webhook_id != webhook_id:
        raise NotFound(f"There is no delivery {delivery_id} of this webhook.")
    delivery.attempts, delivery.delivered_at = 0, None
    delivery.next_attempt_at = get_database_now(session)
    session.flush()
    return delivery


def announce_finished_experiments(session: Session) -> int:
    """Store a message about each experiment that has finished since its last one, to those who ask for it.

    By sweeps, not by the transaction that ends the last job: of two that end their jobs at the same moment,
    neither would see the other's. Returns how many experiments they are about.
    """
    unfinished = exists().where(
        Run.experiment_id == Experiment.id, Run.job_id == Job.id, Job.state.in_(UNFINISHED)
    )
    finished = select(Experiment).where(
        Experiment.announced.is_(False), Experiment.auto_extending.is_(False), ~unfinished
    )
    # One that another worker announces is skipped.
    experiments = session.scalars(finished.limit(_ANNOUNCED_AT_ONCE).with_for_update(skip_locked=True)).all()
    now = get_database_now(session)
    for experiment in experiments:
        experiment.announced = True
        asking = select(Webhook.id).where(Webhook.owner == experiment.owner, Webhook.experiments.is_(True))
        session.add_all(
            Delivery(
                webhook_id=webhook_id,
                experiment_id=experiment.id,
                event=EXPERIMENT_EVENT,
                next_attempt_at=now,
                created_at=now,
            )
            for webhook_id in session.scalars(asking)
        )
    return len(experiments)


@dataclass(frozen=True)
class DueDelivery:
    """A delivery to be sent now."""

    id: str
    webhook: Webhook
    event: str
    job: Job | None
    experiment: Experiment | None
    counts: Mapping[str, int]
    """Of an experiment, its jobs by state."""
    attempt: int


def claim_due_deliveries(session: Session, *, limit: int, busy: Sequence[str] = ()) -> list[DueDelivery]:
    """Up to `limit` deliveries that are due; no other worker claims them for CLAIM_SECONDS.

    One for each webhook, and none for those in `busy`: a slow receiver takes one connection at a time.
    Messages that have not been tried yet come first.
    """
    is_due = _is_due(Delivery)
    webhook_ids = session.scalars(
        select(Delivery.webhook_id)
        .where(is_due, Delivery.webhook_id.not_in(busy))
        .group_by(Delivery.webhook_id)
        .order_by(func.min(Delivery.attempts), func.min(Delivery.next_attempt_at))
        .limit(limit)
    ).all()
    other = aliased(Delivery)
    first = (
        select(other.id)
        .where(other.webhook_id == Webhook.id, _is_due(other))
        .order_by(other.next_attempt_at, other.id)
        .limit(1)
        .scalar_subquery()
    )
    due = (
        select(Delivery, Webhook, Job, Experiment)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .outerjoin(Job, Job.id == Delivery.job_id)
        .outerjoin(Experiment, Experiment.id == Delivery.experiment_id)
        .where(Webhook.id.in_(webhook_ids), Delivery.id == first, is_due)
        .with_for_update(skip_locked=True, of=Delivery)
    )
    claimed = []
    for delivery, webhook, job, experiment in session.execute(due):
        delivery.attempts += 1
        delivery.next_attempt_at = get_database_now(session) + timedelta(seconds=CLAIM_SECONDS)
        counts = {} if experiment is None else _count_by_state(session, experiment.id)
        claimed.append(
            DueDelivery(delivery.id, webhook, delivery.event, job, experiment, counts, delivery.attempts)
        )
    return claimed


def _count_by_state(session: Session, experiment_id: str) -> dict[str, int]:
    query = (
        select(Job.state, func.count())
        .join(Run, Run.job_id == Job.id)
        .where(Run.experiment_id == experiment_id)
        .group_by(Job.state)
    )
    return dict(session.execute(query).all())


def _is_due(delivery: type[Delivery]) -> ColumnElement[bool]:
    """Whether a message is to be sent now; a new one also where the database's clock was set back since."""
    is_new = and_(delivery.attempts == 0, delivery.created_at > DatabaseNow())
    return or_(delivery.next_attempt_at <= DatabaseNow(), is_new)


def record_success(session: Session, delivery: DueDelivery, status: int) -> None:
    """Record that a delivery has arrived."""
    now = DatabaseNow()
    _record_outcome(
        session, delivery, next_attempt_at=None, delivered_at=now, last_status=status, last_error=None
    )
    counters.add(session, webhook_deliveries=1)


def record_failure(
    session: Session,
    delivery: DueDelivery,
    *,
    status: int | None,
    error: str,
    retry_after: float | None = None,
) -> None:
    """Record that an attempt has failed; another follows later, unless it was the last.

    `retry_after`: the seconds that the receiver asked for. They hold for all messages to it, and replace the
    schedule's, though no wait is shorter than the schedule's one before. A receiver that answers 410 (gone)
    loses its webhook.
    """
    if status == _GONE:
        session.execute(delete(Webhook).where(Webhook.id == delivery.webhook.id))
        return
    later = None
    if delivery.attempt <= len(RETRY_AFTER_SECONDS):
        wait: float = RETRY_AFTER_SECONDS[delivery.attempt - 1]
        if retry_after is not None:
            wait = max((0, *RETRY_AFTER_SECONDS)[delivery.attempt - 1], min(retry_after, _LONGEST_WAIT))
        # With jitter, so that a receiver that was away does not get all retries at once.
        later = DatabaseNow(wait * random.uniform(1, 1 + _JITTER))  # noqa: S311 (no secret)
    error = error[:_LONGEST_ERROR]
    _record_outcome(session, delivery, next_attempt_at=later, last_status=status, last_error=error)
    if retry_after is not None:
        asked_for = DatabaseNow(min(retry_after, _LONGEST_WAIT))
        others = Delivery.webhook_id == delivery.webhook.id, Delivery.next_attempt_at < asked_for
        session.execute(update(Delivery).where(*others).values(next_attempt_at=asked_for))
    counters.add(session, webhook_failures=1)


def _record_outcome(session: Session, delivery: DueDelivery, **values: Any) -> None:
    # Fenced by its attempt: another worker may have claimed a delivery that took too long.
    fence = Delivery.attempts == delivery.attempt, Delivery.delivered_at.is_(None)
    session.execute(update(Delivery).where(Delivery.id == delivery.id, *fence).values(values))


def count_backlog(session: Session) -> int:
    """How many messages of all owners have neither arrived nor been given up."""
    query = select(func.count()).select_from(Delivery).where(Delivery.next_attempt_at.is_not(None))
    return session.scalar(query) or 0
