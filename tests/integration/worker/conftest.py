"""The same engine as in the unit tests, because a process has one; and outages of databases."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from models.settings import Settings
from tests import servers
from worker.engine import start_engine
from worker.program import ProgramCache

Outage = Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="session", autouse=True)
def _engine() -> None:
    start_engine(threads=1)


@pytest.fixture(scope="session")
def programs() -> ProgramCache:
    """Those of a process that has trained such jobs before: compiling is the slowest part here."""
    return ProgramCache()


@pytest.fixture
def outage(database_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Outage:
    """Makes the database unreachable while a block runs: PostgreSQL is stopped, SQLite's file locked."""
    # Ten seconds of waiting for a lock, at each write, would slow the tests down.
    monkeypatch.setattr("models.store.engine.SQLITE_BUSY_MILLISECONDS", 50)
    monkeypatch.setattr("models.store.database.SQLITE_BUSY_MILLISECONDS", 50)
    url = database_settings.resolved_database_url
    take_away = servers.locked_sqlite if url.startswith("sqlite") else servers.stopped_postgresql
    return lambda: take_away(url)
