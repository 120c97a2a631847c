"""Whether the database can be used now: reached, at the newest revision, and able to store a job."""

from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

_WAIT_MILLISECONDS = 1_000
"""How long the check waits for a lock: longer than any transaction of the service takes."""


def read_revision(engine: Engine) -> str | None:
    """The revision of the database's tables; None: it has none.

    Raises:
        SQLAlchemyError: the database cannot be reached.
    """
    with engine.connect().execution_options(read_only=True) as connection:
        return MigrationContext.configure(connection).get_current_revision()


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
