"""`python -m migrations`: bring the database to the newest revision; nothing happens if it is there.

`python -m migrations --check` changes nothing and only says whether it is: exit code 1 if not.
"""

import sys

from alembic import command
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from migrations import configuration, explain_revision
from models.errors import RegbenchError
from models.files import create_private_folder
from models.settings import Settings, get_settings
from models.store.database import Database
from models.store.engine import make_engine
from models.store.readiness import Schema, read_schema
from models.store.webhooks import encrypt_secrets

_LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's code where a table was locked for longer than `lock_timeout`."""


def main() -> None:
    """Upgrade the database that the settings name."""
    settings = get_settings()
    checking = sys.argv[1:] == ["--check"]
    if not (settings.database_url or checking):
        create_private_folder(settings.home)
    try:
        explanation = explain_revision(_read_schema(settings))
        if explanation and (checking or "newer release" in explanation):
            sys.exit(explanation)
        if explanation:
            command.upgrade(configuration(), "head")
        if settings.encryption_keys and not checking:
            encrypt_stored_secrets(settings)
    except SQLAlchemyError as error:
        # `regbench up` shows the last line of what this prints.
        reason = " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())
        if getattr(getattr(error, "orig", None), "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            sys.exit(
                f"The database is in use: {reason}. Run the migration again, if need be without the workers; "
                "it repeats only what is not yet done."
            )
        sys.exit(f"The database of REGBENCH_DATABASE_URL cannot be used: {reason}")


def encrypt_stored_secrets(settings: Settings) -> None:
    """Encrypt what was stored before there was a key, or with an older one."""
    database = Database(settings)
    try:
        with database.write() as session:
            if changed := encrypt_secrets(session, settings.encryption_keys):
                sys.stderr.write(f"Encrypted the secrets of {changed} webhook(s)\n")
    except RegbenchError as error:
        sys.exit(f"The secrets of webhooks cannot be encrypted: {error.message}")
    finally:
        database.close()


def _read_schema(settings: Settings) -> Schema:
    engine = make_engine(settings)
    try:
        with engine.connect().execution_options(read_only=True) as connection:
            return read_schema(connection)
    finally:
        engine.dispose()


if __name__ == "__main__":
    main()
