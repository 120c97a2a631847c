"""`python -m migrations`: bring the database to the newest revision; nothing happens if it is there."""

from alembic import command

from migrations import configuration
from models.settings import get_settings


def main() -> None:
    """Upgrade the database that the settings name."""
    settings = get_settings()
    if not settings.database_url:
        settings.home.mkdir(parents=True, exist_ok=True)
    command.upgrade(configuration(), "head")


if __name__ == "__main__":
    main()
