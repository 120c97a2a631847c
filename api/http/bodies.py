"""Request bodies: bounded in size, parsed as JSON, validated."""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import pydantic_core
from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ValidationError

from api.http import problem_types
from api.http.openapi import accepts
from api.http.problem_types import problem_responses
from api.http.problems import Problem, format_json_pointer
from models.errors import FieldError, InvalidSpec
from models.settings import Settings
from models.spec import get_validation_errors

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
BATCH = ":batch"
"""What the path of a request for many jobs at once ends with."""
_SMALL_BYTES = 8_192


async def read_body_limited(request: Request, limit: int) -> bytes:
    """The body of a request, at most `limit` bytes, whatever its Content-Length says.

    Raises:
        Problem: it is larger; the rest is not read.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise Problem(
                problem_types.BODY_TOO_LARGE,
                f"This installation reads bodies of at most {limit:,} bytes here.",
            )
    return bytes(body)


@problem_responses(problem_types.BODY_TOO_LARGE, problem_types.UNSUPPORTED_MEDIA_TYPE)
async def read_json_body(request: Request) -> bytes:
    """The body of a JSON request."""
    essence = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not re.fullmatch(r"application/(json|.*\+json)", essence):
        declared = f"The body is declared as {essence or 'nothing'}"
        detail = f"{declared}; send the header Content-Type: application/json."
        raise Problem(problem_types.UNSUPPORTED_MEDIA_TYPE, detail)
    settings: Settings = request.app.state.settings
    limit = settings.max_batch_bytes if request.scope["path"].endswith(BATCH) else settings.max_body_bytes
    return await read_body_limited(request, limit)


BodyDep = Annotated[bytes, Depends(read_json_body)]


def parse_json(body: bytes) -> Any:
    """Parse a JSON document.

    Raises:
        Problem: the body is not JSON; it says where parsing stopped.
    """
    try:
        return pydantic_core.from_json(body)
    except ValueError as error:
        reason = str(error) if body.strip() else "it is empty"
        detail = f"The body is not a JSON document: {reason}."
        raise Problem(problem_types.NOT_JSON, detail, errors=[FieldError("", detail)]) from None


@problem_responses(problem_types.NOT_JSON, problem_types.INVALID_SPEC)
async def parse_document(body: BodyDep) -> Any:
    return await _run_parser(body, parse_json)


DocumentDep = Annotated[Any, Depends(parse_document)]


def parse_body(model: type[M]) -> Callable[[bytes], Awaitable[M]]:
    """A dependency that parses and validates the request body as `model`."""

    @accepts(model)
    @problem_responses(problem_types.NOT_JSON, problem_types.INVALID_SPEC)
    async def read(body: BodyDep) -> M:
        return await _run_parser(body, lambda body: validate_document(model, parse_json(body)))

    return read


async def _run_parser(body: bytes, reader: Callable[[bytes], T]) -> T:
    # For a small document a thread costs more than parsing; a large one would block the event loop.
    return reader(body) if len(body) <= _SMALL_BYTES else await run_in_threadpool(reader, body)


def validate_document(model: type[M], document: Any) -> M:
    """Validate `document` as JSON, so that a posted and a stored document mean the same.

    Raises:
        InvalidSpec: it names each field at fault.
    """
    try:
        # NaN and Infinity are passed on as constants and refused at their field.
        return model.model_validate_json(pydantic_core.to_json(document, inf_nan_mode="constants"))
    except ValidationError as error:
        raise InvalidSpec(
            [
                FieldError(format_json_pointer(location), detail)
                for location, detail in get_validation_errors(error)
            ]
        ) from None
