"""Request bodies: bounded in size, parsed as JSON, validated."""

import codecs
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import pydantic_core
from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, RootModel, ValidationError

from api.http import problem_types
from api.http.openapi import RequestBody, documented
from api.http.problems import Problem, format_json_pointer
from models.errors import FieldError, InvalidSpec
from models.settings import Settings
from models.spec import get_validation_errors

M = TypeVar("M", bound=BaseModel)
BATCH = "/batch"
"""The end of the path of a request for many jobs."""
_SMALL_BYTES = 8_192


class JsonObject(RootModel[dict[str, Any]]):
    """Any JSON object."""


async def read_body_limited(request: Request, limit: int) -> bytes:
    """The body of a request, at most `limit` bytes, whatever its Content-Length says.

    Raises:
        Problem: it is larger, and the rest is not read; or it is compressed.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Problem(
            problem_types.UNSUPPORTED_MEDIA_TYPE,
            f"The body has the Content-Encoding {encoding}; send it uncompressed.",
            headers={"Accept-Encoding": "identity"},
        )
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise Problem(
                problem_types.BODY_TOO_LARGE,
                f"This installation accepts bodies of at most {limit:,} bytes here.",
            )
    return bytes(body)


@documented(problem_types.BODY_TOO_LARGE, problem_types.UNSUPPORTED_MEDIA_TYPE)
async def read_json_body(request: Request) -> bytes:
    """The body of a JSON request."""
    essence = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not re.fullmatch(r"application/(json|.*\+json)", essence):
        declared = f"The body is declared as {essence or 'nothing'}"
        detail = f"{declared}; send the header Content-Type: application/json."
        raise Problem(problem_types.UNSUPPORTED_MEDIA_TYPE, detail)
    settings: Settings = request.app.state.settings
    limit = settings.max_batch_bytes if request.scope["path"].endswith(BATCH) else settings.max_body_bytes
    return await read_json(request, limit)


async def read_json(request: Request, limit: int) -> bytes:
    """The JSON text of a request's body, without a byte order mark.

    Raises:
        Problem: it is too large, compressed, or in another encoding than UTF-8.
    """
    body = await read_body_limited(request, limit)
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or 0 in body[:4]:
        detail = "The body is UTF-16 or UTF-32; JSON is sent in UTF-8."
        raise Problem(problem_types.NOT_JSON, detail, errors=[FieldError("", detail)])
    return body.removeprefix(codecs.BOM_UTF8)


BodyDep = Annotated[bytes, Depends(read_json_body)]


def parse_body(model: type[M]) -> Callable[[bytes], Awaitable[M]]:
    """A dependency that parses and validates the request body as `model`."""

    @documented(problem_types.NOT_JSON, problem_types.INVALID_SPEC, body=RequestBody(model))
    async def read(body: BodyDep) -> M:
        # For a small document a thread costs more than parsing; a large one would block the event loop.
        if len(body) <= _SMALL_BYTES:
            return validate_json(model, body)
        return await run_in_threadpool(validate_json, model, body)

    return read


def may_name(body: bytes, *fields: str) -> bool:
    """Whether a body may have one of these fields, which may be spelt with escapes.

    A body without any is parsed by its validation alone.
    """
    return b"\\u" in body or any(f'"{field}"'.encode() in body for field in fields)


def validate_document(model: type[M], document: Any) -> M:
    """Validate `document` as JSON, so that a posted and a stored document mean the same.

    Raises:
        InvalidSpec: it names each field at fault.
    """
    # NaN and Infinity are passed on as constants and refused at their field.
    return validate_json(model, pydantic_core.to_json(document, inf_nan_mode="constants"))


def validate_json(model: type[M], body: bytes) -> M:
    """Parse and validate a JSON document.

    Raises:
        Problem: it is not JSON; the problem says where parsing stopped.
        InvalidSpec: it names each field at fault.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            reason = first["ctx"]["error"] if body.strip() else "it is empty"
            detail = f"The body is not a JSON document: {reason}."
            raise Problem(problem_types.NOT_JSON, detail, errors=[FieldError("", detail)]) from None
        raise InvalidSpec(
            [
                FieldError(format_json_pointer(location), detail)
                for location, detail in get_validation_errors(error, model)
            ]
        ) from None
