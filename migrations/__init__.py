"""Alembic's migrations. `python -m migrations` brings the database to the newest one.

A migration may run while the former release still serves: new columns are nullable or have a default in the
database, nothing is renamed or removed. One that cannot be like that sets `alembic_version.oldest_code` to
its own revision; the former release then refuses the database. A new field of specifications is no such
migration: models/spec_format.py.
"""

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from models.settings import Settings
from models.store.engine import make_engine
from models.store.readiness import Schema, read_schema

if TYPE_CHECKING:
    from alembic.config import Config


def configuration() -> "Config":
    """Alembic's configuration, without any file: the address comes from the settings."""
    from alembic.config import Config  # noqa: PLC0415 (the API checks a revision at its start, without Alembic)

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


def head() -> str:
    """The newest revision that this code knows; revisions are numbers of four digits, in their order."""
    return max(path.name[:4] for path in (Path(__file__).parent / "versions").glob("[0-9]*.py"))


def explain_revision(schema: Schema, *, upgrading: bool = False) -> str:
    """What is wrong with a database of this schema, and what to do; empty: nothing.

    `upgrading` accepts one that a newer release has migrated, if this code still works with it.
    """
    newest = head()
    if schema.revision == newest:
        return ""
    if schema.revision is not None and schema.revision > newest:
        if upgrading and not is_refused(schema):
            return ""
        return f"The database is at {schema.revision}, written by a newer release; install that one."
    revision = schema.revision or "no revision"
    return f"The database is at {revision}, the code at {newest}; run: python -m migrations"


def is_refused(schema: Schema) -> bool:
    """Whether this code does not work with a database of this schema, which a newer release wrote."""
    return schema.oldest_code > head() and (schema.revision or "") > head()


def exit_if_refused(settings: Settings) -> None:
    """End the process, with the reason, where the database is one that this code does not work with.

    One that cannot be reached now, or must still be migrated, is reported by /readyz.
    """
    engine = make_engine(settings)
    try:
        with suppress(SQLAlchemyError), engine.connect().execution_options(read_only=True) as connection:
            if is_refused(schema := read_schema(connection)):
                sys.exit(explain_revision(schema))
    finally:
        engine.dispose()
