"""`python -m migrations`: bring the database to the newest revision; nothing happens if it is there."""

import sys

from alembic import command
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from migrations import configuration
from models.settings import get_settings


def main() -> None:
    """Upgrade the database that the settings name."""
    settings = get_settings()
    if not settings.database_url:
        settings.home.mkdir(parents=True, exist_ok=True)
    try:
        command.upgrade(configuration(), "head")
    except SQLAlchemyError as error:
        # `regbench up` shows the last line of what this prints.
        reason = error.orig if isinstance(error, DBAPIError) else error
        sys.exit(f"The database of REGBENCH_DATABASE_URL cannot be used: {' '.join(str(reason).split())}")


if __name__ == "__main__":
    main()
