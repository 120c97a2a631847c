"""API keys and the audit trail over HTTP, for keys of the scope admin."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from api.http import problem_types
from api.http.auth import build_forbidden
from api.http.bodies import parse_body
from api.http.dependencies import Caller, CallerDep, DatabaseDep, parse_id
from api.http.idempotency import IdempotentDep
from api.http.openapi import documented
from api.http.pagination import (
    CursorQuery,
    LimitQuery,
    decode_cursor,
    encode_created_at,
    render_page,
    split_page,
)
from api.http.routing import StrictQueryRoute
from api.http.schemas import ResponseModel
from models.identifiers import OWNER_PATTERN
from models.scopes import Scope
from models.spec import VISIBLE
from models.store import audit
from models.store import keys as store
from models.store.service_tables import ApiKey
from models.store.tables import LOCAL_OWNER

router = APIRouter(prefix="/v1", tags=["keys"], route_class=StrictQueryRoute)


class NewKey(BaseModel):
    """A key to create."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, VISIBLE] = Field(
        min_length=1, max_length=200, pattern=r"^[^\x00]*$", description="A name for people"
    )
    owner: str = Field(
        LOCAL_OWNER,
        pattern=OWNER_PATTERN,
        description="The owner whose rows it gives access to; several keys may share an owner",
    )
    scope: Scope = Field(Scope.WRITE, strict=False)
    expires_days: float | None = Field(None, gt=0, le=36_500, allow_inf_nan=False)


class Key(ResponseModel):
    """A key without its secret."""

    id: str
    name: str
    owner: str
    scope: Scope
    prefix: str = Field(description="The first characters of the key")
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute")
    revoked_at: datetime | None


class MadeKey(Key):
    """A new key, shown this once."""

    key: str | None = Field(
        description="For the header `Authorization: Bearer ...`; shown only once, "
        "and null in the response to a repeated request"
    )


class KeyPage(ResponseModel):
    """Keys, newest first."""

    items: list[Key]
    next_cursor: str | None


class AuditEvent(ResponseModel):
    """A change of access, or a deletion."""

    id: int
    at: datetime
    owner: str = Field(description="Of the key that was used")
    key_id: str | None = Field(
        description="The API key of the request; null on the command line, or without keys"
    )
    action: str = Field(
        description="`key_created`, `key_revoked`, `job_deleted`, `experiment_deleted` or `report_deleted`"
    )
    subject: str = Field(description="The id of the job, experiment or key; the digest of the report")
    request_id: str | None


class AuditPage(ResponseModel):
    """Audit events, newest first."""

    items: list[AuditEvent]
    next_cursor: str | None


def require_admin(caller: CallerDep) -> Caller:
    if not caller.is_admin:
        raise build_forbidden(Scope.ADMIN)
    return caller


AdminDep = Annotated[Caller, Depends(require_admin)]


@documented(problem_types.NOT_FOUND)
def parse_key_id(key_id: Annotated[str, Path(description="As `GET /v1/keys` shows it")]) -> str:
    return parse_id("key", key_id)


KeyId = Annotated[str, Depends(parse_key_id)]


@router.get("/keys", response_model=KeyPage)
def list_keys(
    _: AdminDep,
    database: DatabaseDep,
    request: Request,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> Response:
    """All keys, newest first, revoked and expired ones too; follow `Link: rel=next` or `next_cursor`."""
    with database.read() as session:
        keys = store.list_keys(session, after=decode_cursor(cursor), limit=limit + 1)
    page, next_cursor = split_page(keys, limit, encode_created_at)
    key_page = KeyPage(items=[_serialize_key(row) for row in page], next_cursor=next_cursor)
    return render_page(request, key_page, next_cursor, None)


@router.post("/keys", status_code=status.HTTP_201_CREATED, response_model=MadeKey)
def create_key(
    admin: AdminDep,
    new_key: Annotated[NewKey, Depends(parse_body(NewKey))],
    database: DatabaseDep,
    request: Request,
    idempotent: IdempotentDep,
) -> Response:
    """Create a key. Only this response contains it; the service stores its hash."""
    with idempotent.executed(), database.write() as session:
        row, key = store.create_key(session, **new_key.model_dump())
        record_audit_event(session, "key_created", row.id, admin, request)
        made_key = MadeKey(**_serialize_key(row).model_dump(), key=key)
        again = made_key.model_copy(update={"key": None})
        headers = {"Cache-Control": "no-store"}
        return idempotent.store_response(session, made_key, status.HTTP_201_CREATED, headers, again=again)


@router.post("/keys/{key_id}/revoke")
def revoke_key(admin: AdminDep, key_id: KeyId, database: DatabaseDep, request: Request) -> Key:
    """Revoke a key for good, effective within 5 seconds. Idempotent."""
    with database.write() as session:
        row, was_open = store.revoke_key(session, key_id)
        if was_open:
            record_audit_event(session, "key_revoked", row.id, admin, request)
        return _serialize_key(row)


@router.get("/audit", response_model=AuditPage)
def list_audit_events(
    _: AdminDep,
    database: DatabaseDep,
    request: Request,
    limit: LimitQuery = 50,
    cursor: Annotated[
        str | None, Query(pattern=r"^[0-9]{1,18}$", description="`next_cursor` of the previous page")
    ] = None,
) -> Response:
    """Who made and revoked keys, and deleted jobs and experiments, newest first.

    Follow `Link: rel=next` or `next_cursor`.
    """
    with database.read() as session:
        events = audit.find_events(session, before=None if cursor is None else int(cursor), limit=limit + 1)
    page, next_cursor = split_page(events, limit, lambda event: str(event.id))
    audit_page = AuditPage(items=[AuditEvent.model_validate(row) for row in page], next_cursor=next_cursor)
    return render_page(request, audit_page, next_cursor, None)


def record_audit_event(session: Session, action: str, subject: str, caller: Caller, request: Request) -> None:
    """Record an action of `caller` in the audit trail, in the transaction of the action."""
    audit.record(
        session,
        action,
        subject,
        owner=caller.owner,
        key_id=caller.key_id,
        request_id=request.state.request_id,
    )


def _serialize_key(row: ApiKey) -> Key:
    return Key(
        scope=store.get_scope(row),
        **{name: getattr(row, name) for name in Key.model_fields if name != "scope"},
    )
