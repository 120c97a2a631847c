"""`Idempotency-Key` on every POST that creates: sent again, a request is answered as it was the first time.

After draft-ietf-httpapi-idempotency-key-header. Errors are not remembered: what was refused changed nothing,
and may be sent again with the same key.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Annotated

from fastapi import Depends, FastAPI, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from api.http import problem_types
from api.http.bodies import BodyDep
from api.http.dependencies import caller_of, database_for
from api.http.problem_types import raises
from api.http.problems import Problem
from models.errors import FieldError, InvalidSpec, ServiceUnavailable
from models.store.database import Database
from models.store.idempotency import Held, KeyReused, Remembered, UnderWay, begin, release, remember

_KEY = re.compile(r'([\x21\x23-\x7e]{1,255})|"([\x21\x23-\x7e]{1,255})"')

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="1 to 255 visible characters of your choice, such as a UUID. Sent again within 24 hours "
        "with the same content, the request is answered as the first time, and changes nothing",
    ),
]


class Replayed(Exception):
    """The request has been answered before; `answer` is that answer."""

    def __init__(self, answer: Remembered) -> None:
        super().__init__()
        self.answer = answer


class Once:
    """A request that may come again; without a key it holds nothing and remembers nothing."""

    def __init__(self, database: Database, owner: str, key: str | None, fingerprint: str) -> None:
        self._database, self._owner, self._key, self._fingerprint = database, owner, key, fingerprint
        self._held: Held | None = None
        self._remembered = False

    @contextmanager
    def carried_out(self) -> Iterator[None]:
        """The block carries the request out; what it changes and its `answer` are one transaction.

        Raises:
            Replayed: it was carried out before.
            Problem: the key belongs to another request, or the first one is under way.
        """
        if self._key is None:
            yield
            return
        self._held = _begin(self._database, self._owner, self._key, self._fingerprint)
        try:
            yield
        except BaseException:
            self._release(self._held)
            raise
        if not self._remembered:
            self._release(self._held)

    def answer(
        self,
        session: Session,
        body: BaseModel,
        status: int,
        headers: Mapping[str, str] | None = None,
        *,
        again: BaseModel | None = None,
    ) -> Response:
        """The answer to this request, kept in the transaction of what it has made.

        `again` is kept instead of a body that must not be: one with a secret.

        Raises:
            UnderWay: it took so long that another request has taken its key over; nothing may be committed.
        """
        content, headers = body.model_dump_json().encode(), dict(headers or {})
        if self._held is not None:
            kept = content if again is None else again.model_dump_json().encode()
            remember(session, self._held, Remembered(status, headers, kept))
            self._remembered = True
        return Response(content, status, headers, media_type="application/json")

    def _release(self, held: Held) -> None:
        # Where the commit came through, and only its acknowledgement did not, the answer is there and stays.
        with suppress(ServiceUnavailable), self._database.write() as session:
            release(session, held)


@raises(problem_types.IDEMPOTENCY_KEY_REUSED, problem_types.IDEMPOTENCY_KEY_UNDER_WAY)
async def _once_with_body(request: Request, body: BodyDep, key: Key = None) -> Once:
    return _once(request, body, key)


@raises(problem_types.IDEMPOTENCY_KEY_REUSED, problem_types.IDEMPOTENCY_KEY_UNDER_WAY)
async def _once_without_body(request: Request, key: Key = None) -> Once:
    return _once(request, b"", key)


def _once(request: Request, body: bytes, key: str | None) -> Once:
    fingerprint = _fingerprint(request, body)
    return Once(database_for(request), caller_of(request).owner, _checked(key), fingerprint)


OnceDep = Annotated[Once, Depends(_once_with_body)]
OnceWithoutBodyDep = Annotated[Once, Depends(_once_without_body)]


def _checked(key: str | None) -> str | None:
    if key is None:
        return None
    found = _KEY.fullmatch(key)
    if found is None:
        detail = "1 to 255 visible characters, such as a UUID"
        raise InvalidSpec([FieldError("header Idempotency-Key", detail)])
    return found[1] or found[2]


def _fingerprint(request: Request, body: bytes) -> str:
    asked = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    return hashlib.sha256(asked + body).hexdigest()


def _begin(database: Database, owner: str, key: str, fingerprint: str) -> Held:
    try:
        with database.write() as session:
            found = begin(session, owner, key, fingerprint)
    except KeyReused:
        raise Problem(
            problem_types.IDEMPOTENCY_KEY_REUSED,
            f"The key {key} was sent before with another body, path or query; take a new key.",
        ) from None
    except UnderWay as error:
        raise Problem(
            problem_types.IDEMPOTENCY_KEY_UNDER_WAY,
            error.message,
            headers={"Retry-After": "1"},
        ) from None
    if isinstance(found, Remembered):
        raise Replayed(found)
    return found


def install(app: FastAPI) -> None:
    """Answer what was answered before."""
    app.add_exception_handler(Replayed, _replay)


def _replay(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Replayed)  # noqa: S101 (Starlette's type of a handler is wider than its calls)
    headers = {**error.answer.headers, "Idempotent-Replayed": "true"}
    return Response(error.answer.body, error.answer.status, headers, media_type="application/json")
