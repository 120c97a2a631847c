"""What all readers of uploaded files have in common."""

import gzip
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

GZIP_MAGIC = b"\x1f\x8b"
CHUNK_ROWS = 512
"""Images in memory at once."""
MOST_SIDE = 512
"""Pixels along a side of images that come as numbers."""

Part = Literal["train", "test"]
Label = int | str


class UnreadableData(Exception):
    """One sentence about an uploaded file: what is wrong with it, and in which row or member."""


@dataclass(frozen=True)
class UploadedFile:
    """A file on this machine's disk, under the name that its sender gave it."""

    name: str
    path: Path

    def read_start(self, size: int = 8) -> bytes:
        """The first bytes of its content, unpacked if it is gzipped."""
        with self.open() as file:
            return read_exactly(file, size, partial=True)

    def open(self) -> IO[bytes]:
        """Its content, unpacked if it is gzipped."""
        with self.path.open("rb") as file:
            is_packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        return cast("IO[bytes]", gzip.open(self.path) if is_packed else self.path.open("rb"))


@dataclass(frozen=True)
class Rows:
    """Some images with their labels, as their file has them."""

    part: Part
    images: NDArray[Any]
    """(n, height, width): numbers, whose scale is not known yet, or bools."""
    labels: Sequence[Label]
    source: str
    """The file's name."""
    first: int = 0
    """The number of the first row in its file."""
    members: Sequence[str] | None = None
    """Names of the images, where they are files in an archive."""
    are_encoded: bool = False
    """Whether the images come from PNG or JPEG files, whose scale is known."""

    def describe(self, index: int) -> str:
        """Where an image comes from."""
        place = self.members[index] if self.members else f"row {self.first + index}"
        return f"{self.source}, {place}"


RowStream = Iterator[Rows]


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


def check_image_shape(height: int, width: int) -> None:
    """Refuse images that are no images, or so large that few of them would fill the memory.

    Raises:
        UnreadableData: they are.
    """
    if not (2 <= height <= MOST_SIDE and 2 <= width <= MOST_SIDE):
        raise UnreadableData(f"images of {height} x {width} pixels; sides may have 2 to {MOST_SIDE}")


def convert_labels(values: NDArray[Any]) -> list[Label]:
    """Labels (n,) as whole numbers, or as text where they are text.

    Raises:
        UnreadableData: a label is a fraction, or of another type.
    """
    if values.dtype.kind in "US":
        texts = values.astype(str).tolist()
        return [parse_label(text) for text in texts]
    if values.dtype.kind not in "biuf":
        raise UnreadableData(f"labels of the type {values.dtype}; give whole numbers or text")
    with np.errstate(invalid="ignore"):
        whole = values == np.floor(values)
    if not whole.all():
        index = int(np.argmin(whole))
        raise UnreadableData(f"row {index}: the label {values[index]} is not a whole number")
    return [int(value) for value in values.tolist()]


def parse_label(text: str) -> Label:
    """A label that is written: a whole number where it is one, else the text itself."""
    text = text.strip().strip("\"'").strip()
    number = re.fullmatch(r"([+-]?\d{1,9})(\.0*)?", text, re.ASCII)
    return int(number[1]) if number else text
