"""Who may come in: API keys, their scopes and rates; without keys, only what comes from this machine.

One pure ASGI middleware before every route, so that a new route cannot forget it. A key that was found is
believed for a few seconds: a request then costs no query, and a revoked key still works for as long.
"""

import logging
import math
import re
import time
from collections.abc import Iterable
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
OPEN = {"/", LOGIN, "/logout", "/healthz", "/readyz", "/docs", "/openapi.json"}
"""Paths that need no key: they show the release, not what anybody made with it."""
_OPEN_BELOW = ("/problems/", "/static/")
"""Nor do these: what a missing key means, and the pages' styles and scripts."""
COOKIE = "regbench_key"
"""Holds a browser's key: its pages, and the streams that they follow, can send no header of their own."""
BELIEVED_SECONDS = 5.0
_MOST_BELIEVED = 10_000
_KEY = re.compile(r"rb_[A-Za-z0-9_-]{43}")
_READS = {"GET", "HEAD", "OPTIONS"}
_NOBODY = Caller(owner="", sees_all=False)
_LOCAL = Caller(owner=LOCAL_OWNER, sees_all=True)

RawHeaders = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class _Believed:
    """A key that was found in the database a moment ago."""

    caller: Caller
    scope: scopes.Scope
    seconds: float
    """For which it may be believed."""


class Door:
    """ASGI middleware: names the caller in `request.state.caller`, or answers with a problem."""

    def __init__(self, app: ASGIApp, settings: Settings, database: Database) -> None:
        self.app = app
        self._keys = _Keys(database) if settings.api_keys_required != "false" else None
        self._rates = _Rates(settings)
        self._hosts = frozenset(each.strip().lower() for each in settings.allowed_hosts.split(",")) - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        if scope["path"] in OPEN or scope["path"].startswith(_OPEN_BELOW):
            state["caller"] = _NOBODY
            await self.app(scope, receive, send)
            return
        try:
            if self._keys is None:
                self._check_local(scope)
                state["caller"] = _LOCAL
                await self.app(scope, receive, send)
                return
            caller, use_is_news = await self._keys.caller_of(scope)
            rate = await self._rates.count(caller, scope["method"])
        except (Problem, RegbenchError) as error:
            refusal = _to_login(scope, error) or problems.answer_error(Request(scope), error)
            await refusal(scope, receive, send)
            return
        state["caller"] = caller

        async def send_with_rate(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *rate]
            await send(message)

        await self.app(scope, receive, send_with_rate if rate else send)
        if use_is_news:
            # The answer is on its way already.
            await self._keys.note_use(caller)

    def _check_local(self, scope: Scope) -> None:
        """Refuse what a web page makes a browser on this machine send.

        Raises:
            Problem: the request is for another host's name, or comes from another site's page.
        """
        headers = Headers(scope=scope)
        host = headers.get("Host", "")
        if not ("*" in self._hosts or _is_local(host) or _name_in(host) in self._hosts):
            raise Problem(
                problem_types.WRONG_HOST,
                "Without API keys only loopback names are answered, and those in REGBENCH_ALLOWED_HOSTS.",
            )
        if scope["method"] not in _READS and _of_another_site(headers, host):
            raise Problem(
                problem_types.CROSS_ORIGIN,
                "Without API keys a browser may change something only from this service's own pages.",
            )


@lru_cache(maxsize=256)
def _is_local(host: str) -> bool:
    return is_loopback_only(_name_in(host))


def _name_in(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def from_another_site(headers: Headers) -> bool:
    """Whether a browser sends this on behalf of another site's page."""
    return _of_another_site(headers, headers.get("Host", ""))


def _of_another_site(headers: Headers, host: str) -> bool:
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and urlsplit(origin).netloc.lower() != host.lower()


class _Keys:
    """The keys that requests show, and those of them that were found a moment ago."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Only the event loop touches it: it is not thread-safe.
        self._believed: TLRUCache[str, _Believed] = TLRUCache(
            _MOST_BELIEVED, lambda _key, value, now: now + value.seconds, timer=time.monotonic
        )

    async def caller_of(self, scope: Scope) -> tuple[Caller, bool]:
        """Whose key the request shows, and whether its use should be noted.

        Raises:
            Problem: none, an unknown or expired one, or one whose scope is too small.
            ServiceUnavailable: the database cannot be reached.
        """
        key = _key_in(Headers(scope=scope), scope["method"])
        use_is_news = False
        if (believed := self._believed.get(key)) is None:
            found, use_is_news = await run_in_threadpool(self._look_up, key)
            believed = self._believed[key] = found
        needed = scopes.Scope.READ if scope["method"] in _READS else scopes.Scope.WRITE
        if not believed.scope.includes(needed):
            raise forbidden(needed)
        return believed.caller, use_is_news

    async def note_use(self, caller: Caller) -> None:
        """Note that a key was used."""
        await run_in_threadpool(self._note_use, caller)

    def _look_up(self, key: str) -> tuple[_Believed, bool]:
        with self._database.read() as session:
            found = keys.find_key(session, key)
        if found is None or found.revoked:
            raise _unauthorized(problem_types.INVALID_KEY, "This API key opens nothing here.")
        left = BELIEVED_SECONDS if found.seconds_left is None else found.seconds_left
        if left <= 0:
            raise _unauthorized(problem_types.EXPIRED_KEY, "This API key has expired; ask for a new one.")
        caller = Caller(found.owner, sees_all=found.scope is scopes.Scope.ADMIN, key_id=found.id)
        return _Believed(caller, found.scope, min(left, BELIEVED_SECONDS)), not found.use_is_old_news

    def _note_use(self, caller: Caller) -> None:
        try:
            with self._database.write() as session:
                keys.note_use(session, str(caller.key_id))
        except ServiceUnavailable as error:
            log.warning("the last use of key %s was not noted: %s", caller.key_id, error)


def _to_login(scope: Scope, error: Problem | RegbenchError) -> Response | None:
    """Where a browser goes that asks for a page without a key that opens it."""
    unknown = isinstance(error, Problem) and error.kind.status == HTTPStatus.UNAUTHORIZED
    if not (unknown and problems.asks_for_page(scope)):
        return None
    query = scope["query_string"].decode("latin-1")
    wanted = quote(scope["path"]) + (f"?{query}" if query else "")
    return RedirectResponse(f"{LOGIN}?{urlencode({'next': wanted})}", status_code=303)


def _key_in(headers: Headers, method: str) -> str:
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    kept = cookie_parser(headers.get("Cookie", "")).get(COOKIE)
    if not scheme and kept:
        if method not in _READS and from_another_site(headers):
            raise Problem(
                problem_types.CROSS_ORIGIN,
                "With a key that a browser keeps, only this service's own pages may change something.",
            )
        scheme, key = "Bearer", kept
    if not scheme:
        raise _unauthorized(
            problem_types.MISSING_KEY, "Send an API key: the header Authorization: Bearer rb_...", code=None
        )
    if scheme.lower() != "bearer" or not _KEY.fullmatch(key.strip()):
        raise _unauthorized(
            problem_types.INVALID_KEY, "This is not an API key: it is to be Authorization: Bearer rb_..."
        )
    return key.strip()


def _unauthorized(kind: ProblemType, detail: str, *, code: str | None = "invalid_token") -> Problem:
    # RFC 6750, section 3.1: a request that shows no key is told no error code.
    challenge = "Bearer" if code is None else f'Bearer error="{code}"'
    return Problem(kind, detail, headers={"WWW-Authenticate": challenge})


def forbidden(needed: scopes.Scope) -> Problem:
    """What a key is told whose scope is too small."""
    return Problem(
        problem_types.INSUFFICIENT_SCOPE,
        f"This needs a key of the scope {needed}.",
        headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{needed}"'},
    )


class _Rates:
    """How often each key may ask in a minute, counted by this process alone."""

    def __init__(self, settings: Settings) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._reads = _limit(settings.max_reads_per_minute)
        self._writes = _limit(settings.max_writes_per_minute)

    async def count(self, caller: Caller, method: str) -> RawHeaders:
        """Count one request; returns the headers that say what is left.

        Their form is that of draft-ietf-httpapi-ratelimit-headers.

        Raises:
            Problem: there is nothing left.
        """
        name, limit = ("reads", self._reads) if method in _READS else ("writes", self._writes)
        if limit is None:
            return []
        allowed = await self._limiter.hit(limit, name, str(caller.key_id))
        left = await self._limiter.get_window_stats(limit, name, str(caller.key_id))
        seconds = max(1, math.ceil(left.reset_time - time.time()))
        headers = {
            "RateLimit-Policy": f'"{name}";q={limit.amount};w={limit.get_expiry()}',
            "RateLimit": f'"{name}";r={left.remaining};t={seconds}',
        }
        if not allowed:
            raise Problem(
                problem_types.RATE_LIMITED,
                f"This key may make {limit.amount:,} {name} a minute; try again in {seconds} s.",
                headers=headers | {"Retry-After": str(seconds)},
            )
        return _raw(headers.items())


def _limit(a_minute: int) -> RateLimitItemPerMinute | None:
    return RateLimitItemPerMinute(a_minute) if a_minute else None


def _raw(headers: Iterable[tuple[str, str]]) -> RawHeaders:
    return [(name.lower().encode(), value.encode()) for name, value in headers]
