"""Faults of a service's processes, and of the servers behind it: each lasts while its block runs."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import psycopg
from redis import Redis
from sqlalchemy import make_url

from models.store.database import Database
from regbench.local.process import Child
from tests import servers

_END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@contextmanager
def frozen(process: Child, database: Database | None = None) -> Iterator[None]:
    """A process with all its children is frozen while the block runs; given a database, in no transaction.

    Frozen in one, it would hold the only write lock that SQLite has, and the API would rightly answer 503.
    """
    with ExitStack() as stack:
        if database:
            stack.enter_context(database.write()).connection()  # takes that lock
        os.killpg(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGCONT)


@contextmanager
def read_only_redis(redis: Redis, _folder: Path) -> Iterator[None]:
    """Redis has become a replica, as a failover makes the old primary: READONLY."""
    redis.replicaof("127.0.0.1", 1)
    try:
        yield
    finally:
        redis.replicaof("NO", "ONE")


@contextmanager
def unsaved_redis(redis: Redis, folder: Path) -> Iterator[None]:
    """Redis cannot write its snapshot, as with a full disk, and then refuses writes: MISCONF."""
    redis.config_set("save", "3600 1000000")
    (folder / "dump.rdb").mkdir(exist_ok=True)
    redis.bgsave()
    try:
        yield
    finally:
        redis.config_set("save", "")  # else Redis refuses to end


@contextmanager
def full_redis(redis: Redis, _folder: Path) -> Iterator[None]:
    """Redis has reached its memory limit: OOM."""
    redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        redis.config_set("maxmemory", 0)


RedisFault = Callable[[Redis, Path], AbstractContextManager[None]]
REDIS_FAULTS: dict[str, RedisFault] = {
    "READONLY": read_only_redis,
    "MISCONF": unsaved_redis,
    "OOM": full_redis,
}
"""By the error with which each command that writes is answered."""


def connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    """A connection to the database of this address, in SQLAlchemy's form, that commits each statement."""
    return psycopg.connect(servers.plain(url, make_url(url).database or ""), autocommit=True)


@contextmanager
def read_only_postgresql(url: str) -> Iterator[None]:
    """Every transaction is read-only, those of open connections, too."""
    with connect(url) as server:
        server.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        server.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            server.execute("ALTER SYSTEM RESET default_transaction_read_only")
            server.execute("SELECT pg_reload_conf()")


@contextmanager
def locked_postgresql(url: str) -> Iterator[None]:
    """Another transaction holds a lock with which the table of jobs can be read and not written."""
    with connect(url) as server, server.transaction():
        server.execute("LOCK TABLE jobs IN SHARE MODE")
        yield


@contextmanager
def adjustable_clock(url: str) -> Iterator[Callable[[float], None]]:
    """PostgreSQL's clock can be set to so many seconds after the real one, while processes are connected.

    By a function of the clock's name that is looked up first; connections are ended, so that all look it up.
    """
    database = make_url(url).database
    with connect(url) as server:
        server.execute("CREATE TABLE clock AS SELECT 0.0::double precision AS seconds")
        server.execute(
            "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS"
            " 'SELECT pg_catalog.clock_timestamp() + make_interval(secs => seconds) FROM public.clock'"
        )
        server.execute(f"ALTER DATABASE {database} SET search_path = public, pg_catalog")
        server.execute(_END_OTHERS)
        try:
            yield lambda seconds: server.execute("UPDATE clock SET seconds = %s", [seconds]) and None
        finally:
            server.execute(f"ALTER DATABASE {database} RESET search_path")
            server.execute(_END_OTHERS)
            server.execute("DROP FUNCTION public.clock_timestamp")
            server.execute("DROP TABLE clock")
