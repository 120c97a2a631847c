"""`python -m migrations`: bring the database to the newest revision; nothing happens if it is there.

`python -m migrations --check` changes nothing and only says whether it is: exit code 1 if not.
"""

import sys

from alembic import command
from alembic.migration import MigrationContext
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from migrations import configuration, head
from models.settings import get_settings
from models.store.engine import make_engine


def main() -> None:
    """Upgrade the database that the settings name."""
    settings = get_settings()
    checking = sys.argv[1:] == ["--check"]
    if not (settings.database_url or checking):
        settings.home.mkdir(parents=True, exist_ok=True)
    try:
        if checking:
            check()
        else:
            command.upgrade(configuration(), "head")
    except SQLAlchemyError as error:
        # `regbench up` shows the last line of what this prints.
        reason = error.orig if isinstance(error, DBAPIError) else error
        sys.exit(f"The database of REGBENCH_DATABASE_URL cannot be used: {' '.join(str(reason).split())}")


def check() -> None:
    """End with a sentence, if the database is not at the newest revision."""
    engine = make_engine(get_settings())
    try:
        with engine.connect() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
    if revision != head():
        sys.exit(f"The database is at {revision or 'no revision'}, the code at {head()}")


if __name__ == "__main__":
    main()
