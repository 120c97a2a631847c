"""How Alembic reaches the database: through the same engine as the service."""

import sqlite3
import sys
import time
from collections.abc import Collection, Mapping
from typing import Any, Literal

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import Connection

from models.settings import get_settings
from models.store.engine import make_engine
from models.store.sql_functions import UtcDateTime
from models.store.tables import Job


def _render_item(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Write our moment type as the plain one, so that old migrations never import today's code."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def _is_comparable(_item: object, name: str | None, kind: str, _reflected: bool, _compare_to: object) -> bool:
    """Databases write the expression of this index otherwise than we do; query plans show that it is used."""
    return (kind, name) != ("index", "ix_jobs_next_of_owner")


def _let_tables_be_rebuilt(connection: Connection) -> None:
    """SQLite alters a table by copying and dropping it, and would delete all that refers to its rows.

    Foreign keys can be let go only outside a transaction, hence below SQLAlchemy; they are enforced again
    on every other connection, as this one is closed at the end.
    """
    driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment] # any driver's
    driver.execute("PRAGMA foreign_keys=OFF")


class Progress:
    """Says on stderr which migration is done, and how long it took."""

    def __init__(self) -> None:
        self._started_at = time.monotonic()

    def report(
        self, ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Mapping[str, Any]
    ) -> None:
        """Called by Alembic after each migration, with these names."""
        seconds = time.monotonic() - self._started_at
        self._started_at += seconds
        if step.is_upgrade:
            line = f"Migration {step.up_revision_id} took {seconds:.1f} s."
            print(line, file=sys.stderr, flush=True)  # noqa: T201 (a command's progress)


def run() -> None:
    """Run the migrations: of SQLite all in one transaction, of PostgreSQL each in its own.

    So the service waits a moment only for each, and indexes can be created concurrently.
    """
    engine = make_engine(get_settings())
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                _let_tables_be_rebuilt(connection)
            else:
                # The service's limits of seconds would end a large migration for good. That for waiting for a
                # table stays: all requests that come after would wait, too.
                connection.exec_driver_sql("SET statement_timeout = 0")
                connection.exec_driver_sql("SET idle_in_transaction_session_timeout = 0")
                connection.commit()
            context.configure(
                connection=connection,
                target_metadata=Job.metadata,
                render_as_batch=True,
                render_item=_render_item,
                include_object=_is_comparable,
                transaction_per_migration=connection.dialect.name == "postgresql",
                on_version_apply=Progress().report,
            )
            with context.begin_transaction():
                context.run_migrations()
            connection.commit()
    finally:
        engine.dispose()


run()
