"""Uploaded files on the disk, and what is said of those that cannot be read."""

import gzip
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

GZIP_MAGIC = b"\x1f\x8b"

Part = Literal["train", "test"]


class UnreadableData(Exception):
    """One sentence about an uploaded file: what is wrong with it, and in which row or member."""


@dataclass(frozen=True)
class UploadedFile:
    """A file on this machine's disk, under the name that its sender gave it."""

    name: str
    path: Path
    member: str | None = None
    """Which one of the zip archive at `path` it is, if so."""

    def read_start(self, size: int = 8) -> bytes:
        """The first bytes of its content, unpacked if it is gzipped."""
        with self.open() as file:
            return read_exactly(file, size, partial=True)

    def open(self) -> IO[bytes]:
        """Its content, unpacked if it is gzipped.

        Raises:
            UnreadableData: its archive is damaged.
        """
        with self._open_packed() as start:
            is_packed = read_exactly(start, len(GZIP_MAGIC), partial=True) == GZIP_MAGIC
        packed = self._open_packed()
        if not is_packed:
            return packed
        file = gzip.GzipFile(fileobj=packed)
        # Closed with it, as a file is that GzipFile has opened itself.
        file.myfileobj = cast("Any", packed)
        return cast("IO[bytes]", file)

    def _open_packed(self) -> IO[bytes]:
        if self.member is None:
            return self.path.open("rb")
        try:
            # The archive stays open as long as its member is.
            return zipfile.ZipFile(self.path).open(self.member)
        except Exception as error:
            # zipfile has many errors for what is damaged.
            raise UnreadableData(f"is damaged ({str(error) or type(error).__name__})") from None


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put a file's name before the errors that are raised inside.

    Raises:
        UnreadableData: so.
    """
    try:
        yield
    except UnreadableData as fault:
        raise UnreadableData(f"{name}: {fault}") from None


def parse_part(name: str) -> Part:
    """Whether a file holds training or test images, by its name."""
    return "test" if re.search(r"t10k|(?<![a-z])test", name.lower()) else "train"


def read_exactly(file: IO[bytes], size: int, *, partial: bool = False) -> bytes:
    """The next `size` bytes, or fewer at the end if `partial`.

    Raises:
        UnreadableData: the file ends before, or cannot be unpacked.
    """
    try:
        content = bytearray()
        while len(content) < size and (block := file.read(size - len(content))):
            content += block
    except Exception as error:
        # gzip, zlib and zipfile have many errors for what is damaged.
        raise UnreadableData(f"is damaged ({str(error) or type(error).__name__})") from None
    if len(content) < size and not partial:
        raise UnreadableData("ends too early: it is truncated")
    return bytes(content)
