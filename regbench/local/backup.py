"""One file with all of an embedded installation: `regbench backup` and `regbench restore`.

A ZIP file of the database, the artifacts and a manifest of their digests. The database is copied first: a
worker stores files before the row that names them, so each file that the copy names exists already. What is
written later belongs to jobs that the copy has not finished, and does no harm.
"""

import hashlib
import json
import sqlite3
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Any

from models.files import PART, create_private_folder
from models.settings import Settings
from regbench.errors import CommandRefused
from regbench.local.home_lock import check_installed, lock_home

_DATABASE, _ARTIFACTS, _MANIFEST = "regbench.db", "artifacts", "manifest.json"
_FORMAT = 1
_CHUNK_BYTES = 1_048_576
# Secrets, and addresses, which may contain passwords and belong to a machine.
_NO_SETTINGS = {"home", "database_url", "broker_url", "artifacts_url", "encryption_keys"}
# What a damaged ZIP file, or a manifest of another program, raises.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, TypeError, NotImplementedError)
_STORED_DIGESTS = """
    SELECT model_path, model_sha256 FROM results
    UNION ALL SELECT predictions_path, predictions_sha256 FROM results
"""

Announce = Callable[[str], None]


@dataclass(frozen=True)
class Backup:
    """What a backup contains."""

    created_at: str
    regbench: str
    """The release that wrote it."""
    revision: str
    """The database's migration."""
    files: int
    bytes: int
    """Of the database and all files, before compression."""
    settings: dict[str, Any]
    """What was set to another value than the default."""
    damaged: list[str]
    """Files whose content was not what the database recorded, already when the backup was made."""


def write_backup(settings: Settings, path: Path, announce: Announce) -> Backup:
    """Write the installation in the home folder into the file `path`, while it runs or not.

    Raises:
        CommandRefused: there is no embedded installation, or `path` exists.
    """
    _refuse_other_servers(settings, "back-up.md says how to back them up")
    check_installed(settings)
    if path.exists():
        raise CommandRefused(f"{path} exists.", "Give the name of a new file.")
    part = path.with_name(f".{path.name}{PART}")
    create_private_folder(path.parent)
    try:
        with (
            TemporaryDirectory(dir=path.parent, prefix=".regbench-backup-") as folder,
            zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            announce("Copying the database")
            database = Path(folder) / _DATABASE
            with (
                closing(sqlite3.connect(settings.home / _DATABASE)) as source,
                closing(sqlite3.connect(database)) as target,
            ):
                source.backup(target)  # all of it in one transaction
            files = {_DATABASE: _add_file(archive, _DATABASE, database)}
            files |= _add_artifacts(archive, settings, announce)
            with closing(sqlite3.connect(database)) as connection:
                [(revision,)] = connection.execute("SELECT version_num FROM alembic_version")
                stored = connection.execute(_STORED_DIGESTS).fetchall()
            digests = {name.removeprefix(f"{_ARTIFACTS}/"): sha256 for name, (sha256, _) in files.items()}
            backup = Backup(
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                regbench=version("regbench"),
                revision=revision,
                files=len(files),
                bytes=sum(size for _, size in files.values()),
                settings=settings.model_dump(mode="json", exclude=_NO_SETTINGS, exclude_defaults=True),
                damaged=sorted(name for name, sha256 in stored if digests.get(name, sha256) != sha256),
            )
            manifest = {"format": _FORMAT, **vars(backup), "sha256": {name: files[name][0] for name in files}}
            archive.writestr(_MANIFEST, json.dumps(manifest, indent=1))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return backup


def restore_backup(
    settings: Settings, path: Path, announce: Announce, explain_revision: Callable[[str], str]
) -> Backup:
    """Put what `write_backup` wrote into an empty home folder; each file is compared with its digest.

    `explain_revision` says what is wrong with a database of that migration for this release.

    Raises:
        CommandRefused: the home folder has an installation, or the backup is damaged or of a newer release;
            nothing was changed.
    """
    _refuse_other_servers(settings, "a backup is restored into a home folder")
    try:
        with lock_home(settings.home), zipfile.ZipFile(path) as archive:
            present = [name for name in (_DATABASE, _ARTIFACTS) if (settings.home / name).exists()]
            if present:
                raise CommandRefused(
                    f"There is an installation in {settings.home} already ({' and '.join(present)}).",
                    "Set another home folder with REGBENCH_HOME, or move those away first.",
                )
            manifest = json.loads(archive.read(_MANIFEST))
            if manifest.pop("format") != _FORMAT:
                raise CommandRefused(f"{path} was written by a newer release; install that one.")
            digests = manifest.pop("sha256")
            backup = Backup(**manifest)
            if "newer release" in (explanation := explain_revision(backup.revision)):
                raise CommandRefused(explanation)
            # Beside their places, so that nothing is there before all of it is, and sound.
            with TemporaryDirectory(dir=settings.home, prefix=".restore-") as folder:
                _extract(archive, digests, Path(folder), announce)
                for name in (_ARTIFACTS, _DATABASE):
                    (Path(folder) / name).replace(settings.home / name)
    except _DAMAGE as error:
        reason = "it has no manifest of ours" if isinstance(error, KeyError | TypeError) else error
        raise CommandRefused(f"{path} is damaged, or no backup: {reason}.", "Nothing was restored.") from None
    return backup


def _refuse_other_servers(settings: Settings, hint: str) -> None:
    if settings.database_url or settings.artifacts_url:
        raise CommandRefused(
            "This command is for an installation that lies in its home folder: REGBENCH_DATABASE_URL or "
            "REGBENCH_ARTIFACTS_URL place this one elsewhere.",
            f"{hint[0].upper()}{hint[1:]}.",
        )


def _add_artifacts(
    archive: zipfile.ZipFile, settings: Settings, announce: Announce
) -> dict[str, tuple[str, int]]:
    folder = settings.home / _ARTIFACTS
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(PART))
    files, done = {}, 0
    for count, path in enumerate(paths, start=1):
        name = f"{_ARTIFACTS}/{path.relative_to(folder).as_posix()}"
        try:
            files[name] = _add_file(archive, name, path)
        except FileNotFoundError:
            continue  # a checkpoint that was replaced, or a file of a job that was deleted meanwhile
        done += files[name][1]
        if count % 20 == 1 or count == len(paths):
            announce(f"Copying file {count:,} of {len(paths):,}, {done / 1e6:,.0f} MB")
    return files


def _add_file(archive: zipfile.ZipFile, name: str, path: Path) -> tuple[str, int]:
    with path.open("rb") as source, archive.open(name, "w", force_zip64=True) as target:
        return _copy(source, target)


def _extract(archive: zipfile.ZipFile, digests: dict[str, str], folder: Path, announce: Announce) -> None:
    """Write all files into `folder`; ValueError if they are not those of the manifest."""
    if sorted([*digests, _MANIFEST]) != sorted(archive.namelist()) or _DATABASE not in digests:
        raise ValueError("its files are not those of its manifest")
    (folder / _ARTIFACTS).mkdir()
    for count, (name, sha256) in enumerate(digests.items(), start=1):
        if count % 20 == 1 or count == len(digests):
            announce(f"Restoring file {count:,} of {len(digests):,}")
        parts = PurePosixPath(name).parts
        if name != _DATABASE and (parts[0] != _ARTIFACTS or ".." in parts):
            raise ValueError(f"{name} is no file of an installation")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with archive.open(name) as source, (folder / name).open("xb") as target:
            if _copy(source, target)[0] != sha256:
                raise ValueError(f"{name} has another digest than in its manifest")


def _copy(source: IO[bytes], target: IO[bytes]) -> tuple[str, int]:
    """Copy all bytes; returns their SHA-256 and number."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
        target.write(chunk)
    return digest.hexdigest(), size
