"""Authentication and authorization: API keys, their scopes and rate limits.

One pure ASGI middleware before every route, so that a new route cannot forget it. Without keys, only
requests from this machine are accepted. A key is cached for a few seconds: a request then costs no query,
and a revoked key still works for as long.
"""

import logging
import math
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import quote, urlencode, urlsplit

from cachetools import TLRUCache
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http import problem_types, problems
from api.http.dependencies import Caller
from api.http.problem_types import ProblemType
from api.http.problems import Problem
from models import scopes
from models.errors import RegbenchError, ServiceUnavailable
from models.network_address import is_loopback_only
from models.settings import Settings
from models.store import keys
from models.store.database import Database
from models.store.tables import LOCAL_OWNER

log = logging.getLogger(__name__)

LOGIN = "/login"
PUBLIC_PATHS = {"/", LOGIN, "/logout", "/healthz", "/readyz", "/docs", "/openapi.json"}
"""Paths that need no key: they show the release, and no user data."""
_PUBLIC_PREFIXES = ("/problems/", "/static/")
"""Prefixes that need no key: pages about problems, styles and scripts."""
COOKIE = "regbench_key"
"""Cookie with a browser's key: pages and event streams cannot set an Authorization header."""
KEY_CACHE_SECONDS = 5.0
_MAX_CACHED_KEYS = 10_000
_KEY = re.compile(r"rb_[A-Za-z0-9_-]{43}")
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_ANONYMOUS = Caller(owner="", sees_all=False)
_LOCAL = Caller(owner=LOCAL_OWNER, sees_all=True)

RawHeaders = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class _CachedKey:
    """A valid key, as read from the database."""

    caller: Caller
    scope: scopes.Scope
    seconds: float
    """Time to live in the cache."""


class AuthMiddleware:
    """ASGI middleware: sets `request.state.caller`, or responds with a problem."""

    def __init__(self, app: ASGIApp, settings: Settings, database: Database) -> None:
        self.app = app
        self._keys = _KeyCache(database) if settings.api_keys_required != "false" else None
        self._rates = _RateLimiter(settings)
        self._hosts = frozenset(host.strip().lower() for host in settings.allowed_hosts.split(",")) - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate the request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        if scope["path"] in PUBLIC_PATHS or scope["path"].startswith(_PUBLIC_PREFIXES):
            state["caller"] = _ANONYMOUS
            await self.app(scope, receive, send)
            return
        try:
            if self._keys is None:
                self._check_local(scope)
                state["caller"] = _LOCAL
                await self.app(scope, receive, send)
                return
            caller, should_record = await self._keys.authenticate(scope)
            rate = await self._rates.count(caller, scope["method"])
        except (Problem, RegbenchError) as error:
            await _build_refusal(scope, error)(scope, receive, send)
            return
        state["caller"] = caller

        async def send_with_rate(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *rate]
            await send(message)

        await self.app(scope, receive, send_with_rate if rate else send)
        if should_record:
            # The response has been sent already.
            await self._keys.record_use(caller)

    def _check_local(self, scope: Scope) -> None:
        """Refuse cross-site requests that a web page makes through a browser on this machine.

        Raises:
            Problem: the Host header names another host, or the request comes from another site.
        """
        headers = Headers(scope=scope)
        host = headers.get("Host", "")
        if not ("*" in self._hosts or _is_local(host) or _parse_host_name(host) in self._hosts):
            raise Problem(
                problem_types.WRONG_HOST,
                "Without API keys only loopback names are answered, and those in REGBENCH_ALLOWED_HOSTS.",
            )
        if scope["method"] not in _SAFE_METHODS and _is_cross_site_for(headers, host):
            raise Problem(
                problem_types.CROSS_ORIGIN,
                "Without API keys a browser may change something only from this service's own pages.",
            )


@lru_cache(maxsize=256)
def _is_local(host: str) -> bool:
    return is_loopback_only(_parse_host_name(host))


def _parse_host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_cross_site(headers: Headers) -> bool:
    """Whether a browser sends this request for a page of another site."""
    return _is_cross_site_for(headers, headers.get("Host", ""))


def _is_cross_site_for(headers: Headers, host: str) -> bool:
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and urlsplit(origin).netloc.lower() != host.lower()


class _KeyCache:
    """Looks up the keys of requests, with a cache."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Not thread-safe: used by the event loop only.
        self._cache: TLRUCache[str, _CachedKey] = TLRUCache(
            _MAX_CACHED_KEYS, lambda _key, value, now: now + value.seconds, timer=time.monotonic
        )

    async def authenticate(self, scope: Scope) -> tuple[Caller, bool]:
        """The caller whose key the request carries, and whether to record the key's use.

        Raises:
            Problem: there is no key, it is unknown or expired, or its scope is too small.
            ServiceUnavailable: the database cannot be reached.
        """
        key = _extract_key(Headers(scope=scope), scope["method"])
        should_record = False
        if (cached := self._cache.get(key)) is None:
            loaded, should_record = await run_in_threadpool(self._find_key, key)
            cached = self._cache[key] = loaded
        required = scopes.Scope.READ if scope["method"] in _SAFE_METHODS else scopes.Scope.WRITE
        if not cached.scope.includes(required):
            raise build_forbidden(required)
        return cached.caller, should_record

    async def record_use(self, caller: Caller) -> None:
        """Record that a key was used."""

        def write() -> None:
            try:
                with self._database.write() as session:
                    keys.record_use(session, str(caller.key_id))
            except ServiceUnavailable as error:
                log.warning("could not record the use of key %s: %s", caller.key_id, error)

        await run_in_threadpool(write)

    def _find_key(self, key: str) -> tuple[_CachedKey, bool]:
        with self._database.read() as session:
            row = keys.find_key(session, key)
        if row is None or row.revoked:
            raise _build_unauthorized(
                problem_types.INVALID_KEY, "This API key has no access to this resource."
            )
        seconds = KEY_CACHE_SECONDS if row.seconds_left is None else row.seconds_left
        if seconds <= 0:
            raise _build_unauthorized(
                problem_types.EXPIRED_KEY, "This API key has expired; ask for a new one."
            )
        caller = Caller(row.owner, sees_all=row.scope is scopes.Scope.ADMIN, key_id=row.id)
        return _CachedKey(caller, row.scope, min(seconds, KEY_CACHE_SECONDS)), not row.use_is_recorded


def _build_refusal(scope: Scope, error: Problem | RegbenchError) -> Response:
    """A problem; for a browser that requests a page without a valid key, a redirect to the login page."""
    unknown = isinstance(error, Problem) and error.kind.status == HTTPStatus.UNAUTHORIZED
    if not (unknown and problems.is_page_request(scope)):
        return problems.build_error_response(Request(scope), error)
    query = scope["query_string"].decode("latin-1")
    target = quote(scope["path"]) + (f"?{query}" if query else "")
    return RedirectResponse(f"{LOGIN}?{urlencode({'next': target})}", status_code=303)


def _extract_key(headers: Headers, method: str) -> str:
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    cookie = cookie_parser(headers.get("Cookie", "")).get(COOKIE)
    if not scheme and cookie:
        if method not in _SAFE_METHODS and is_cross_site(headers):
            raise Problem(
                problem_types.CROSS_ORIGIN,
                "With a key that a browser keeps, only this service's own pages may change something.",
            )
        scheme, key = "Bearer", cookie
    if not scheme:
        raise _build_unauthorized(
            problem_types.MISSING_KEY, "Send an API key: the header Authorization: Bearer rb_...", code=None
        )
    if scheme.lower() != "bearer" or not _KEY.fullmatch(key.strip()):
        raise _build_unauthorized(
            problem_types.INVALID_KEY, "This is not an API key: it is to be Authorization: Bearer rb_..."
        )
    return key.strip()


def _build_unauthorized(kind: ProblemType, detail: str, *, code: str | None = "invalid_token") -> Problem:
    # RFC 6750, section 3.1: a request without credentials gets no error code.
    challenge = "Bearer" if code is None else f'Bearer error="{code}"'
    return Problem(kind, detail, headers={"WWW-Authenticate": challenge})


def build_forbidden(required: scopes.Scope) -> Problem:
    """The problem of a key whose scope is too small."""
    return Problem(
        problem_types.INSUFFICIENT_SCOPE,
        f"This needs a key of the scope {required}.",
        headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{required}"'},
    )


class _RateLimiter:
    """Requests per minute of each key, counted by this process alone."""

    def __init__(self, settings: Settings) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._reads = _build_limit(settings.max_reads_per_minute)
        self._writes = _build_limit(settings.max_writes_per_minute)

    async def count(self, caller: Caller, method: str) -> RawHeaders:
        """Count one request; returns the rate limit headers.

        Their form is that of draft-ietf-httpapi-ratelimit-headers.

        Raises:
            Problem: the limit is reached.
        """
        name, limit = ("reads", self._reads) if method in _SAFE_METHODS else ("writes", self._writes)
        if limit is None:
            return []
        allowed = await self._limiter.hit(limit, name, str(caller.key_id))
        window = await self._limiter.get_window_stats(limit, name, str(caller.key_id))
        seconds = max(1, math.ceil(window.reset_time - time.time()))
        headers = {
            "RateLimit-Policy": f'"{name}";q={limit.amount};w={limit.get_expiry()}',
            "RateLimit": f'"{name}";r={window.remaining};t={seconds}',
        }
        if not allowed:
            raise Problem(
                problem_types.RATE_LIMITED,
                f"This key may make {limit.amount:,} {name} a minute; try again in {seconds} s.",
                headers=headers | {"Retry-After": str(seconds)},
            )
        return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def _build_limit(a_minute: int) -> RateLimitItemPerMinute | None:
    return RateLimitItemPerMinute(a_minute) if a_minute else None
