"""Tables of the service itself, which refer to no job: workers, counters, keys, logins, repeats, audit."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.identifiers import create_id
from models.store.base import ID, SERIAL, Base


class Worker(Base):
    """A worker that announces itself."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    processes: Mapped[int]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]


class ApiKey(Base):
    """A key that opens the API. Only its hash is stored."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=lambda: create_id("key"))
    owner: Mapped[str] = mapped_column(ID, index=True)
    """Whose rows it opens; several keys may open the same ones, so that a key can be replaced."""
    name: Mapped[str] = mapped_column(String(200))
    prefix: Mapped[str] = mapped_column(String(16))
    key_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class LoginSession(Base):
    """A browser that has logged in with a key. Only the hash of its cookie's token is stored."""

    __tablename__ = "login_sessions"

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_id: Mapped[str] = mapped_column(ID, ForeignKey("api_keys.id", ondelete="CASCADE"))
    expires_at: Mapped[datetime]


class Turn(Base):
    """When an owner was served by the queue last: a number that grows with each claim."""

    __tablename__ = "turns"

    owner: Mapped[str] = mapped_column(ID, primary_key=True)
    served: Mapped[int] = mapped_column(BigInteger)


class Counter(Base):
    """Something that only ever grows, such as the compilations of all workers."""

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[float]


class IdempotencyKey(Base):
    """A request that a client may send again: the same key and body get the first answer."""

    __tablename__ = "idempotency_keys"

    owner: Mapped[str] = mapped_column(ID, primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    """SHA-256 of method, path, query and body."""
    locked_until: Mapped[datetime]
    """Until then the request counts as in progress; later, without a response, its process counts as dead."""
    status: Mapped[int | None]
    """Of the answer; null while there is none."""
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(index=True)


class AuditEvent(Base):
    """Who did something that cannot be undone, or that opens doors. Refers to nothing, so it outlives all."""

    __tablename__ = "audit_events"

    id: Mapped[int] = mapped_column(SERIAL, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(index=True)
    owner: Mapped[str] = mapped_column(ID)
    key_id: Mapped[str | None] = mapped_column(ID)
    """The API key that was used; null on the command line, or without keys."""
    action: Mapped[str] = mapped_column(String(63))
    subject: Mapped[str] = mapped_column(String(200))
    """What it was done to: an id."""
    request_id: Mapped[str | None] = mapped_column(String(64))


class FrozenReport(Base):
    """A report as it was at one moment. Refers to nothing, so that what was cited outlives its experiment."""

    __tablename__ = "frozen_reports"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    """SHA-256 of the report as JSON, which has the experiment's id."""
    experiment_id: Mapped[str] = mapped_column(ID, index=True)
    owner: Mapped[str] = mapped_column(ID)
    title: Mapped[str] = mapped_column(Text)
    headline: Mapped[str] = mapped_column(Text)
    complete: Mapped[bool]
    sha256: Mapped[dict[str, Any]]
    """Of the document in each format."""
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    """A ZIP archive of the documents, named after their formats."""
    created_at: Mapped[datetime]
