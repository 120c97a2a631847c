"""Request bodies: bounded in size, parsed as JSON, validated."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import pydantic_core
from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ValidationError

from api.http import problem_types
from api.http.openapi import accepts
from api.http.problem_types import raises
from api.http.problems import Problem, to_pointer
from models.errors import FieldError, InvalidSpec
from models.settings import Settings
from models.spec import get_validation_errors

M = TypeVar("M", bound=BaseModel)


T = TypeVar("T")


BATCH = ":batch"
"""What the path of a request for many jobs at once ends with."""


_SMALL_BYTES = 8_192


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
            [FieldError(to_pointer(place), detail) for place, detail in get_validation_errors(error)]
        ) from None
