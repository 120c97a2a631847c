"""Whether the database can be used now: reached, of a known schema, and able to store a job."""

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

_WAIT_MILLISECONDS = 1_000
"""How long the check waits for a lock: longer than any transaction of the service takes."""


@dataclass(frozen=True)
class Schema:
    """Which migration the tables are at."""

    revision: str | None
    """None: there are no tables yet."""
    oldest_code: str = "9999"
    """The newest migration that the oldest release knows which still works with these tables."""


def read_schema(connection: Connection) -> Schema:
    """The migration that the database is at."""
    row = None
    if inspect(connection).has_table("alembic_version"):
        # All columns, because before migration 0026 there was one.
        row = connection.exec_driver_sql("SELECT * FROM alembic_version").mappings().first()
    if row is None:
        return Schema(None)
    return Schema(row["version_num"], row.get("oldest_code", Schema.oldest_code))


def find_write_fault(engine: Engine) -> str | None:
    """Why no job could be stored now: a read-only server, another's lock, a deleted file; None: it could."""
    try:
        # Of SQLite a transaction that does not wait for the write lock before its wait is shortened.
        with engine.connect().execution_options(read_only=True) as connection:
            return _probe(connection)  # the transaction is rolled back
    except SQLAlchemyError as error:
        reason = str(error.orig if isinstance(error, DBAPIError) else error)
        return reason.partition("\n")[0]


def _probe(connection: Connection) -> str | None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA busy_timeout={_WAIT_MILLISECONDS}")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")
        return None
    # Without a row written: each would have to be vacuumed.
    if connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "on":
        return "it is read-only"
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_WAIT_MILLISECONDS}")
    connection.exec_driver_sql("LOCK TABLE jobs, events, job_techniques, job_labels IN ROW EXCLUSIVE MODE")
    return None
