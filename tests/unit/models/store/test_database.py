import inspect
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy.dialects import postgresql, sqlite

from models.errors import ServiceUnavailable
from models.settings import Settings
from models.store import engine, jobs
from models.store.database import Database
from models.store.engine import is_wal_safe
from models.store.sql_functions import UtcDateTime

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
# The numbers 3.50.7 and 3.44.6 are releases that carry the correction back: sqlite.org/wal.html.
WAL = {
    (3, 40, 1): False,
    (3, 44, 5): False,
    (3, 44, 6): True,
    (3, 45, 0): False,
    (3, 50, 6): False,
    (3, 50, 7): True,
    (3, 51, 2): False,
    (3, 51, 3): True,
    (3, 52, 0): True,
    (4, 0, 0): True,
}


@pytest.mark.parametrize(("version", "safe"), WAL.items())
def test_the_write_ahead_log_is_used_only_in_fixed_sqlite_versions(
    version: tuple[int, ...], safe: bool
) -> None:
    assert is_wal_safe(version) is safe


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()], ids=["sqlite", "postgresql"])
@pytest.mark.parametrize("hours", [-11, 0, 5.5])
def test_a_time_of_any_zone_is_read_in_utc(
    dialect: sqlite.dialect | postgresql.dialect, hours: float
) -> None:
    moment = NOON.astimezone(timezone(timedelta(hours=hours)))
    bound = UtcDateTime().process_bind_param(moment, dialect)
    read = UtcDateTime().process_result_value(bound, dialect)
    assert read == NOON
    assert read.tzinfo is UTC


def test_a_missing_time_is_none() -> None:
    dialect = sqlite.dialect()
    assert UtcDateTime().process_bind_param(None, dialect) is None
    assert UtcDateTime().process_result_value(None, dialect) is None


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()], ids=["sqlite", "postgresql"])
def test_a_time_without_a_zone_is_refused(dialect: sqlite.dialect | postgresql.dialect) -> None:
    with pytest.raises(ValueError, match="zone"):
        UtcDateTime().process_bind_param(NOON.replace(tzinfo=None), dialect)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////no/such/folder/regbench.db",
        # Port 9 is "discard"; no service listens on it.
        "postgresql+psycopg://nobody@127.0.0.1:9/none",
    ],
)
def test_an_unreachable_database_raises_service_unavailable(settings: Settings, url: str) -> None:
    database = Database(settings.model_copy(update={"database_url": url}))
    with pytest.raises(ServiceUnavailable, match="cannot be reached"), database.read() as session:
        jobs.get_events(session, "job_1")
    with pytest.raises(ServiceUnavailable, match="cannot be reached"), database.write() as session:
        jobs.get_events(session, "job_1")
    database.close()


def test_sqlite_is_configured_for_several_processes(
    migrated_sqlite: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tests do without waiting for the disk.
    monkeypatch.setattr(engine, "_configure_sqlite", inspect.unwrap(engine._configure_sqlite))
    (settings.home / "regbench.db").write_bytes(migrated_sqlite.read_bytes())
    database = Database(settings)
    with database.read() as session:
        connection = session.connection()
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("busy_timeout", "foreign_keys", "synchronous")
        }
        journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    database.close()
    assert pragmas == {"busy_timeout": 10_000, "foreign_keys": 1, "synchronous": 2}  # 2 is FULL
    assert journal in ("wal", "truncate")
