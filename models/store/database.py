"""The connection to SQLite or PostgreSQL: engine, sessions, the database's clock, and its schema."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from threading import Lock
from typing import Any

from sqlalchemy import Row, Select, event
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.orm import ORMExecuteState, Session, sessionmaker, with_loader_criteria

from models.errors import ServiceUnavailable
from models.settings import Settings
from models.store.engine import SQLITE_BUSY_MILLISECONDS, make_engine
from models.store.service_tables import FrozenReport
from models.store.tables import Dataset, Experiment, Job, Webhook

UNFILTERED = {"all_owners": True}
"""Execution options of a query over the rows of all owners in a session that is limited to one."""


def _prepare_query(query: ORMExecuteState) -> None:
    """Limit every query to the rows of the session's owner, so that no route can forget to."""
    if query.is_update or query.is_delete:
        # Loaded rows are not refreshed: code that needs new values reads them again.
        query.update_execution_options(synchronize_session=False)
    owner = query.session.info.get("owner")
    if owner is None or query.execution_options.get("all_owners", False):
        return
    query.statement = query.statement.options(
        *(
            with_loader_criteria(table, table.owner == owner, include_aliases=True)
            for table in (Job, Experiment, Webhook, Dataset, FrozenReport)
        )
    )


class Database:
    """Sessions over one engine. A unit of work commits as a whole, or not at all."""

    def __init__(self, settings: Settings, *, quotas: Any = None) -> None:
        """`quotas` (models/store/quotas.py) limit what its sessions store; None: no limit."""
        self.engine = make_engine(settings)
        self._quotas = quotas
        self.owner: str | None = None
        """Whose rows its sessions see; None: all."""
        self._writing = sessionmaker(self.engine, expire_on_commit=False)
        self._read_engine = self.engine.execution_options(read_only=True)
        if self.engine.dialect.name == "postgresql":
            # Each statement sees what was committed before it began, in a transaction (READ COMMITTED) as
            # without one; BEGIN and COMMIT would be two journeys more.
            self._read_engine = self._read_engine.execution_options(isolation_level="AUTOCOMMIT")
        self._reading = sessionmaker(self._read_engine, expire_on_commit=False)
        # SQLite allows one writer; others retry after a delay, in no order. Threads of one process wait for a
        # lock instead, which is fair.
        self._write_lock: Lock | None = Lock() if self.engine.dialect.name == "sqlite" else None
        for sessions in (self._writing, self._reading):
            event.listen(sessions, "do_orm_execute", _prepare_query)

    @property
    def _info(self) -> dict[str, Any]:
        return {"owner": self.owner, "quotas": self._quotas}

    def for_owner(self, owner: str | None) -> "Database":
        """The same database, its sessions limited to `owner`'s jobs, experiments and webhooks; None: all."""
        view = copy(self)
        view.owner = owner
        return view

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that may change rows.

        Raises:
            ServiceUnavailable: the database cannot be reached.
        """
        if self._write_lock and not self._write_lock.acquire(timeout=SQLITE_BUSY_MILLISECONDS / 1000):
            raise _build_unreachable()
        try:
            with _convert_errors(), self._writing(info=self._info) as session, session.begin():
                yield session
        finally:
            if self._write_lock:
                self._write_lock.release()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only reads; on SQLite it does not wait for writers.

        Raises:
            ServiceUnavailable: the database cannot be reached.
        """
        with _convert_errors(), self._reading(info=self._info) as session, session.begin():
            yield session

    def fetch_rows(self, query: Select[Any], **values: Any) -> Sequence[Row[Any]]:
        """The rows of a small query, cheaper than a session. Not limited to an owner.

        Raises:
            ServiceUnavailable: the database cannot be reached.
        """
        with _convert_errors(), self._read_engine.connect() as connection:
            return connection.execute(query, values).all()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


@contextmanager
def _convert_errors() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, NoConnectionFree) as error:
        raise _build_unreachable() from error
    except InternalError as error:
        if not error.connection_invalidated:
            raise
        raise _build_unreachable() from error


def _build_unreachable() -> ServiceUnavailable:
    return ServiceUnavailable("The database cannot be reached; try again shortly.")
