"""The home folder of an embedded stack: created, locked and cleared."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.files import create_private_folder
from models.settings import Settings
from regbench.errors import CommandRefused, StackError

_LOCK = "stack.lock"
# All that a stack writes into its home folder.
_PATTERNS = ("regbench.db*", "redis.sock", "artifacts", "logs", "report.*")


@contextmanager
def lock_home(home: Path) -> Iterator[None]:
    """Create `home`, lock it until the block ends (or we die); StackError if another stack has it."""
    try:
        create_private_folder(home)
        for database in home.glob("regbench.db*"):
            database.chmod(0o600)  # of a release that let everybody read it
        file = (home / _LOCK).open("a+")
    except OSError as error:
        raise StackError(
            f"Cannot use {home} as home folder: {error.strerror}.", "Set another one with REGBENCH_HOME."
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StackError(
                f"Another Regbench (process {file.read() or 'unknown'}) is running in {home}.",
                "Stop it, or set another home folder with REGBENCH_HOME.",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def has_database(settings: Settings) -> bool:
    """Whether an installation's database is named, or the home folder holds one."""
    return bool(settings.database_url) or (settings.home / "regbench.db").exists()


def check_installed(settings: Settings) -> None:
    """Raise CommandRefused without an installation: none is created where one is only read."""
    if not has_database(settings):
        raise CommandRefused(
            f"There is no installation in {settings.home}.",
            "Set its home folder with REGBENCH_HOME, or start one here with `regbench up` first.",
        )


def find_lock_owner(home: Path) -> str:
    """The id of the process whose stack runs in `home`; empty if none does."""
    try:
        with (home / _LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return (home / _LOCK).read_text() or "unknown"
    except OSError:
        pass  # there is no such folder, or it cannot be read
    return ""


def clear_home(home: Path) -> None:
    """Remove what an earlier stack left in `home`."""
    for pattern in _PATTERNS:
        for path in home.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
