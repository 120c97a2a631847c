"""Is the process alive, and can it take and train jobs?"""

import asyncio
import time

from anyio import fail_after, to_thread
from fastapi import APIRouter, Request, Response, status
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from api.http.dependencies import DatabaseDep
from api.http.routing import StrictQueryRoute
from api.http.schemas import ResponseModel
from models.dispatch import get_publisher
from models.errors import ServiceUnavailable
from models.settings import Settings
from models.store.database import Database


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
_BROKER_CHECK_SECONDS = 5.0
_CACHE_SECONDS = 1.0


class BrokerCheck:
    """Checks the broker and the workers at most once a second, once for all concurrent requests.

    /readyz needs no API key: if each request made a check, anybody could occupy every thread of the API.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._checks: dict[str, str] = {}
        self._expires_at = 0.0

    async def get_checks(self) -> dict[str, str]:
        """The state of the broker and of the workers, at most a second old."""
        async with self._lock:
            if time.monotonic() >= self._expires_at:
                try:
                    with fail_after(_BROKER_CHECK_SECONDS):
                        self._checks = await to_thread.run_sync(
                            _check_broker_and_worker, self._settings, abandon_on_cancel=True
                        )
                except TimeoutError:
                    self._checks = _report_broken("the broker does not respond in time")
                self._expires_at = time.monotonic() + _CACHE_SECONDS
            return self._checks


@router.get("/healthz")
async def show_health() -> Health:
    """Liveness: the process answers. Touches nothing else."""
    return Health(status=OK)


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Not ready"}})
async def show_readiness(request: Request, response: Response, database: DatabaseDep) -> Readiness:
    """Readiness: database, migrations, broker, and at least one live worker."""
    broker_check: BrokerCheck = request.app.state.broker_check
    checks = {
        **await run_in_threadpool(_check_database, database),
        **await broker_check.get_checks(),
    }
    ready = all(reason == OK for reason in checks.values())
    response.status_code = status.HTTP_200_OK if ready else status.HTTP_503_SERVICE_UNAVAILABLE
    return Readiness(status="ready" if ready else "not ready", checks=checks)


def _check_database(database: Database) -> dict[str, str]:
    from alembic.migration import MigrationContext  # noqa: PLC0415 (Alembic, only where it is needed)

    from migrations import explain_revision  # noqa: PLC0415 (the same)

    try:
        with database.read() as session:
            revision = MigrationContext.configure(session.connection()).get_current_revision()
    except ServiceUnavailable as error:
        return {"database": error.message, "migrations": error.message}
    return {"database": OK, "migrations": explain_revision(revision) or OK}


def _check_broker_and_worker(settings: Settings) -> dict[str, str]:
    app = get_publisher(settings)
    from kombu.exceptions import KombuError  # noqa: PLC0415 (comes with Celery, which is imported when needed)
    from redis.exceptions import RedisError, ResponseError  # noqa: PLC0415 (the same)

    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=1)
            # On this connection: from Celery's pool, a ping takes two connections one after the other, and
            # as many pings at once as the pool has connections would wait for each other without end.
            replies = app.control.ping(timeout=PING_SECONDS, connection=connection)
    except (OSError, KombuError, RedisError) as error:
        if isinstance(error, ResponseError) or isinstance(error.__cause__, ResponseError):
            return _report_broken(f"the broker refuses commands: {error}")
        return _report_broken("the broker cannot be reached")
    return {"broker": OK, "worker": OK if replies else "no worker responds; jobs stay queued until one does"}


def _report_broken(reason: str) -> dict[str, str]:
    # Without a broker no worker can be asked.
    return {"broker": reason, "worker": "unknown without the broker"}
