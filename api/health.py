"""Is the process alive, and can it take and train jobs?"""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, fail_after, to_thread
from fastapi import APIRouter, Request, Response, status
from pydantic import Field
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from api.http.routing import StrictQueryRoute
from api.http.schemas import ResponseModel
from migrations import explain_revision
from models.dispatch import get_publisher
from models.settings import Settings
from models.store.engine import make_engine
from models.store.readiness import find_write_fault, read_schema

T = TypeVar("T")


class Health(ResponseModel):
    """The process answers."""

    status: str


class Readiness(ResponseModel):
    """Whether jobs can be taken and trained."""

    status: str = Field(description="`ready` or `not ready`")
    checks: dict[str, str] = Field(description="`ok`, or what is wrong")


router = APIRouter(tags=["health"], route_class=StrictQueryRoute)


OK = "ok"
PING_SECONDS = 0.5
_CHECK_SECONDS = 5.0
_CACHE_SECONDS = 1.0


class ReadinessCheck:
    """Checks the database, the broker and the workers at most once a second, for all concurrent requests.

    /readyz needs no API key: if each request made a check, clients could occupy all threads of the API. Its
    threads and its database connection are its own, so that it answers when all others are in use.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = make_engine(settings)
        self._threads = CapacityLimiter(8)
        self._lock = asyncio.Lock()
        self._checks: dict[str, str] = {}
        self._expires_at = 0.0

    async def get_checks(self) -> dict[str, str]:
        """The state of each part, at most a second old."""
        async with self._lock:
            if time.monotonic() >= self._expires_at:
                database, broker = await asyncio.gather(
                    self._run(_check_database, self._engine, _report_database),
                    self._run(_check_broker_and_worker, self._settings, _report_broker),
                )
                self._checks = database | broker
                self._expires_at = time.monotonic() + _CACHE_SECONDS
            return self._checks

    def close(self) -> None:
        """Close the connection."""
        self._engine.dispose()

    async def _run(
        self, check: Callable[[T], dict[str, str]], argument: T, report: Callable[[str], dict[str, str]]
    ) -> dict[str, str]:
        try:
            with fail_after(_CHECK_SECONDS):
                return await to_thread.run_sync(
                    check, argument, abandon_on_cancel=True, limiter=self._threads
                )
        except TimeoutError:
            return report("does not respond in time")


@router.get("/healthz")
async def show_health() -> Health:
    """Liveness: the process answers. Touches nothing else."""
    return Health(status=OK)


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Not ready"}})
async def show_readiness(request: Request, response: Response) -> Readiness:
    """Readiness: a database that stores jobs, migrations, broker, and at least one live worker."""
    readiness_check: ReadinessCheck = request.app.state.readiness_check
    checks = await readiness_check.get_checks()
    ready = all(reason == OK for reason in checks.values())
    response.status_code = status.HTTP_200_OK if ready else status.HTTP_503_SERVICE_UNAVAILABLE
    return Readiness(status="ready" if ready else "not ready", checks=checks)


def _check_database(engine: Engine) -> dict[str, str]:
    try:
        with engine.connect().execution_options(read_only=True) as connection:
            outdated = explain_revision(read_schema(connection), upgrading=True)
    except SQLAlchemyError:
        return _report_database("cannot be reached")
    if not outdated and (fault := find_write_fault(engine)):
        return {"database": f"the database stores no jobs: {fault}", "migrations": OK}
    return {"database": OK, "migrations": outdated or OK}


def _report_database(fault: str) -> dict[str, str]:
    return {"database": f"the database {fault}", "migrations": "unknown without the database"}


def _check_broker_and_worker(settings: Settings) -> dict[str, str]:
    app = get_publisher(settings)
    from kombu.exceptions import KombuError  # noqa: PLC0415 (comes with Celery, which is imported when needed)
    from redis.exceptions import RedisError, ResponseError  # noqa: PLC0415 (the same)

    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=1)
            # On this connection: from Celery's pool, a ping takes two connections one after the other, and
            # as many pings at once as the pool has connections would wait for each other without end.
            # One reply is enough; without a limit it waits for more until the time is over.
            replies = app.control.ping(timeout=PING_SECONDS, limit=1, connection=connection)
    except (OSError, KombuError, RedisError) as error:
        if isinstance(error, ResponseError) or isinstance(error.__cause__, ResponseError):
            return _report_broker(f"refuses commands: {error}")
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return _report_broker(f"presents a certificate that is not trusted: {error}")
        return _report_broker("cannot be reached")
    return {"broker": OK, "worker": OK if replies else "no worker responds; jobs stay queued until one does"}


def _report_broker(fault: str) -> dict[str, str]:
    # Without a broker no worker can be asked.
    return {"broker": f"the broker {fault}", "worker": "unknown without the broker"}
