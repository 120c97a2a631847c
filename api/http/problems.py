"""Every error of the API as an RFC 9457 problem document.

`pointer` in `errors` is a JSON pointer (RFC 6901) into the request's body, such as `/model/hidden_units/0`
(empty: the whole body), or `?limit` for a query parameter.
"""

import logging
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http import problem_types
from api.http.problem_types import ProblemType
from api.http.request_metrics import REQUEST_SECONDS, ROUTE, UNMATCHED
from models.errors import (
    BudgetExceeded,
    Conflict,
    DatasetUnavailable,
    FieldError,
    InvalidSpec,
    NotFound,
    PredictorUnavailable,
    QuotaExceeded,
    RegbenchError,
    ServiceUnavailable,
)
from models.logs import log_context

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
IS_PAGE = "is_page"
"""Key in a request's state: the response is a page, whatever the Accept header."""
RESPONSE_HEADERS = "response_headers"
"""Key in a request's state: headers that a middleware adds to the response."""
_API_PREFIXES = ("/v1/", "/static/")
RETRY_AFTER_SECONDS = 5
_MAX_ERRORS = 50
_SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
"""Headers of every response: other sites may not embed or frame it, nor see the referrer."""
_DEFAULT_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    # Cached by the client only, which must revalidate (with the ETag) before use.
    "Cache-Control": "private, no-cache",
}
_LIST_HEADERS = (b"accept", b"accept-encoding", b"if-match", b"if-none-match", b"prefer")
"""Headers whose lines are one list, in their order (RFC 9110, section 5.3)."""
_METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class ProblemError(BaseModel):
    """One fault of the request."""

    pointer: str = Field(description="JSON pointer into the body, or `?name` of a query parameter")
    detail: str


class ProblemDocument(BaseModel):
    """RFC 9457: why a request was refused, and what to do about it."""

    type: str = Field(
        description="Stable name of the kind of problem, for programs: an address of this service"
    )
    title: str = Field(description="The kind of problem, in words")
    status: int
    detail: str = Field(description="What is wrong with this request")
    instance: str = Field(description="The requested path")
    errors: list[ProblemError] = Field(description="Each error of the request; may be empty")
    request_id: str = Field(description="Also in the header X-Request-Id and in the service's log")


RenderProblemPage = Callable[[Request, ProblemDocument, Mapping[str, str]], Response]
"""Renders a problem as a page, with these headers."""

# The one table from domain errors to HTTP. A subclass not named here is answered as its parent.
KINDS: dict[type[RegbenchError], ProblemType] = {
    NotFound: problem_types.NOT_FOUND,
    Conflict: problem_types.CONFLICT,
    DatasetUnavailable: problem_types.DATASET_UNAVAILABLE,
    BudgetExceeded: problem_types.OVER_BUDGET,
    InvalidSpec: problem_types.INVALID_SPEC,
    QuotaExceeded: problem_types.OVER_QUOTA,
    PredictorUnavailable: problem_types.PREDICTOR_UNAVAILABLE,
    ServiceUnavailable: problem_types.SERVICE_UNAVAILABLE,
    RegbenchError: problem_types.INTERNAL_ERROR,
}


class Problem(Exception):
    """A fault of the request as HTTP, such as a body that is too large. Domain errors are not this."""

    def __init__(
        self,
        kind: ProblemType,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}


def format_json_pointer(parts: Iterable[int | str]) -> str:
    """The JSON pointer (RFC 6901) that `parts` spell: `("a/b", 0)` gives `/a~1b/0`."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def install(app: FastAPI, page: RenderProblemPage) -> None:
    """Answer every error of `app` with a problem document, and of browsers with `page`."""
    app.state.problem_page = page
    for error in (Problem, RegbenchError, RequestValidationError, HTTPException):
        app.add_exception_handler(error, build_error_response)
    app.add_middleware(HeadAsGet)
    app.add_middleware(RequestEnvelope)


def is_page_request(scope: Scope) -> bool:
    """Whether the client is a browser that requests a page, not a program."""
    if scope["path"].startswith(_API_PREFIXES):
        return False
    return scope["state"].get(IS_PAGE, False) or "text/html" in Headers(scope=scope).get("Accept", "")


def build_response(request: Request, problem: Problem) -> Response:
    """The response to `request`: a problem document, or its page."""
    kind = problem.kind
    document = ProblemDocument(
        type=kind.uri,
        title=kind.title,
        status=kind.status,
        detail=problem.detail,
        instance=request.url.path,
        errors=[
            ProblemError(pointer=error.pointer, detail=error.detail) for error in problem.errors[:_MAX_ERRORS]
        ],
        request_id=request.state.request_id,
    )
    if is_page_request(request.scope):
        show: RenderProblemPage = request.app.state.problem_page
        return show(request, document, problem.headers)
    return JSONResponse(
        document.model_dump(), status_code=kind.status, headers=problem.headers, media_type=MEDIA_TYPE
    )


def build_error_response(request: Request, error: Exception) -> Response:
    """The response to a problem, a domain error, or an error that FastAPI or Starlette raises."""
    match error:
        case Problem():
            problem = error
        case RegbenchError():
            problem = _convert_domain_error(request, error)
        case RequestValidationError():
            problem = _convert_bad_parameters(error)
        case HTTPException():
            problem = _convert_http_exception(request, error)
        case _:
            raise TypeError("no such error is handled here") from error
    return build_response(request, problem)


def _convert_domain_error(request: Request, error: RegbenchError) -> Problem:
    kind = next(KINDS[parent] for parent in type(error).__mro__ if parent in KINDS)
    if kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request %s: %s", request.state.request_id, error, exc_info=error.__cause__)
    faults = error.errors if isinstance(error, InvalidSpec) else []
    headers = {}
    if isinstance(error, QuotaExceeded):
        headers["Retry-After"] = str(error.retry_after)
    elif isinstance(error, ServiceUnavailable):
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return Problem(kind, _format_summary(faults) if faults else error.message, errors=faults, headers=headers)


def _convert_bad_parameters(error: RequestValidationError) -> Problem:
    faults = []
    for fault in error.errors():
        source, *rest = fault["loc"]
        name = ".".join(str(part) for part in rest if not isinstance(part, int))
        unknown = fault["type"] == "extra_forbidden"
        detail = "there is no such parameter here" if unknown else str(fault["msg"])
        faults.append(FieldError(f"?{name}" if source == "query" else f"{source} {name}", detail))
    return Problem(problem_types.INVALID_PARAMETER, _format_summary(faults), errors=faults)


def _convert_http_exception(request: Request, error: HTTPException) -> Problem:
    status = HTTPStatus(error.status_code)
    path = request.url.path
    if status == HTTPStatus.NOT_FOUND:
        return Problem(problem_types.NOT_FOUND, f"There is nothing at {path}; /docs lists all paths.")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        # The router's own list has the methods of the first matching route only; and /v1/jobs/batch matches
        # /v1/jobs/{job_id} too, but is no job.
        routes = iter_route_contexts(request.app.routes)
        matching = [route for route in routes if route.path_regex.match(path)]
        parameters = min(route.path_regex.groups for route in matching)
        methods = {
            method
            for route in matching
            if route.path_regex.groups == parameters
            for method in route.methods or ()
        }
        if "GET" in methods:
            methods.add("HEAD")
        headers = {"Allow": ", ".join(sorted(methods))}
        detail = f"{request.method} is not possible on {path}; possible: {headers['Allow']}."
        return Problem(problem_types.METHOD_NOT_ALLOWED, detail, headers=headers)
    # RFC 9457: about:blank is the type of a problem that only its status describes.
    unlisted = ProblemType("", status, status.phrase, "", "")
    return Problem(unlisted, str(error.detail), headers=dict(error.headers or {}))


def _format_summary(faults: Sequence[FieldError]) -> str:
    first = f"{faults[0].pointer}: {faults[0].detail}" if faults[0].pointer else faults[0].detail
    return first if len(faults) == 1 else f"{first} (and {len(faults) - 1} more, see errors)"


def normalize_headers(scope: Scope) -> None:
    """Combine the lines of each list header into one.

    Raises:
        Problem: an HTTP/1.1 request does not have exactly one Host header (RFC 9112, section 3.2).
    """
    lines = scope["headers"]
    names = [name for name, _ in lines]
    hosts = names.count(b"host")
    if hosts > 1 or (not hosts and scope["http_version"] == "1.1"):
        kind = ProblemType("", HTTPStatus.BAD_REQUEST, HTTPStatus.BAD_REQUEST.phrase, "", "")
        raise Problem(kind, f"The request has {hosts or 'no'} Host headers; it must have one.")
    if repeated := [name for name in _LIST_HEADERS if names.count(name) > 1]:
        scope["headers"] = [line for line in lines if line[0] not in repeated] + [
            (name, b", ".join(value for other, value in lines if other == name)) for name in repeated
        ]


def choose_request_id(scope: Scope) -> str:
    """The client's own X-Request-Id, so that a request can be followed across services; else a new one."""
    offered = Headers(scope=scope).get("X-Request-Id", "")
    return offered if _REQUEST_ID.fullmatch(offered) else f"{random.getrandbits(64):016x}"


def add_headers(headers: MutableHeaders, state: Mapping[str, Any]) -> None:
    """Add what every response has; a route's own headers take precedence."""
    headers["X-Request-Id"] = state["request_id"]
    headers.raw.extend(_SECURITY_HEADERS)
    headers.update(state.get(RESPONSE_HEADERS, {}))
    if "Content-Encoding" in headers and headers.get("ETag", "").startswith('"'):
        # A strong tag would promise the same bytes as without compression.
        headers["ETag"] = f"W/{headers['ETag']}"
    headers.update({name: text for name, text in _DEFAULT_HEADERS.items() if name not in headers})


class RequestEnvelope:
    """ASGI middleware: every response carries a request id, and an uncaught exception becomes a problem."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = choose_request_id(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        began = time.perf_counter()
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                add_headers(MutableHeaders(scope=message), state)
                observe_response(scope, message["status"], time.perf_counter() - began)
            await send(message)

        with log_context(request_id=request_id):
            try:
                normalize_headers(scope)
                await self.app(scope, receive, send_with_id)
            except Problem as error:
                await build_response(Request(scope), error)(scope, receive, send_with_id)
            except ClientDisconnect:
                log.info("request %s: the client has gone", request_id)
            except Exception:
                log.exception("request %s failed", request_id)
                if started:
                    raise
                detail = f"Internal error; the service's log has the cause under {request_id}."
                problem = Problem(problem_types.INTERNAL_ERROR, detail)
                await build_response(Request(scope), problem)(scope, receive, send_with_id)


def observe_response(scope: Scope, status: int, seconds: float) -> None:
    """Count a response, and log one that refuses its request."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    route = scope["state"].get(ROUTE, UNMATCHED)
    REQUEST_SECONDS.labels(method, route, status).observe(seconds)
    if status >= HTTPStatus.BAD_REQUEST:
        request_id = scope["state"]["request_id"]
        # %r: a path may contain line breaks.
        log.info("request %s: %s %r was answered with %d", request_id, method, scope["path"], status)


class HeadAsGet:
    """ASGI middleware: HEAD is answered as GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_start(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                # Immediately, so that a stream ends.
                await send({"type": "http.response.body", "body": b""})

        await self.app({**scope, "method": "GET"}, receive, send_start)
