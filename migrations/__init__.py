"""Alembic's migrations. `python -m migrations` brings the database to the newest one."""

from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory


def configuration() -> Config:
    """Alembic's configuration, without any file: the address comes from the settings."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


def head() -> str:
    """The newest revision that this code knows."""
    revision = ScriptDirectory.from_config(configuration()).get_current_head()
    assert revision is not None, "migrations/versions is empty"  # noqa: S101 (a broken checkout)
    return revision


def explain_revision(revision: str | None) -> str:
    """What is wrong with a database at this revision, and what to do; empty: nothing."""
    if revision == head():
        return ""
    script = ScriptDirectory.from_config(configuration())
    if revision is not None and revision not in {one.revision for one in script.walk_revisions()}:
        return f"The database is at {revision}, written by a newer release; install that one."
    return f"The database is at {revision or 'no revision'}, the code at {head()}; run: python -m migrations"
