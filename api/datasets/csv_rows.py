"""Reader of CSV: a row an image, with or without a header, the label first unless the header names it."""

import io
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.datasets.files import UnreadableData, UploadedFile, naming, parse_part
from api.datasets.sources import CHUNK_ROWS, Label, Rows, RowStream, check_image_shape, parse_label

_MOST_LINE = 4_000_000
"""Characters: 512 x 512 pixels of up to 15."""
_LABEL_NAMES = ("label", "labels", "class", "target")

Line = tuple[int, str]
"""A line's number, from 1, and its text."""


@dataclass(frozen=True)
class CsvLayout:
    """How a CSV file is laid out, as its first line shows."""

    separator: str
    has_header: bool
    columns: int
    label_column: int

    @property
    def side(self) -> int:
        """Pixels along a side of its images."""
        return isqrt(self.columns - 1)


def read_layout(file: UploadedFile) -> CsvLayout:
    """The layout of a CSV file, separated by commas, semicolons or tabs, gzipped or not.

    Raises:
        UnreadableData: its columns are not a label and the pixels of a square image.
    """
    with closing(file.open()) as opened, io.TextIOWrapper(opened, "utf-8-sig") as text:
        number, line = next(_iter_lines(text), (0, ""))
    if not line:
        raise UnreadableData("is empty")
    separator = max(",;\t", key=line.count)
    names = [_unquote(name).lower() for name in line.split(separator)]
    label_column = next((names.index(name) for name in _LABEL_NAMES if name in names), None)
    # A row of data with one damaged cell is no header.
    has_header = label_column is not None or not any(map(_is_number, names[1:]))
    layout = CsvLayout(separator, has_header, len(names), label_column or 0)
    if has_header and label_column is None and layout.side**2 != len(names) - 1:
        raise UnreadableData("has no column of labels; name one label or class")
    if layout.side**2 != len(names) - 1 or len(names) == 1:
        detail = f"{len(names):,} columns are not a label and the pixels of a square image (785 for 28x28)"
        raise UnreadableData(f"row {number}: {detail}")
    with naming(f"row {number}"):
        check_image_shape(layout.side, layout.side)
    return layout


def read_csv(file: UploadedFile, layout: CsvLayout) -> RowStream:
    """The images of a CSV file.

    Raises:
        UnreadableData: a row is not a label and numbers; it names the row.
    """
    with naming(file.name), closing(file.open()) as opened, io.TextIOWrapper(opened, "utf-8-sig") as text:
        lines = _iter_lines(text)
        if layout.has_header:
            next(lines, None)
        while chunk := list(islice(lines, CHUNK_ROWS)):
            images, labels = _parse_lines(chunk, layout)
            first = chunk[0][0]
            # Where empty lines lie between them, each row has its own number.
            is_even = chunk[-1][0] == first + len(chunk) - 1
            members = None if is_even else [f"row {number}" for number, _ in chunk]
            yield Rows(parse_part(file.name), images, labels, file.name, first, members)


def _iter_lines(text: io.TextIOWrapper) -> Iterator[Line]:
    """Every line that is not empty."""
    number = 0
    try:
        while line := text.readline(_MOST_LINE + 1):
            number += 1
            if len(line) > _MOST_LINE:
                raise UnreadableData(f"row {number}: more than {_MOST_LINE:,} characters")
            if "\0" in line:
                raise UnreadableData(f"row {number}: a NUL character; this is no CSV")
            if line.strip():
                yield number, line.strip("\r\n")
    except UnreadableData:
        raise
    except UnicodeDecodeError:
        raise UnreadableData(f"row {number + 1}: not UTF-8; this is no CSV") from None
    except Exception as error:
        # gzip and zlib have many errors for what is damaged.
        raise UnreadableData(f"row {number + 1}: is damaged ({str(error) or type(error).__name__})") from None


def _parse_lines(lines: Sequence[Line], layout: CsvLayout) -> tuple[NDArray[Any], list[Label]]:
    """Images (n, side, side) and their labels."""
    labels: list[Label] = []
    pixels = []
    for number, line in lines:
        cells = line.split(layout.separator)
        if len(cells) != layout.columns:
            raise UnreadableData(f"row {number}: {len(cells):,} columns instead of {layout.columns:,}")
        labels.append(parse_label(cells.pop(layout.label_column)))
        if labels[-1] == "":
            raise UnreadableData(f"row {number}: the label is missing")
        pixels.append(",".join(cells))
    try:
        images = np.loadtxt(pixels, np.float32, comments=None, delimiter=",", quotechar='"', ndmin=2)
    except ValueError:
        raise UnreadableData(_find_fault(lines, pixels)) from None
    if images.shape != (len(lines), layout.columns - 1) or not np.isfinite(images).all():
        raise UnreadableData(_find_fault(lines, pixels))
    return images.reshape(-1, layout.side, layout.side), labels


def _find_fault(lines: Sequence[Line], pixels: Sequence[str]) -> str:
    """The first cell of these rows that is no finite number."""
    for (number, _), row in zip(lines, pixels, strict=True):
        for index, cell in enumerate(row.split(",")):
            if not _is_number(_unquote(cell)) or not np.isfinite(np.float32(_unquote(cell))):
                return f"row {number}: pixel {index} is {cell[:20]!r}, not a finite number"
    return f"rows {lines[0][0]} to {lines[-1][0]}: not all are numbers"


def _unquote(cell: str) -> str:
    return cell.strip().strip('"').strip()


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
