"""Requests that a client may send again: the same key and content get the first answer, and change nothing.

A request is `begun` in a transaction of its own, so that others see that it is under way. The transaction
that makes its rows also `remembers` its answer: a process that dies leaves both or neither, and once
the time for which it held the key has passed, the request can be carried out after all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.errors import Conflict
from models.store.tables import IdempotencyKey
from models.store.transitions import database_now

KEPT_FOR = timedelta(hours=24)
HELD_FOR = timedelta(seconds=60)
"""So long a request counts as under way; a process that takes longer finds that it may no longer commit."""
_FORGOTTEN_AT_ONCE = 1_000


class KeyReused(Exception):
    """The key belongs to a request with another content."""


class UnderWay(Conflict):
    """The first request with this key has not been answered yet."""

    code = "idempotency_key_under_way"


@dataclass(frozen=True)
class Remembered:
    """The answer to the first request."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Held:
    """A key that this request holds. `until` is its fence: whoever takes the key over, writes another."""

    owner: str
    key: str
    until: datetime

    def row(self) -> list[ColumnElement[bool]]:
        """The WHERE clauses of its row, as long as nobody else has it."""
        return [
            IdempotencyKey.owner == self.owner,
            IdempotencyKey.key == self.key,
            IdempotencyKey.locked_until == self.until,
            IdempotencyKey.status.is_(None),
        ]


def begin(session: Session, owner: str, key: str, fingerprint: str) -> Held | Remembered:
    """Hold the key for a request of this content; or the answer that it has had already.

    Raises:
        KeyReused: the key's first request had another content.
        UnderWay: somebody holds it.
    """
    now = database_now(session)
    row = session.scalar(
        select(IdempotencyKey)
        .where(IdempotencyKey.owner == owner, IdempotencyKey.key == key)
        .with_for_update()
    )
    if row is not None and row.created_at <= now - KEPT_FOR:
        session.delete(row)
        session.flush()
        row = None
    if row is None:
        return _first(session, owner, key, fingerprint, now)
    if row.fingerprint != fingerprint:
        raise KeyReused
    if row.status is not None:
        return Remembered(row.status, row.headers or {}, row.body or b"")
    if row.locked_until > now:
        raise _under_way(key)
    row.locked_until = now + HELD_FOR
    return Held(owner, key, row.locked_until)


def _first(session: Session, owner: str, key: str, fingerprint: str, now: datetime) -> Held:
    held = Held(owner, key, now + HELD_FOR)
    session.add(
        IdempotencyKey(owner=owner, key=key, fingerprint=fingerprint, locked_until=held.until, created_at=now)
    )
    try:
        session.flush()
    except IntegrityError:
        # Another request with it came between the look and this.
        raise _under_way(key) from None
    return held


def _under_way(key: str) -> UnderWay:
    return UnderWay(f"The first request with the key {key} has not been answered yet; ask again shortly.")


def remember(session: Session, held: Held, answer: Remembered) -> None:
    """Keep the answer, with the caller's commit.

    Raises:
        UnderWay: this request took so long that another one has taken the key over; nothing may be committed.
    """
    row = session.execute(
        update(IdempotencyKey)
        .where(*held.row())
        .values(status=answer.status, headers=dict(answer.headers), body=answer.body)
        .returning(IdempotencyKey.key)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        raise _under_way(held.key)


def release(session: Session, held: Held) -> None:
    """Give the key back: the request has changed nothing."""
    session.execute(delete(IdempotencyKey).where(*held.row()).execution_options(synchronize_session=False))


def forget_old_keys(session: Session) -> int:
    """Remove some of the keys that are older than they are kept; returns how many."""
    old = (
        select(IdempotencyKey.owner, IdempotencyKey.key)
        .where(IdempotencyKey.created_at <= database_now(session) - KEPT_FOR)
        .limit(_FORGOTTEN_AT_ONCE)
    )
    rows = session.execute(old).all()
    for owner, key in rows:
        session.execute(
            delete(IdempotencyKey)
            .where(IdempotencyKey.owner == owner, IdempotencyKey.key == key)
            .execution_options(synchronize_session=False)
        )
    return len(rows)
