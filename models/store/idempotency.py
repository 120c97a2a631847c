"""Requests that a client may send again: the same key and content get the first response, and change nothing.

A request claims its key in a transaction of its own, so that others see that it is in progress. The
transaction that stores its rows also stores its response: a process that dies leaves both or neither, and
once its claim has expired, the request can be executed after all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.errors import Conflict
from models.store.service_tables import IdempotencyKey
from models.store.transitions import get_database_now

RETENTION = timedelta(hours=24)
CLAIM_TIMEOUT = timedelta(seconds=60)
"""A process that takes longer than this may no longer commit if another request has claimed the key."""
_KEYS_A_CLEANUP = 1_000


class KeyReused(Exception):
    """The key belongs to a request with another content."""


class RequestInProgress(Conflict):
    """The first request with this key has not been answered yet."""

    code = "idempotency_key_in_progress"


@dataclass(frozen=True)
class StoredResponse:
    """The response to the first request."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class KeyClaim:
    """A key that this request holds. `until` is its fence: a later claim changes it."""

    owner: str
    key: str
    until: datetime

    def row(self) -> list[ColumnElement[bool]]:
        """The WHERE clauses of its row, while the claim is not lost."""
        return [
            IdempotencyKey.owner == self.owner,
            IdempotencyKey.key == self.key,
            IdempotencyKey.locked_until == self.until,
            IdempotencyKey.status.is_(None),
        ]


def claim_key(session: Session, owner: str, key: str, fingerprint: str) -> KeyClaim | StoredResponse:
    """Claim the key for a request of this content, or return the response that it has had already.

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
    until = now + CLAIM_TIMEOUT
    if row is not None and row.created_at <= now - RETENTION:
        session.delete(row)
        session.flush()
        row = None
    if row is None:
        session.add(
            IdempotencyKey(owner=owner, key=key, fingerprint=fingerprint, locked_until=until, created_at=now)
        )
        try:
            session.flush()
        except IntegrityError:
            # Another request has claimed it since the query above.
            raise _build_in_progress(key) from None
        return KeyClaim(owner, key, until)
    if row.fingerprint != fingerprint:
        raise KeyReused
    if row.status is not None:
        return StoredResponse(row.status, row.headers or {}, row.body or b"")
    if row.locked_until > now:
        raise _build_in_progress(key)
    row.locked_until = until
    return KeyClaim(owner, key, until)


def _build_in_progress(key: str) -> RequestInProgress:
    return RequestInProgress(f"The first request with the key {key} is still in progress; try again shortly.")


def store_response(session: Session, key_claim: KeyClaim, response: StoredResponse) -> None:
    """Store the response, with the caller's commit.

    Raises:
        RequestInProgress: another request has claimed the expired key; nothing may be committed.
    """
    row = session.execute(
        update(IdempotencyKey)
        .where(*key_claim.row())
        .values(status=response.status, headers=dict(response.headers), body=response.body)
        .returning(IdempotencyKey.key)
    ).one_or_none()
    if row is None:
        raise _build_in_progress(key_claim.key)


def release(session: Session, key_claim: KeyClaim) -> None:
    """Release the key: the request has changed nothing."""
    session.execute(delete(IdempotencyKey).where(*key_claim.row()))


def delete_old_keys(session: Session) -> int:
    """Remove some of the keys past their retention; returns how many."""
    row_id = (IdempotencyKey.owner, IdempotencyKey.key)
    is_old = IdempotencyKey.created_at <= get_database_now(session) - RETENTION
    some = select(*row_id).where(is_old).limit(_KEYS_A_CLEANUP)
    query = delete(IdempotencyKey).where(tuple_(*row_id).in_(some)).returning(IdempotencyKey.key)
    return len(session.execute(query).all())
