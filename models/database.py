"""The connection to SQLite or PostgreSQL: engine, sessions, the database's clock, and its schema."""

import select
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from datetime import datetime
from threading import Lock
from typing import Any

import pydantic_core
from sqlalchemy import Engine, ExceptionContext, Float, Row, Select, create_engine, event, literal, make_url
from sqlalchemy.exc import InterfaceError, InternalError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import ORMExecuteState, Session, sessionmaker, with_loader_criteria
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from models.errors import ServiceUnavailable
from models.settings import Settings
from models.tables import Experiment, Job, UtcDateTime, Webhook

SQLITE_BUSY_MILLISECONDS = 10_000
_TRUSTED_SECONDS = 1.0
# The first releases in which SQLite's WAL-reset fault is mended (sqlite.org/wal.html); before them a
# rollback journal is slower and safe.
_WAL_IS_SAFE_FROM = (3, 51, 3)
_WAL_BACKPORTS: dict[tuple[int, ...], tuple[int, ...]] = {(3, 50): (3, 50, 7), (3, 44): (3, 44, 6)}


class DatabaseNow(FunctionElement[datetime]):
    """The database's own clock, `offset_seconds` from now: one clock for every host that holds leases."""

    name = "database_now"
    inherit_cache = True
    type = UtcDateTime()

    def __init__(self, offset_seconds: float = 0.0) -> None:
        # A parameter, so that a statement is compiled once for every offset.
        super().__init__(literal(float(offset_seconds), Float()))


@compiles(DatabaseNow, "postgresql")
def _now_postgresql(element: DatabaseNow, compiler: SQLCompiler, **kw: Any) -> str:
    # clock_timestamp() moves within a transaction; now() would be the moment that it began.
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kw)}))"


@compiles(DatabaseNow, "sqlite")
def _now_sqlite(element: DatabaseNow, compiler: SQLCompiler, **kw: Any) -> str:
    # SQLAlchemy stores six digits of a second; strftime gives three.
    offset = f"printf('%+.6f seconds', {compiler.process(element.clauses, **kw)})"
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {offset})"


class JsonEntries(FunctionElement[Any]):
    """The pairs (key, value) of a JSON object of texts, as rows.

    A path would not do: SQLite compares it with the key as it is written, escapes and all.
    """

    name = "json_entries"
    inherit_cache = True


@compiles(JsonEntries, "postgresql")
def _entries_postgresql(element: JsonEntries, compiler: SQLCompiler, **kw: Any) -> str:
    return f"json_each_text({compiler.process(element.clauses, **kw)})"


@compiles(JsonEntries, "sqlite")
def _entries_sqlite(element: JsonEntries, compiler: SQLCompiler, **kw: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **kw)})"


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """Whether this SQLite's write-ahead log can be trusted."""
    return version >= _WAL_BACKPORTS.get(version[:2], _WAL_IS_SAFE_FROM)


def _prepare_sqlite(engine: Engine) -> None:
    journal = "WAL" if wal_is_safe(sqlite3.sqlite_version_info) else "TRUNCATE"

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own, lazy BEGIN is replaced by the one below.
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout={SQLITE_BUSY_MILLISECONDS}",
            f"journal_mode={journal}",
            "foreign_keys=ON",
            "synchronous=FULL",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # A transaction that reads and then writes may find that another wrote in between, and cannot wait
        # it out; one that takes the write lock first can.
        reads_only = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def make_engine(settings: Settings) -> Engine:
    """An engine for `settings`, with each database's own precautions."""
    url = make_url(settings.resolved_database_url)
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, **_POOL, **_JSON)
        _prepare_sqlite(engine)
        return engine
    engine = create_engine(url, connect_args=_POSTGRESQL, **_POOL, **_JSON)
    event.listen(engine, "handle_error", _notice_lost_connections)
    _try_rested_connections(engine)
    return engine


def _has_word_from_server(connection: Any) -> bool:
    """Whether a connection to PostgreSQL that nobody uses has something to read: a farewell, mostly."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _try_rested_connections(engine: Engine) -> None:
    """Ask a connection that has rested whether it still works, before a transaction finds that it does not.

    SQLAlchemy's own `pool_pre_ping` asks every time, which at hundreds of requests a second is a journey of
    each that tells nothing new; whether the server has closed one can be seen without a journey.
    """

    @event.listens_for(engine, "checkin")
    def _note(_connection: object, record: ConnectionPoolEntry) -> None:
        record.info["rests_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _ask(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        rests_since = record.info.get("rests_since")
        if rests_since is None:
            return
        if time.monotonic() - rests_since < _TRUSTED_SECONDS and not _has_word_from_server(connection):
            return
        dialect = engine.dialect
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error


# The server that was the primary is a standby now; a transaction was idle for too long and was cut off.
_AS_GOOD_AS_GONE = {"25006", "25P03"}


def _notice_lost_connections(context: ExceptionContext) -> None:
    # psycopg calls both internal errors. A connection to a former primary would be taken for sound for good.
    if getattr(context.original_exception, "sqlstate", None) in _AS_GOOD_AS_GONE:
        context.is_disconnect = True


# Several times as fast as the standard library's, and a list of jobs has a specification in each row.
_JSON: dict[str, Any] = {"json_deserializer": pydantic_core.from_json}

# Under load nearly all are in use; what is beyond a pool's size SQLAlchemy closes as soon as it comes back,
# and opens another for the next request.
_POOL = {"pool_size": 15, "max_overflow": 0, "pool_use_lifo": True}

_POSTGRESQL = {
    "options": "-c statement_timeout=5000 -c lock_timeout=2000 -c idle_in_transaction_session_timeout=30000"
    # The price of a look-up on disks without heads. As preset, for spinning ones, 50 experiments' jobs are
    # found by reading every job.
    " -c random_page_cost=1.1",
    "connect_timeout": 5,
    # A server that vanishes without a word is noticed within seconds; TCP by itself takes minutes.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


ALL_OWNERS = {"all_owners": True}
"""Execution options of a query that counts everybody's rows in a session that is one owner's."""


def _show_own_rows(query: ORMExecuteState) -> None:
    """Leave out what is not the session's owner's; a new route cannot forget to ask."""
    owner = query.session.info.get("owner")
    if owner is None or query.execution_options.get("all_owners", False):
        return
    query.statement = query.statement.options(
        *(
            with_loader_criteria(table, table.owner == owner, include_aliases=True)
            for table in (Job, Experiment, Webhook)
        )
    )


class Database:
    """Sessions over one engine. A unit of work commits as a whole, or not at all."""

    def __init__(self, settings: Settings, *, quotas: Any = None) -> None:
        """`quotas` (models/store/quotas.py) bind what its sessions store; None: nothing does."""
        self.engine = make_engine(settings)
        self._quotas = quotas
        self._owner: str | None = None
        self._writing = sessionmaker(self.engine, expire_on_commit=False)
        self._looking = self.engine.execution_options(read_only=True)
        if self.engine.dialect.name == "postgresql":
            # Each statement sees what was committed before it began, in a transaction (READ COMMITTED) as
            # without one; BEGIN and COMMIT would be two journeys more.
            self._looking = self._looking.execution_options(isolation_level="AUTOCOMMIT")
        self._reading = sessionmaker(self._looking, expire_on_commit=False)
        # SQLite has one writer, for which others ask again after a while, whoever came first. Threads of one
        # process can do better: they take turns.
        self._turn: Lock | None = Lock() if self.engine.dialect.name == "sqlite" else None
        for sessions in (self._writing, self._reading):
            event.listen(sessions, "do_orm_execute", _show_own_rows)

    @property
    def _info(self) -> dict[str, Any]:
        return {"owner": self._owner, "quotas": self._quotas}

    def of(self, owner: str | None) -> "Database":
        """The same database, whose sessions see only `owner`'s jobs, experiments and webhooks; None: all."""
        view = copy(self)
        view._owner = owner
        return view

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that may change rows.

        Raises:
            ServiceUnavailable: the database cannot be reached.
        """
        with _translated(), self._my_turn(), self._writing(info=self._info) as session, session.begin():
            yield session

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        if self._turn is None:
            yield
            return
        if not self._turn.acquire(timeout=SQLITE_BUSY_MILLISECONDS / 1000):
            raise _unreachable()
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only reads; on SQLite it does not wait for writers.

        Raises:
            ServiceUnavailable: the database cannot be reached.
        """
        with _translated(), self._reading(info=self._info) as session, session.begin():
            yield session

    @property
    def owner(self) -> str | None:
        """Whose rows its sessions see; None: everybody's."""
        return self._owner

    def look_up(self, query: Select[Any], **values: Any) -> Sequence[Row[Any]]:
        """The rows of a small query, for less than a session costs. Everybody's: no owner is asked for.

        Raises:
            ServiceUnavailable: the database cannot be reached.
        """
        with _translated(), self._looking.connect() as connection:
            return connection.execute(query, values).all()

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, NoConnectionFree) as error:
        raise _unreachable() from error
    except InternalError as error:
        if not error.connection_invalidated:
            raise
        raise _unreachable() from error


def _unreachable() -> ServiceUnavailable:
    return ServiceUnavailable("The database cannot be reached; try again shortly.")
