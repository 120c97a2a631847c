"""Engines for SQLite and PostgreSQL: journal, timeouts, connection pool."""

import sqlite3
from typing import Any

import pydantic_core
from sqlalchemy import Engine, ExceptionContext, create_engine, event, make_url

from models.settings import Settings

SQLITE_BUSY_MILLISECONDS = 10_000
# The first releases in which SQLite's WAL-reset fault is fixed (sqlite.org/wal.html); before them a
# rollback journal is slower and safe.
_WAL_IS_SAFE_FROM = (3, 51, 3)
_WAL_BACKPORTS: dict[tuple[int, ...], tuple[int, ...]] = {(3, 50): (3, 50, 7), (3, 44): (3, 44, 6)}


def is_wal_safe(version: tuple[int, ...]) -> bool:
    """Whether this SQLite's write-ahead log can be trusted."""
    return version >= _WAL_BACKPORTS.get(version[:2], _WAL_IS_SAFE_FROM)


def make_engine(settings: Settings) -> Engine:
    """An engine for `settings`, with each database's own precautions."""
    url = make_url(settings.resolved_database_url)
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, **_POOL, **_JSON)
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        event.listen(engine, "handle_error", _detect_moved_file)
        return engine
    engine = create_engine(url, connect_args=_POSTGRESQL, pool_pre_ping=True, **_POOL, **_JSON)

    @event.listens_for(engine, "handle_error")
    def _detect_lost_connections(context: ExceptionContext) -> None:
        # psycopg calls both internal errors: the primary has become a standby (25006); a transaction was idle
        # for too long and was ended (25P03). Such a connection would be taken for sound for good.
        if getattr(context.original_exception, "sqlstate", None) in ("25006", "25P03"):
            context.is_disconnect = True

    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own, lazy BEGIN is replaced by the one below.
    connection.isolation_level = None
    journal = "WAL" if is_wal_safe(sqlite3.sqlite_version_info) else "TRUNCATE"
    for pragma in (
        f"busy_timeout={SQLITE_BUSY_MILLISECONDS}",
        f"journal_mode={journal}",
        "foreign_keys=ON",
        "synchronous=FULL",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _detect_moved_file(context: ExceptionContext) -> None:
    # The file was deleted or replaced, by a restored backup, say: the connection has the old one.
    if getattr(context.original_exception, "sqlite_errorname", None) == "SQLITE_READONLY_DBMOVED":
        context.is_disconnect = True


def _begin_sqlite(connection: Any) -> None:
    # A transaction that reads and then writes may find that another wrote in between, and cannot wait it out;
    # one that takes the write lock first can.
    reads_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


# Several times as fast as the standard library's, and a list of jobs has a specification in each row.
_JSON: dict[str, Any] = {"json_deserializer": pydantic_core.from_json}
# Under load nearly all are in use; what is beyond a pool's size SQLAlchemy closes as soon as it comes back,
# and opens another for the next request.
_POOL = {"pool_size": 15, "max_overflow": 0, "pool_use_lifo": True}
_POSTGRESQL = {
    "options": "-c statement_timeout=5000 -c lock_timeout=2000 -c idle_in_transaction_session_timeout=30000"
    # Index reads are cheap on SSDs; with the default of 4.0, for spinning disks, 50 experiments' jobs are
    # found by reading every job.
    " -c random_page_cost=1.1",
    "connect_timeout": 5,
    # A server that vanishes without a word is noticed within seconds; TCP by itself takes minutes.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
