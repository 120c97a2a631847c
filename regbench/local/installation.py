"""What is done with this machine's database and files, whether or not its service runs.

Needs the packages of the service, so the commands import it only when they use it.
"""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from migrations import explain_revision
from models import retention
from models.artifacts import ArtifactStore
from models.files import create_private_folder
from models.scopes import Scope
from models.settings import Settings
from models.store import audit, datasets, keys
from models.store.database import Database
from models.store.readiness import Schema
from models.store.service_tables import ApiKey
from models.store.tables import LOCAL_OWNER
from models.store.transitions import get_database_now
from regbench.local.backup import Announce, Backup, restore_backup
from regbench.local.home_lock import check_installed
from regbench.local.process import MIGRATION, run_module


def create_key(
    settings: Settings, *, name: str, owner: str | None, scope: Scope, expires_days: float | None
) -> tuple[ApiKey, str]:
    """Create an API key, and the database first, if there is none; returns the row and the key itself."""
    with _open_migrated(settings) as database, database.write() as session:
        row, key = keys.create_key(
            session, name=name, owner=owner or LOCAL_OWNER, scope=scope, expires_days=expires_days
        )
        audit.record(session, "key_created", row.id, owner=LOCAL_OWNER)
    return row, key


def list_keys(settings: Settings) -> list[ApiKey]:
    """All API keys, newest first; CommandRefused where there is no installation."""
    check_installed(settings)
    with _open_migrated(settings) as database, database.read() as session:
        return keys.list_keys(session)


def revoke_key(settings: Settings, key_id: str) -> None:
    """Revoke an API key permanently; NotFound, or CommandRefused where there is no installation."""
    check_installed(settings)
    with _open_migrated(settings) as database, database.write() as session:
        row, was_open = keys.revoke_key(session, key_id)
        if was_open:
            audit.record(session, "key_revoked", row.id, owner=LOCAL_OWNER)


def count_keys(settings: Settings) -> tuple[int, int]:
    """How many API keys are neither revoked nor expired, and how many there are; the database is migrated."""
    with closing(Database(settings)) as database, database.read() as session:
        rows = keys.list_keys(session)
    now = datetime.now(UTC)
    usable = [row for row in rows if not row.revoked_at and (row.expires_at is None or row.expires_at > now)]
    return len(usable), len(rows)


def read_database_clock(settings: Settings) -> float:
    """The database's time in seconds since 1970; the database is migrated."""
    with closing(Database(settings)) as database, database.read() as session:
        return get_database_now(session).timestamp()


def prune(settings: Settings, *, days: float | None, dry_run: bool) -> retention.Pruned:
    """Remove files that ended jobs no longer need; `days` None: REGBENCH_KEEP_ARTIFACTS_DAYS."""
    check_installed(settings)
    days = settings.keep_artifacts_days if days is None else days
    with closing(Database(settings)) as database:
        return retention.prune(database, ArtifactStore(settings), days=days, dry_run=dry_run)


def prune_datasets(settings: Settings, *, dry_run: bool) -> list[str]:
    """Remove uploaded datasets that were not used for REGBENCH_KEEP_DATASETS_DAYS; returns their names."""
    if not settings.keep_datasets_days:
        return []
    names = []
    with closing(Database(settings)) as database, database.write() as session:
        for dataset in datasets.find_unused_datasets(session, days=settings.keep_datasets_days):
            names.append(dataset.name)
            if not dry_run:
                datasets.delete_dataset(session, ArtifactStore(settings), dataset.owner, dataset.name)
    return names


def restore(settings: Settings, path: Path, announce: Announce) -> Backup:
    """Restore a backup; CommandRefused if it is damaged, of a newer release, or not into an empty folder."""
    return restore_backup(settings, path, announce, lambda revision: explain_revision(Schema(revision)))


def _open_migrated(settings: Settings) -> closing[Database]:
    create_private_folder(settings.home)
    run_module(settings, MIGRATION)
    return closing(Database(settings))
