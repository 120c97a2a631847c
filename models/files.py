"""Files that are there whole, or not at all."""

import io
import os
import secrets
import shutil
from pathlib import Path
from typing import IO

PART = ".part"
"""What the name of a file ends with that is still being written, or whose writer died."""


def create_private_folder(path: Path) -> None:
    """Create a folder, and from now on in this process and its children files, that only this user can read.

    A database holds the rows of all owners, and the secrets of their webhooks.
    """
    os.umask(0o077)
    path.mkdir(parents=True, exist_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that no reader sees half of, and that outlasts a power cut."""
    copy_atomically(path, io.BytesIO(content))


def copy_atomically(path: Path, source: IO[bytes]) -> None:
    """The same with the content of an open file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder: from another file system moving would be copying.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART}")
    try:
        with part.open("xb") as file:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    # The rename itself has to reach the disk, too.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
