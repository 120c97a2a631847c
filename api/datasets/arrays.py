"""Readers of IDX files and of NumPy's .npy and .npz: arrays of images and arrays of labels, to be paired."""

import ast
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import prod
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from api.datasets.files import Part, UnreadableData, UploadedFile, naming, parse_part, read_exactly
from api.datasets.sources import CHUNK_ROWS, Rows, RowStream, check_image_shape, convert_labels

NPY_MAGIC = b"\x93NUMPY"
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_HEADER_BYTES = 4_096
_MOST_LABEL_BYTES = 64_000_000
_LABELS, _IMAGES = 1, 3


@dataclass(frozen=True)
class ArraySource:
    """An array in a file that has not been read yet."""

    name: str
    """Of its file, and of the array if the file has several."""
    part: Part
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """(n, height, width) of images, (n,) of labels, or (n, columns) where the first column is the label."""
    open: Callable[[], IO[bytes]]
    """The array's values, row by row."""

    @property
    def is_labels(self) -> bool:
        return len(self.shape) < _IMAGES

    def iter_chunks(self) -> Iterator[NDArray[Any]]:
        """Its rows in their order, some at a time; the file must end with the last one.

        Raises:
            UnreadableData: it is damaged, or longer or shorter than its header says.
        """
        row_shape = self.shape[1:]
        with closing(self.open()) as file:
            for first in range(0, self.shape[0], CHUNK_ROWS):
                count = min(CHUNK_ROWS, self.shape[0] - first)
                content = read_exactly(file, count * prod(row_shape) * self.dtype.itemsize)
                yield np.frombuffer(content, self.dtype).reshape(count, *row_shape)
            if read_exactly(file, 1, partial=True):
                raise UnreadableData("is longer than its header says")

    def read_labels(self) -> list[int | str]:
        """All labels.

        Raises:
            UnreadableData: they are damaged, fractions, or of a type that is no label.
        """
        if prod(self.shape) * self.dtype.itemsize > _MOST_LABEL_BYTES:
            raise UnreadableData(f"labels of the shape {self.shape} are too large")
        rows = list(self.iter_chunks())
        values = np.concatenate(rows) if rows else np.zeros(0)
        # QMNIST's labels have further columns, about who wrote the digit.
        return convert_labels(values if values.ndim == 1 else values[:, 0])


def read_idx_source(file: UploadedFile) -> ArraySource:
    """The array of an IDX file, gzipped or not, whatever its name.

    Raises:
        UnreadableData: it is no IDX file of images or labels.
    """
    with closing(file.open()) as opened:
        kind, dimensions = read_exactly(opened, 4)[2:]
        if kind not in _IDX_TYPES or not 1 <= dimensions <= _IMAGES:
            raise UnreadableData("is no IDX file of images (3 dimensions) or labels (1 or 2)")
        shape = tuple(np.frombuffer(read_exactly(opened, 4 * dimensions), ">u4").tolist())

    def open_values() -> IO[bytes]:
        values = file.open()
        read_exactly(values, 4 + 4 * dimensions)
        return values

    return _build_source(file.name, file.name, np.dtype(_IDX_TYPES[kind]), shape, open_values)


def read_npy_source(file: UploadedFile) -> ArraySource:
    """The array of a .npy file.

    Raises:
        UnreadableData: it holds pickled objects, or is no array of images or labels.
    """
    return _read_npy(file.name, file.name, file.open)


def read_npz_sources(file: UploadedFile) -> list[ArraySource]:
    """The arrays of an .npz file: Keras's four, or a single one that its file's name explains, as KMNIST's.

    Raises:
        UnreadableData: one holds pickled objects, or is no array of images or labels.
    """
    with zipfile.ZipFile(file.path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
    sources = []
    for member in members:
        array = member.removesuffix(".npy")

        def open_member(member: str = member) -> IO[bytes]:
            # The archive stays open as long as its member is.
            return zipfile.ZipFile(file.path).open(member)

        named = array if len(members) > 1 else file.name
        sources.append(_read_npy(f"{file.name}, {array}", named, open_member))
    return sources


def _read_npy(name: str, role: str, open_file: Callable[[], IO[bytes]]) -> ArraySource:
    try:
        file = open_file()
    except Exception as error:
        # A damaged archive; zipfile and its decompressors have many errors.
        raise UnreadableData(f"is damaged ({str(error) or type(error).__name__})") from None
    with closing(file):
        dtype, shape, start = _read_npy_header(file)

    def open_values() -> IO[bytes]:
        values = open_file()
        read_exactly(values, start)
        return values

    return _build_source(name, role, dtype, shape, open_values)


def _read_npy_header(file: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Type, shape, and at which byte the values begin. NumPy's own reader is not asked: it may unpickle."""
    start = read_exactly(file, 8)
    if start[:6] != NPY_MAGIC:
        raise UnreadableData("is no NumPy array")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(read_exactly(file, width), "little")
    if length > _MOST_HEADER_BYTES:
        raise UnreadableData("is no NumPy array: its header is too long")
    try:
        header = ast.literal_eval(read_exactly(file, length).decode("latin-1").strip())
        descriptor, is_fortran, shape = header["descr"], header["fortran_order"], header["shape"]
        dtype = np.dtype(descriptor)
    except UnreadableData:
        raise
    except Exception:
        # Whatever a made-up header raises.
        raise UnreadableData("is no NumPy array: its header cannot be read") from None
    if dtype.hasobject:
        raise UnreadableData("holds pickled objects, which are not read because they could run code")
    if is_fortran and isinstance(shape, tuple) and len(shape) > 1:
        raise UnreadableData("is in Fortran order; save numpy.ascontiguousarray(array)")
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise UnreadableData("is no NumPy array: its header cannot be read")
    return dtype, shape, 8 + width + length


def _build_source(
    name: str, role: str, dtype: np.dtype[Any], shape: tuple[int, ...], open_values: Callable[[], IO[bytes]]
) -> ArraySource:
    """The source of an array, its shape reduced to (n, height, width) or that of labels.

    Raises:
        UnreadableData: it is neither images nor labels.
    """
    text = dtype.kind in "US"
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    elif len(shape) == 4:
        raise UnreadableData(f"images of the shape {shape}; give one grey channel")
    elif len(shape) == 2 and shape[1] > _MOST_COLUMNS and not text:
        side = round(shape[1] ** 0.5)
        if side * side != shape[1]:
            raise UnreadableData(f"rows of {shape[1]} numbers, which make no square image")
        shape = (shape[0], side, side)
    if dtype.itemsize == 0 or not 1 <= len(shape) <= _IMAGES or (text and len(shape) != _LABELS):
        raise UnreadableData(f"has the shape {shape} of {dtype}, which is neither images nor labels")
    if dtype.kind not in "biufUS":
        raise UnreadableData(f"has numbers of the type {dtype}; give whole or decimal numbers")
    if len(shape) == _IMAGES:
        check_image_shape(*shape[1:])
    return ArraySource(name, parse_part(role), dtype, shape, open_values)


_MOST_COLUMNS = 16
"""Of labels with further columns; more are the pixels of an image."""


def pair_arrays(sources: Sequence[ArraySource]) -> Iterator[RowStream]:
    """For training and test data, as far as there are any, their images with their labels.

    Raises:
        UnreadableData: an array has no partner, or several.
    """
    parts: tuple[Part, ...] = ("train", "test")
    for part in parts:
        of_part = [source for source in sources if source.part == part]
        labels = [source for source in of_part if source.is_labels]
        images = [source for source in of_part if not source.is_labels]
        if not of_part:
            continue
        if len(labels) != 1 or len(images) != 1:
            names = ", ".join(source.name for source in of_part)
            raise UnreadableData(
                f"of {part} data there are {len(images)} arrays of images and {len(labels)} of labels "
                f"({names}); give one of each, with train or test in their names"
            )
        yield _iter_pair(images[0], labels[0])


def _iter_pair(images: ArraySource, labels: ArraySource) -> RowStream:
    if images.shape[0] != labels.shape[0]:
        raise UnreadableData(
            f"{images.name} has {images.shape[0]:,} images, {labels.name} has {labels.shape[0]:,} labels"
        )
    with naming(labels.name):
        values, first = labels.read_labels(), 0
    with naming(images.name):
        for chunk in images.iter_chunks():
            yield Rows(images.part, chunk, values[first : first + len(chunk)], images.name, first)
            first += len(chunk)
