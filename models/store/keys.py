"""API keys and browsers' sessions: created, looked up by hash, revoked. No key or token itself is stored."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, or_, select, tuple_, update
from sqlalchemy.orm import Session

from models.errors import NotFound
from models.scopes import Scope
from models.store.job_search import Cursor
from models.store.service_tables import ApiKey, LoginSession
from models.store.sql_functions import DatabaseNow
from models.store.transitions import get_database_now

SESSION_PREFIX = "rbs_"
"""What the token of a browser's session begins with."""
_BITS = 256
_PREFIX_LENGTH = 8
_SECONDS_BETWEEN_USES = 60.0


@dataclass(frozen=True)
class KeyStatus:
    """The stored state of a key that a request presents."""

    id: str
    owner: str
    scope: Scope
    revoked: bool
    seconds_left: float | None
    """Until it expires, negative afterwards; None: it never does."""
    use_is_recorded: bool
    """Whether a use within the last minute is recorded already."""


def create_key(
    session: Session, *, name: str, owner: str, scope: Scope, expires_days: float | None = None
) -> tuple[ApiKey, str]:
    """Store a new key; returns its row, and the key itself, which cannot be read again."""
    key = f"rb_{secrets.token_urlsafe(_BITS // 8)}"
    now = get_database_now(session)
    row = ApiKey(
        owner=owner,
        name=name,
        prefix=key[:_PREFIX_LENGTH],
        key_sha256=_compute_hash(key),
        scopes=[str(scope)],
        created_at=now,
        expires_at=None if expires_days is None else now + timedelta(days=expires_days),
    )
    session.add(row)
    session.flush()
    return row, key


def get_scope(row: ApiKey) -> Scope:
    """What a stored key may do."""
    return Scope(row.scopes[0])


def find_key(session: Session, key: str) -> KeyStatus | None:
    """The state of a key; None if there is no such key.

    Looked up by the hash of the whole key: the time that takes reveals nothing about other keys, because no
    one can choose a hash with the same beginning.
    """
    return _find_status(session, ApiKey.key_sha256 == _compute_hash(key))


def find_key_of_session(session: Session, token: str) -> KeyStatus | None:
    """The state of the key with which a browser has logged in; None if its session has ended."""
    key_id = select(LoginSession.key_id).where(
        LoginSession.token_sha256 == _compute_hash(token), LoginSession.expires_at > DatabaseNow()
    )
    return _find_status(session, ApiKey.id == key_id.scalar_subquery())


def _find_status(session: Session, condition: ColumnElement[bool]) -> KeyStatus | None:
    query = select(ApiKey, DatabaseNow().label("now")).where(condition)
    row_and_time = session.execute(query).one_or_none()
    if row_and_time is None:
        return None
    row, now = row_and_time
    used = row.last_used_at
    return KeyStatus(
        id=row.id,
        owner=row.owner,
        scope=get_scope(row),
        revoked=row.revoked_at is not None,
        seconds_left=None if row.expires_at is None else (row.expires_at - now).total_seconds(),
        use_is_recorded=used is not None and (now - used).total_seconds() < _SECONDS_BETWEEN_USES,
    )


def start_session(session: Session, key_id: str, *, seconds: float) -> str:
    """Log a browser in; returns its token, which cannot be read again. Removes sessions that have expired."""
    session.execute(delete(LoginSession).where(LoginSession.expires_at <= DatabaseNow()))
    token = f"{SESSION_PREFIX}{secrets.token_urlsafe(_BITS // 8)}"
    expires_at = get_database_now(session) + timedelta(seconds=seconds)
    session.add(LoginSession(token_sha256=_compute_hash(token), key_id=key_id, expires_at=expires_at))
    return token


def end_session(session: Session, token: str) -> None:
    """Log a browser out: its token, and every copy of it, has no access any more."""
    session.execute(delete(LoginSession).where(LoginSession.token_sha256 == _compute_hash(token)))


def record_use(session: Session, key_id: str) -> None:
    """Record that a key is in use, at most once a minute."""
    old = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < DatabaseNow(-_SECONDS_BETWEEN_USES))
    session.execute(update(ApiKey).where(ApiKey.id == key_id, old).values(last_used_at=DatabaseNow()))


def list_keys(session: Session, *, after: Cursor | None = None, limit: int | None = None) -> list[ApiKey]:
    """Up to `limit` keys, newest first, from `after` on; revoked and expired ones too."""
    query = select(ApiKey).order_by(ApiKey.created_at.desc(), ApiKey.id.desc())
    if after is not None:
        query = query.where(tuple_(ApiKey.created_at, ApiKey.id) < tuple_(after.value, after.id))
    return list(session.scalars(query.limit(limit)))


def revoke_key(session: Session, key_id: str) -> tuple[ApiKey, bool]:
    """Revoke a key; returns it, and whether it was valid until now.

    Raises:
        NotFound: there is none of that id.
    """
    row = session.get(ApiKey, key_id, with_for_update=True)
    if row is None:
        raise NotFound(f"There is no key {key_id}.")
    was_valid = row.revoked_at is None
    if was_valid:
        row.revoked_at = get_database_now(session)
        session.flush()
    return row, was_valid


def _compute_hash(key: str) -> str:
    # No slow hash: 256 random bits cannot be guessed, and each request would pay for it.
    return hashlib.sha256(key.encode()).hexdigest()
