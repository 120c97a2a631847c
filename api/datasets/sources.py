"""What all readers of uploaded files have in common: rows, and what labels may be."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.datasets.files import Part, UnreadableData

CHUNK_ROWS = 512
"""Images in memory at once."""
MOST_SIDE = 512
"""Pixels along a side of images that come as numbers."""

Label = int | str


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
