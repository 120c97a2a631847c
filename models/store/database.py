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
from models.store.tables import Experiment, Job, Webhook

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
