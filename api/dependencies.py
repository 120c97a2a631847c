"""What routes ask for: the settings, the database, ids, and the posted document, checked."""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

import pydantic_core
from fastapi import Depends, Request
from pydantic import BaseModel, Field, ValidationError

from api.problems import Problem, to_pointer
from models.artifacts import ArtifactStore
from models.database import Database
from models.errors import FieldError, InvalidSpec, NotFound
from models.settings import Settings
from models.spec import faults_of
from models.store.jobs import Place
from models.tables import LOCAL_OWNER

M = TypeVar("M", bound=BaseModel)

_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")

Limit = Annotated[int, Field(ge=1, le=200, description="Most items in one page")]
Cursor = Annotated[str | None, Field(max_length=200, description="`next_cursor` of the page before")]


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


SettingsDep = Annotated[Settings, Depends(_settings)]


@dataclass(frozen=True)
class Caller:
    """Who asks, and which rows it sees."""

    owner: str
    """Of what it creates."""
    sees_all: bool
    """Whether it sees everybody's rows, not only its own."""


def _caller() -> Caller:
    return Caller(owner=LOCAL_OWNER, sees_all=True)


CallerDep = Annotated[Caller, Depends(_caller)]


def _database(request: Request, caller: CallerDep) -> Database:
    database: Database = request.app.state.database
    return database if caller.sees_all else database.of(caller.owner)


DatabaseDep = Annotated[Database, Depends(_database)]


def _artifacts(settings: SettingsDep) -> ArtifactStore:
    return ArtifactStore(settings)


def _job_id(job_id: str) -> str:
    return known_form("job", job_id)


def _experiment_id(experiment_id: str) -> str:
    return known_form("experiment", experiment_id)


def known_form(kind: str, given: str) -> str:
    """`given`, if it can be an id.

    Raises:
        NotFound: it cannot.
    """
    # What cannot be an id never reaches the database: PostgreSQL refuses some strings altogether.
    if not _ID.fullmatch(given):
        raise NotFound(f"There is no {kind} of that id.")
    return given


ArtifactsDep = Annotated[ArtifactStore, Depends(_artifacts)]
JobId = Annotated[str, Depends(_job_id)]
ExperimentId = Annotated[str, Depends(_experiment_id)]


async def counted_body(request: Request, most: int) -> bytes:
    """A request's body of at most so many bytes. They are counted: a Content-Length may be absent, or a lie.

    Raises:
        Problem: there are more; the rest is not read.
    """
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "body_too_large",
                "The body is too large",
                f"This installation reads bodies of at most {most:,} bytes here.",
            )
    return bytes(body)


async def _body(request: Request, settings: SettingsDep) -> bytes:
    """The body of a JSON request."""
    _check_content_type(request.headers.get("Content-Type", ""))
    return await counted_body(request, settings.max_body_bytes)


def _check_content_type(content_type: str) -> None:
    essence = content_type.partition(";")[0].strip().lower()
    if essence == "application/json" or (essence.startswith("application/") and essence.endswith("+json")):
        return
    raise Problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "The body must be JSON",
        f"The body is declared as {essence or 'nothing'}; send the header Content-Type: application/json.",
    )


BodyDep = Annotated[bytes, Depends(_body)]


def json_document(body: BodyDep) -> Any:
    """The posted document, as Python values.

    Raises:
        Problem: the body is not JSON; it says where the reading stopped.
    """
    try:
        return pydantic_core.from_json(body)
    except ValueError as error:
        why = str(error) if body.strip() else "it is empty"
        detail = f"The body is not a JSON document: {why}."
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "not_json",
            "The body is not JSON",
            detail,
            errors=[FieldError("", detail)],
        ) from None


DocumentDep = Annotated[Any, Depends(json_document)]


def posted(model: type[M]) -> Callable[[Any], M]:
    """A dependency that gives the posted document as `model`."""

    def read(document: DocumentDep) -> M:
        return validated(model, document)

    return read


def validated(model: type[M], document: Any) -> M:
    """`document` as `model`, judged as JSON, so that a posted and a stored document mean the same.

    Raises:
        InvalidSpec: it names each field at fault.
    """
    try:
        # NaN and Infinity travel as the words that Python's JSON knows, and are refused at their field.
        return model.model_validate_json(pydantic_core.to_json(document, inf_nan_mode="constants"))
    except ValidationError as error:
        raise InvalidSpec(
            [FieldError(to_pointer(place), detail) for place, detail in faults_of(error)]
        ) from None


def encode_cursor(place: Place) -> str:
    """An opaque name for `place`, fit for a URL."""
    return base64.urlsafe_b64encode(f"{place.created_at.isoformat()} {place.id}".encode()).decode()


def decode_cursor(cursor: str | None) -> Place | None:
    """The place that `cursor` names; None: the beginning.

    Raises:
        InvalidSpec: it is not one that the service gave.
    """
    if cursor is None:
        return None
    try:
        moment, _, row_id = base64.b64decode(cursor, altchars="-_", validate=True).decode().partition(" ")
        place = Place(datetime.fromisoformat(moment), row_id)
    except (binascii.Error, ValueError):
        place = None
    if place is None or place.created_at.utcoffset() != timedelta(0) or not _ID.fullmatch(place.id):
        raise InvalidSpec([FieldError("?cursor", "not a cursor of this service; leave it out to start anew")])
    return place


def next_link(request: Request, cursor: str) -> str:
    """The value of `Link` that leads to the next page of the same question."""
    url = request.url.include_query_params(cursor=cursor)
    return f'<{url.path}?{url.query}>; rel="next"'


def negotiate(accept: str, offered: list[str]) -> str | None:
    """Which of the `offered` media types suits an Accept header best; None: none does.

    Between equals the earlier offer wins (RFC 9110, section 12.5.1).
    """
    wishes = [_wish(part) for part in (accept or "*/*").split(",")]
    best, best_quality = None, 0.0
    for media_type in offered:
        matching = [wish for wish in wishes if _matches(wish[0], media_type)]
        # The most specific range decides: text/html;q=0 forbids what */* allows.
        quality = max(matching, key=lambda wish: 2 - wish[0].count("*"))[1] if matching else 0.0
        if quality > best_quality:
            best, best_quality = media_type, quality
    return best


def _wish(part: str) -> tuple[str, float]:
    pattern, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                return pattern, float(value)
            except ValueError:
                return pattern, 0.0
    return pattern, 1.0


def _matches(pattern: str, media_type: str) -> bool:
    kind = media_type.partition("/")[0]
    return pattern in (media_type, f"{kind}/*", "*/*")
