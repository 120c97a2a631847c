"""The API over a real database, used as by a client."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from starlette.exceptions import StarletteDeprecationWarning

from models.settings import Settings
from models.store.database import Database
from tests.applications import application

with warnings.catch_warnings():
    # Starlette prefers httpx2; Regbench's own client uses httpx, so the tests do too.
    warnings.simplefilter("ignore", StarletteDeprecationWarning)
    from fastapi.testclient import TestClient


over_sqlite = pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
"""For responses that no query decides: over PostgreSQL they are the same."""


@pytest.fixture
def broker(redis_socket: Path) -> Iterator[Redis]:
    """A real Redis, empty at first."""
    with Redis(unix_socket_path=str(redis_socket)) as redis:
        redis.flushall()
        yield redis


@pytest.fixture
def settings_with_broker(database_settings: Settings, redis_socket: Path, broker: Redis) -> Settings:
    """Those of `database_settings`, with `broker`."""
    return database_settings.model_copy(update={"broker_url": f"redis+socket://{redis_socket}"})


@pytest.fixture
def client(settings_with_broker: Settings, database: Database) -> Iterator[TestClient]:
    """A client of the API over `database`; no worker receives its messages."""
    with TestClient(application(settings_with_broker)) as client:
        yield client


@pytest.fixture
def client_without_broker(database_settings: Settings, database: Database) -> Iterator[TestClient]:
    """The same without a broker; a dispatch message that cannot be sent is only logged."""
    with TestClient(application(database_settings)) as client:
        yield client
