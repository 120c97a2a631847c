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
from models.store.transitions import get_database_now

KEPT_FOR = timedelta(hours=24)
HELD_FOR = timedelta(seconds=60)
"""So long a request counts as under way; a process that takes longer finds that it may no longer commit."""
_FORGOTTEN_AT_ONCE = 1_000


class KeyReused(Exception):
    """The key belongs to a request with another content."""


class RequestInProgress(Conflict):
    """The first request with this key has not been answered yet."""

    code = "idempotency_key_under_way"


@dataclass(frozen=True)
class StoredResponse:
    """The answer to the first request."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class KeyClaim:
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


def claim_key(session: Session, owner: str, key: str, fingerprint: str) -> KeyClaim | StoredResponse:
    """Hold the key for a request of this content; or the answer that it has had already.

    Raises:
        KeyReused: the key's first request had another content.
        RequestInProgress: another request holds the key.
    """
    now = get_database_now(session)
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
        return _insert_claim(session, owner, key, fingerprint, now)
    if row.fingerprint != fingerprint:
        raise KeyReused
    if row.status is not None:
        return StoredResponse(row.status, row.headers or {}, row.body or b"")
    if row.locked_until > now:
        raise _build_in_progress(key)
    row.locked_until = now + HELD_FOR
    return KeyClaim(owner, key, row.locked_until)


def _insert_claim(session: Session, owner: str, key: str, fingerprint: str, now: datetime) -> KeyClaim:
    key_claim = KeyClaim(owner, key, now + HELD_FOR)
    session.add(
        IdempotencyKey(
            owner=owner, key=key, fingerprint=fingerprint, locked_until=key_claim.until, created_at=now
        )
    )
    try:
        session.flush()
    except IntegrityError:
        # Another request with it came between the look and this.
        raise _build_in_progress(key) from None
    return key_claim


def _build_in_progress(key: str) -> RequestInProgress:
    return RequestInProgress(
        f"The first request with the key {key} has not been answered yet; ask again shortly."
    )


def store_response(session: Session, key_claim: KeyClaim, answer: StoredResponse) -> None:
    """Keep the answer, with the caller's commit.

    Raises:
        RequestInProgress: another request has claimed the expired key; nothing may be committed.
    """
    row = session.execute(
        update(IdempotencyKey)
        .where(*key_claim.row())
        .values(status=answer.status, headers=dict(answer.headers), body=answer.body)
        .returning(IdempotencyKey.key)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        raise _build_in_progress(key_claim.key)


def release(session: Session, key_claim: KeyClaim) -> None:
    """Give the key back: the request has changed nothing."""
    session.execute(
        delete(IdempotencyKey).where(*key_claim.row()).execution_options(synchronize_session=False)
    )


def delete_old_keys(session: Session) -> int:
    """Remove some of the keys that are older than they are kept; returns how many."""
    old = (
        select(IdempotencyKey.owner, IdempotencyKey.key)
        .where(IdempotencyKey.created_at <= get_database_now(session) - KEPT_FOR)
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
