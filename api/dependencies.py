"""What routes ask for: the settings, the database, ids, and the posted document, checked."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import pydantic_core
from fastapi import BackgroundTasks, Depends, Header, Path, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ValidationError

from api import problem_types
from api.bells import Bells
from api.openapi import accepts
from api.problem_types import raises
from api.problems import Problem, to_pointer
from api.watching import Watcher
from models.artifacts import ArtifactStore
from models.database import Database
from models.errors import FieldError, InvalidSpec, NotFound
from models.settings import Settings
from models.spec import faults_of

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

BATCH = ":batch"
"""What the path of a request for many jobs at once ends with."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_SMALL_BYTES = 8_192


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


SettingsDep = Annotated[Settings, Depends(_settings)]


@dataclass(frozen=True)
class Caller:
    """Who asks, and which rows it sees."""

    owner: str
    """Of what it creates."""
    sees_all: bool
    """Whether it sees everybody's rows, not only its own, and may do what admins do."""
    key_id: str | None = None
    """The API key that it showed; None where none is needed."""


_AT_THE_DOOR = (
    problem_types.MISSING_KEY,
    problem_types.INVALID_KEY,
    problem_types.EXPIRED_KEY,
    problem_types.INSUFFICIENT_SCOPE,
    problem_types.CROSS_ORIGIN,
    problem_types.WRONG_HOST,
    problem_types.RATE_LIMITED,
)


def caller_of(request: Request) -> Caller:
    """Who asks."""
    caller: Caller = request.state.caller  # by api/doors.py
    return caller


def database_for(request: Request) -> Database:
    """The database, as far as the caller may see it."""
    database: Database = request.app.state.database
    caller = caller_of(request)
    return database if caller.sees_all else database.of(caller.owner)


# What a dependency needs of another, it takes from the request: each that FastAPI has to go about within
# another costs what looking a job up does.
@raises(*_AT_THE_DOOR)
async def _caller(request: Request) -> Caller:
    return caller_of(request)


CallerDep = Annotated[Caller, Depends(_caller)]


@raises(problem_types.SERVICE_UNAVAILABLE, *_AT_THE_DOOR)
async def _database(request: Request) -> Database:
    return database_for(request)


DatabaseDep = Annotated[Database, Depends(_database)]


async def _watcher(request: Request) -> Watcher:
    watcher: Watcher = request.app.state.watcher
    return watcher


WatcherDep = Annotated[Watcher, Depends(_watcher)]


async def _ring(request: Request, background: BackgroundTasks) -> Callable[[Sequence[str]], None]:
    """Rings for jobs after the answer: their rows are safe already, and the broker may be slow or away."""
    bells: Bells = request.app.state.bells
    return lambda job_ids: background.add_task(bells.ring, job_ids)


RingDep = Annotated[Callable[[Sequence[str]], None], Depends(_ring)]


@raises(problem_types.SERVICE_UNAVAILABLE)
async def _artifacts(settings: SettingsDep) -> ArtifactStore:
    return ArtifactStore(settings)


@raises(problem_types.NOT_FOUND)
async def _job_id(job_id: Annotated[str, Path(description="As `POST /v1/jobs` gave it")]) -> str:
    return known_form("job", job_id)


@raises(problem_types.NOT_FOUND)
async def _experiment_id(
    experiment_id: Annotated[str, Path(description="As `POST /v1/experiments` gave it")],
) -> str:
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


# Left out of the OpenAPI document, where each answer's formats say it (OpenAPI 3.1, "Parameter Object").
Accept = Annotated[str, Header(include_in_schema=False)]
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
                problem_types.BODY_TOO_LARGE,
                f"This installation reads bodies of at most {most:,} bytes here.",
            )
    return bytes(body)


@raises(problem_types.BODY_TOO_LARGE, problem_types.UNSUPPORTED_MEDIA_TYPE)
async def _body(request: Request) -> bytes:
    """The body of a JSON request."""
    _check_content_type(request.headers.get("Content-Type", ""))
    settings: Settings = request.app.state.settings
    most = settings.max_batch_bytes if request.scope["path"].endswith(BATCH) else settings.max_body_bytes
    return await counted_body(request, most)


def _check_content_type(content_type: str) -> None:
    essence = content_type.partition(";")[0].strip().lower()
    if essence == "application/json" or (essence.startswith("application/") and essence.endswith("+json")):
        return
    raise Problem(
        problem_types.UNSUPPORTED_MEDIA_TYPE,
        f"The body is declared as {essence or 'nothing'}; send the header Content-Type: application/json.",
    )


BodyDep = Annotated[bytes, Depends(_body)]


def json_document(body: bytes) -> Any:
    """The posted document, as Python values.

    Raises:
        Problem: the body is not JSON; it says where the reading stopped.
    """
    try:
        return pydantic_core.from_json(body)
    except ValueError as error:
        why = str(error) if body.strip() else "it is empty"
        detail = f"The body is not a JSON document: {why}."
        raise Problem(problem_types.NOT_JSON, detail, errors=[FieldError("", detail)]) from None


@raises(problem_types.NOT_JSON, problem_types.INVALID_SPEC)
async def _document(body: BodyDep) -> Any:
    return await _read(body, json_document)


DocumentDep = Annotated[Any, Depends(_document)]


def posted(model: type[M]) -> Callable[[bytes], Awaitable[M]]:
    """A dependency that gives the posted document as `model`."""

    @accepts(model)
    @raises(problem_types.NOT_JSON, problem_types.INVALID_SPEC)
    async def read(body: BodyDep) -> M:
        return await _read(body, lambda body: validated(model, json_document(body)))

    return read


async def _read(body: bytes, reader: Callable[[bytes], T]) -> T:
    # The way into a thread and back takes longer than to read a job; a large document would hold others up.
    return reader(body) if len(body) <= _SMALL_BYTES else await run_in_threadpool(reader, body)


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
