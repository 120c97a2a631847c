"""Authentication and authorization: API keys, their scopes and rate limits.

One pure ASGI middleware before every route, so that a new route cannot forget it. Without keys, only
requests from this machine are accepted. A key is cached for a few seconds: a request then costs no query,
and a revoked key still works for as long. A browser's session is not cached, so that a logout holds at once.
"""

import logging
import math
import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, urlencode, urlsplit

from cachetools import TLRUCache
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

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
PUBLIC_PATHS = {LOGIN, "/logout", "/healthz", "/readyz", "/docs", "/openapi.json", "/llms.txt"}
"""Paths that need no key: they show the release, and no user data."""
_PUBLIC_PREFIXES = ("/problems/", "/static/")
_PUBLIC_PAGES = {LOGIN, "/docs"}
"""Prefixes that need no key: pages about problems, styles and scripts."""
COOKIE = "regbench_session"
"""Cookie with a browser session's token: pages and event streams cannot set an Authorization header."""
KEY_CACHE_SECONDS = 5.0
_MAX_CACHED_KEYS = 10_000
_KEY = re.compile(r"rb_[A-Za-z0-9_-]{43}")
_TOKEN = re.compile(rf"{keys.SESSION_PREFIX}[A-Za-z0-9_-]{{43}}")
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_ANONYMOUS = Caller(owner="", sees_all=False)
_LOCAL = Caller(owner=LOCAL_OWNER, sees_all=True, is_admin=True)


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
        self._origins = settings.allowed_origins
        self._hosts = frozenset(host.strip().lower() for host in settings.allowed_hosts.split(",")) - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate the request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        # Programs get links at the root; browsers get the overview, which shows the caller's rows.
        is_index = scope["path"] == "/" and not problems.is_page_request(scope)
        if is_index or scope["path"] in PUBLIC_PATHS or scope["path"].startswith(_PUBLIC_PREFIXES):
            state["caller"] = await self._identify_reader(scope)
            await self.app(scope, receive, send)
            return
        try:
            if self._keys is None:
                self._check_local(scope)
                state["caller"] = _LOCAL
                await self.app(scope, receive, send)
                return
            caller, should_record = await self._keys.authenticate(scope)
            state[problems.RESPONSE_HEADERS] = await self._rates.count(caller, scope["method"])
        except (Problem, RegbenchError) as error:
            refusal = problems.build_error_response(Request(scope), error)
            if refusal.status_code == HTTPStatus.UNAUTHORIZED and problems.is_page_request(scope):
                query = scope["query_string"].decode("latin-1")
                target = quote(scope["path"]) + (f"?{query}" if query else "")
                refusal = RedirectResponse(f"{LOGIN}?{urlencode({'next': target})}", status_code=303)
            await refusal(scope, receive, send)
            return
        state["caller"] = caller
        await self.app(scope, receive, send)
        if should_record:
            # The response has been sent already.
            await run_in_threadpool(self._keys.record_use, caller)

    async def _identify_reader(self, scope: Scope) -> Caller:
        """Who reads a public page, for the menu in its header; without a valid session anonymous."""
        is_page = scope["path"] in _PUBLIC_PAGES or scope["path"].startswith("/problems/")
        if self._keys is None or not is_page or scope["method"] not in _SAFE_METHODS:
            return _ANONYMOUS
        try:
            caller, _ = await self._keys.authenticate(scope)
        except (Problem, RegbenchError):
            return _ANONYMOUS
        return caller

    def _check_local(self, scope: Scope) -> None:
        """Refuse cross-site requests that a web page makes through a browser on this machine.

        Raises:
            Problem: the Host header names another host, or the request comes from another site.
        """
        headers = Headers(scope=scope)
        host = headers.get("Host", "")
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = ""
        if not ("*" in self._hosts or is_loopback_only(name) or name in self._hosts):
            raise Problem(
                problem_types.WRONG_HOST,
                "Without API keys the service accepts only loopback host names and "
                "those in REGBENCH_ALLOWED_HOSTS.",
            )
        allowed = headers.get("Origin") in self._origins
        if scope["method"] not in _SAFE_METHODS and is_cross_site(headers) and not allowed:
            raise Problem(
                problem_types.CROSS_ORIGIN,
                "Without API keys only this service's own pages may send write requests from a browser.",
            )


def is_cross_site(headers: Headers) -> bool:
    """Whether a browser sends this request for a page of another site."""
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get("Host", "").lower()


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
        key, is_session = _extract_key(Headers(scope=scope), scope["method"])
        should_record = False
        if (cached := self._cache.get(key)) is None:

            def load() -> keys.KeyStatus | None:
                with self._database.read() as session:
                    find = keys.find_key_of_session if is_session else keys.find_key
                    return find(session, key)

            row = await run_in_threadpool(load)
            if row is None or row.revoked:
                raise _build_unauthorized(
                    problem_types.INVALID_KEY, "This API key has no access to this resource."
                )
            seconds = KEY_CACHE_SECONDS if row.seconds_left is None else row.seconds_left
            if seconds <= 0:
                raise _build_unauthorized(
                    problem_types.EXPIRED_KEY, "This API key has expired; ask for a new one."
                )
            caller = Caller(
                row.owner,
                sees_all=row.scope in (scopes.Scope.OBSERVE, scopes.Scope.ADMIN),
                key_id=row.id,
                is_admin=row.scope is scopes.Scope.ADMIN,
                scope=row.scope,
            )
            cached = _CachedKey(caller, row.scope, min(seconds, KEY_CACHE_SECONDS))
            should_record = not row.use_is_recorded
            if not is_session:
                self._cache[key] = cached
        required = scopes.Scope.READ if scope["method"] in _SAFE_METHODS else scopes.Scope.WRITE
        if not cached.scope.includes(required):
            raise build_forbidden(required)
        return cached.caller, should_record

    def record_use(self, caller: Caller) -> None:
        """Record that a key was used."""
        try:
            with self._database.write() as session:
                keys.record_use(session, str(caller.key_id))
        except ServiceUnavailable as error:
            log.warning("could not record the use of key %s: %s", caller.key_id, error)


def _extract_key(headers: Headers, method: str) -> tuple[str, bool]:
    """The request's key, or its session's token and True."""
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    cookie = cookie_parser(headers.get("Cookie", "")).get(COOKIE)
    if not scheme and cookie:
        if method not in _SAFE_METHODS and is_cross_site(headers):
            raise Problem(
                problem_types.CROSS_ORIGIN,
                "With a browser's cookie, only this service's own pages may send write requests.",
            )
        if not _TOKEN.fullmatch(cookie):
            raise _build_unauthorized(problem_types.INVALID_KEY, "This session has ended; log in again.")
        return cookie, True
    if not scheme:
        raise _build_unauthorized(
            problem_types.MISSING_KEY, "Send an API key: the header Authorization: Bearer rb_...", code=None
        )
    if scheme.lower() != "bearer" or not _KEY.fullmatch(key.strip()):
        raise _build_unauthorized(
            problem_types.INVALID_KEY,
            "This is not an API key: the header must be Authorization: Bearer rb_...",
        )
    return key.strip(), False


def _build_unauthorized(kind: ProblemType, detail: str, *, code: str | None = "invalid_token") -> Problem:
    # RFC 6750, section 3.1: a request without credentials gets no error code.
    challenge = "Bearer" if code is None else f'Bearer error="{code}"'
    return Problem(kind, detail, headers={"WWW-Authenticate": challenge})


def build_forbidden(required: scopes.Scope) -> Problem:
    """The problem of a key whose scope is too small."""
    return Problem(
        problem_types.INSUFFICIENT_SCOPE,
        f"This requires a key with the scope {required}.",
        headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{required}"'},
    )


class _RateLimiter:
    """Requests per minute of each key, counted by this process alone."""

    def __init__(self, settings: Settings) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._per_minute = {"reads": settings.max_reads_per_minute, "writes": settings.max_writes_per_minute}

    async def count(self, caller: Caller, method: str) -> dict[str, str]:
        """Count one request; returns the rate limit headers.

        Their form is that of draft-ietf-httpapi-ratelimit-headers.

        Raises:
            Problem: the limit is reached.
        """
        name = "reads" if method in _SAFE_METHODS else "writes"
        if not self._per_minute[name]:
            return {}
        limit = RateLimitItemPerMinute(self._per_minute[name])
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
                f"This key may make {limit.amount:,} {name} per minute; try again in {seconds} s.",
                headers=headers | {"Retry-After": str(seconds)},
            )
        return headers
