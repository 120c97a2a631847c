"""`Idempotency-Key` on every POST that creates: a repeated request gets the stored response.

After draft-ietf-httpapi-idempotency-key-header. Errors are not stored: a refused request changed nothing
and may be repeated with the same key.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Annotated

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from api.http import problem_types
from api.http.bodies import BodyDep
from api.http.dependencies import get_caller, get_database
from api.http.openapi import documented
from api.http.problems import Problem
from models.errors import FieldError, InvalidSpec, ServiceUnavailable
from models.store.database import Database
from models.store.idempotency import (
    KeyClaim,
    KeyReused,
    RequestInProgress,
    StoredResponse,
    claim_key,
    release,
    store_response,
)

_KEY = re.compile(r'([\x21\x23-\x7e]{1,255})|"([\x21\x23-\x7e]{1,255})"')

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="1 to 255 visible characters of your choice, such as a UUID. If it is repeated within 24 "
        "hours with the same content, the request gets the first response and changes nothing",
    ),
]


class Replayed(Exception):
    """The request has been answered before, with this response."""

    def __init__(self, response: StoredResponse) -> None:
        super().__init__()
        self.response = response


class IdempotentRequest:
    """A request that a client may repeat. Without a key, nothing is stored."""

    def __init__(self, database: Database, owner: str, key: str | None, fingerprint: str) -> None:
        self._database, self._owner, self._key, self._fingerprint = database, owner, key, fingerprint
        self._claim: KeyClaim | None = None
        self._stored = False

    @contextmanager
    def executed(self) -> Iterator[None]:
        """The block executes the request; its changes and `store_response` are one transaction.

        Raises:
            Replayed: it was executed before.
            Problem: the key belongs to another request, or the first one is in progress.
        """
        if self._key is None:
            yield
            return
        try:
            with self._database.write() as session:
                claim = claim_key(session, self._owner, self._key, self._fingerprint)
        except KeyReused:
            raise Problem(
                problem_types.IDEMPOTENCY_KEY_REUSED,
                f"The key {self._key} was sent before with another body, path or query; use a new key.",
            ) from None
        except RequestInProgress as error:
            raise Problem(
                problem_types.IDEMPOTENCY_KEY_IN_PROGRESS, error.message, headers={"Retry-After": "1"}
            ) from None
        if isinstance(claim, StoredResponse):
            raise Replayed(claim)
        self._claim = claim
        try:
            yield
        except BaseException:
            self._release(claim)
            raise
        if not self._stored:
            self._release(claim)

    def store_response(
        self,
        session: Session,
        body: BaseModel,
        status: int,
        headers: Mapping[str, str] | None = None,
        *,
        again: BaseModel | None = None,
    ) -> Response:
        """Build the response, and store it in the transaction of the request's changes.

        `again` is stored in place of a body that contains a secret.

        Raises:
            RequestInProgress: another request has claimed the expired key; nothing may be committed.
        """
        content, headers = body.model_dump_json().encode(), dict(headers or {})
        if self._claim is not None:
            stored = content if again is None else again.model_dump_json().encode()
            store_response(session, self._claim, StoredResponse(status, headers, stored))
            self._stored = True
        return Response(content, status, headers, media_type="application/json")

    def _release(self, key_claim: KeyClaim) -> None:
        # If the commit succeeded and only its acknowledgement was lost, the stored response stays.
        with suppress(ServiceUnavailable), self._database.write() as session:
            release(session, key_claim)


@documented(problem_types.IDEMPOTENCY_KEY_REUSED, problem_types.IDEMPOTENCY_KEY_IN_PROGRESS)
async def get_idempotent_request(request: Request, body: BodyDep, key: Key = None) -> IdempotentRequest:
    return _build_request(request, body, key)


@documented(problem_types.IDEMPOTENCY_KEY_REUSED, problem_types.IDEMPOTENCY_KEY_IN_PROGRESS)
async def get_idempotent_request_without_body(request: Request, key: Key = None) -> IdempotentRequest:
    return _build_request(request, b"", key)


def _build_request(request: Request, body: bytes, key: str | None) -> IdempotentRequest:
    if key is not None:
        match = _KEY.fullmatch(key)
        if match is None:
            detail = "1 to 255 visible characters, such as a UUID"
            raise InvalidSpec([FieldError("header Idempotency-Key", detail)])
        key = match[1] or match[2]
    target = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    fingerprint = hashlib.sha256(target + body).hexdigest()
    return IdempotentRequest(get_database(request), get_caller(request).owner, key, fingerprint)


IdempotentDep = Annotated[IdempotentRequest, Depends(get_idempotent_request)]
IdempotentWithoutBodyDep = Annotated[IdempotentRequest, Depends(get_idempotent_request_without_body)]


def send_stored_response(_request: Request, error: Exception) -> Response:
    """The handler of Replayed."""
    assert isinstance(error, Replayed)  # noqa: S101 (Starlette's type of a handler is wider than its calls)
    headers = {**error.response.headers, "Idempotent-Replayed": "true"}
    return Response(error.response.body, error.response.status, headers, media_type="application/json")
