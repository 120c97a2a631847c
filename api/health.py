"""Is the process alive, and can it take and train jobs?"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from fastapi import APIRouter, Response, status

from api import schemas
from api.dependencies import DatabaseDep, SettingsDep
from api.routing import Route
from models.database import Database
from models.doorbell import celery_settings
from models.errors import ServiceUnavailable
from models.settings import Settings

router = APIRouter(tags=["health"], route_class=Route)

OK = "ok"
PING_SECONDS = 0.5


@router.get("/healthz")
def show_health() -> schemas.Health:
    """Liveness: the process answers. Touches nothing else."""
    return schemas.Health(status=OK)


@router.get("/readyz", responses={503: {"model": schemas.Readiness, "description": "Not ready"}})
def show_readiness(response: Response, database: DatabaseDep, settings: SettingsDep) -> schemas.Readiness:
    """Readiness: database, migrations, broker, and at least one live worker."""
    checks = {
        "database": _reason(lambda: _check_database(database)),
        "migrations": _reason(lambda: _check_migrations(database)),
        "broker": _reason(lambda: _check_broker(settings)),
    }
    # Without a broker no worker can be asked, and trying would only take time.
    checks["worker"] = (
        _reason(lambda: _check_worker(settings)) if checks["broker"] == OK else "unknown without the broker"
    )
    ready = all(reason == OK for reason in checks.values())
    response.status_code = status.HTTP_200_OK if ready else status.HTTP_503_SERVICE_UNAVAILABLE
    return schemas.Readiness(status="ready" if ready else "not ready", checks=checks)


def _reason(check: Callable[[], None]) -> str:
    try:
        check()
    except ServiceUnavailable as error:
        return error.message
    return OK


def _check_database(database: Database) -> None:
    with database.read() as session:
        session.connection()


def _check_migrations(database: Database) -> None:
    from alembic.migration import MigrationContext  # noqa: PLC0415 (Alembic, only where it is asked for)

    from migrations import head  # noqa: PLC0415 (the same)

    with database.read() as session:
        found = MigrationContext.configure(session.connection()).get_current_revision()
    if found != head():
        raise ServiceUnavailable(
            f"the database is at {found or 'no revision'}, the code at {head()}; run: python -m migrations"
        )


def _check_broker(settings: Settings) -> None:
    with _broker(settings) as app, app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=1)


def _check_worker(settings: Settings) -> None:
    with _broker(settings) as app:
        answers = app.control.ping(timeout=PING_SECONDS)
    if not answers:
        raise ServiceUnavailable("no worker answers; jobs wait until one does")


@contextmanager
def _broker(settings: Settings) -> Iterator[Any]:
    from kombu.exceptions import KombuError  # noqa: PLC0415 (comes with Celery, see below)

    app = _celery(settings)
    try:
        yield app
    except (OSError, KombuError, *app.connection().connection_errors):
        raise ServiceUnavailable("the broker cannot be reached") from None


@lru_cache(maxsize=4)
def _celery(settings: Settings) -> Any:
    from celery import Celery  # noqa: PLC0415 (0.2 s that a start of the API need not wait for)

    app = Celery("regbench", set_as_current=False)
    short = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "max_retries": 1}
    app.conf.update(celery_settings(settings) | {"broker_transport_options": short})
    return app
