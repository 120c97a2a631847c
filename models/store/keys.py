"""API keys: made, found by their hash, revoked. A key itself is never stored."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import or_, select, tuple_, update
from sqlalchemy.orm import Session

from models.errors import NotFound
from models.scopes import Scope
from models.store.job_search import Cursor
from models.store.sql_functions import DatabaseNow
from models.store.tables import ApiKey
from models.store.transitions import get_database_now

_BITS = 256
_SHOWN = 8
_USE_NOTED_EVERY_SECONDS = 60.0


@dataclass(frozen=True)
class FoundKey:
    """A key that somebody has shown, as it stands now."""

    id: str
    owner: str
    scope: Scope
    revoked: bool
    seconds_left: float | None
    """Until it expires, negative afterwards; None: it never does."""
    use_is_old_news: bool
    """Whether its last use was noted within the minute."""


def create_key(
    session: Session, *, name: str, owner: str, scope: Scope, expires_days: float | None = None
) -> tuple[ApiKey, str]:
    """Store a new key; returns its row, and the key itself, which cannot be had again."""
    key = f"rb_{secrets.token_urlsafe(_BITS // 8)}"
    now = get_database_now(session)
    row = ApiKey(
        owner=owner,
        name=name,
        prefix=key[:_SHOWN],
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


def find_key(session: Session, key: str) -> FoundKey | None:
    """The key that somebody has shown; None if there is none such.

    Looked up by the hash of the whole key: how long that takes says nothing about the keys that there are,
    because nobody can choose a hash that begins as another does.
    """
    query = select(ApiKey, DatabaseNow().label("now")).where(ApiKey.key_sha256 == _compute_hash(key))
    result = session.execute(query).one_or_none()
    if result is None:
        return None
    row, now = result
    used = row.last_used_at
    return FoundKey(
        id=row.id,
        owner=row.owner,
        scope=get_scope(row),
        revoked=row.revoked_at is not None,
        seconds_left=None if row.expires_at is None else (row.expires_at - now).total_seconds(),
        use_is_old_news=used is not None and (now - used).total_seconds() < _USE_NOTED_EVERY_SECONDS,
    )


def record_use(session: Session, key_id: str) -> None:
    """Note that a key is in use, at most once a minute."""
    old = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < DatabaseNow(-_USE_NOTED_EVERY_SECONDS))
    session.execute(
        update(ApiKey)
        .where(ApiKey.id == key_id, old)
        .values(last_used_at=DatabaseNow())
        .execution_options(synchronize_session=False)
    )


def list_keys(session: Session, *, after: Cursor | None = None, limit: int | None = None) -> list[ApiKey]:
    """Up to `limit` keys, newest first, from `after` on; revoked and expired ones too."""
    query = select(ApiKey).order_by(ApiKey.created_at.desc(), ApiKey.id.desc())
    if after is not None:
        query = query.where(tuple_(ApiKey.created_at, ApiKey.id) < tuple_(after.value, after.id))
    return list(session.scalars(query.limit(limit)))


def revoke_key(session: Session, key_id: str) -> tuple[ApiKey, bool]:
    """Close a key for good; returns it, and whether it was open until now.

    Raises:
        NotFound: there is none of that id.
    """
    row = session.get(ApiKey, key_id, with_for_update=True)
    if row is None:
        raise NotFound(f"There is no key {key_id}.")
    was_open = row.revoked_at is None
    if was_open:
        row.revoked_at = get_database_now(session)
        session.flush()
    return row, was_open


def _compute_hash(key: str) -> str:
    # No slow hash: against 256 random bits guessing is hopeless, and it would be paid at every request.
    return hashlib.sha256(key.encode()).hexdigest()
