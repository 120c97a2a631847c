"""Images on their way from a reader to the store: kept on disk, so that memory does not grow with them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.datasets.files import UnreadableData
from api.datasets.image_members import resize_image
from api.datasets.sources import CHUNK_ROWS, Label, Rows
from models.spec import PIXELS

Keys = NDArray[np.uint64]
Codes = NDArray[np.int32]


@dataclass
class RawChunk:
    """Where some images of a part lie in the spool, as they were read."""

    rows: Rows
    """With no images: they lie on disk."""
    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    has_fractions: bool


@dataclass
class Spool:
    """The images of one part in a file, first as they were read, then as 28 x 28 bytes each."""

    path: Path
    most_bytes: int
    """What the file may hold."""
    chunks: list[RawChunk] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    maximum: float = 0.0
    has_fractions: bool = False
    are_bools: bool = False
    are_encoded: bool = False

    def append(self, rows: Rows) -> None:
        """Add images as they are in their file.

        Raises:
            UnreadableData: a pixel is below 0 or not finite, or the part grows too large.
        """
        images = rows.images
        self.are_bools = (self.are_bools or not self.chunks) and images.dtype == bool
        self.are_encoded = (self.are_encoded or not self.chunks) and rows.are_encoded
        if images.dtype not in (bool, np.uint8):
            _check_pixels(rows)
            has_fractions = images.dtype.kind == "f" and bool((images != np.floor(images)).any())
            fits = not has_fractions and images.max(initial=0) <= 255
            images = images.astype(np.uint8 if fits else np.float32)
            self.has_fractions |= has_fractions
        else:
            has_fractions, images = False, images.astype(np.uint8)
        self.maximum = max(self.maximum, float(images.max(initial=0)))
        with self.path.open("ab") as file:
            start = file.tell()
            if start + images.nbytes > self.most_bytes:
                raise UnreadableData(f"unpacks to more than {self.most_bytes:,} bytes of pixels")
            file.write(images.tobytes())
        self.labels += rows.labels
        # An array of its own: a slice would keep the images in memory.
        where = replace(rows, images=np.empty(0))
        self.chunks.append(RawChunk(where, start, images.dtype, images.shape, has_fractions))

    def describe(self, index: int) -> str:
        """Where an image comes from."""
        for chunk in self.chunks:
            if index < len(chunk.rows.labels):
                return chunk.rows.describe(index)
            index -= len(chunk.rows.labels)
        raise IndexError(index)

    def convert(self, white: float, *, is_given: bool, transpose: bool, resize: bool) -> "Pixels":
        """The images as bytes of 28 x 28, `white` being 255; the raw ones are removed.

        Raises:
            UnreadableData: a pixel lies above white, chunks have several scales, or a size is another.
        """
        pixels = Pixels(self.path.with_suffix(".pixels"), len(self.labels))
        border, total = 0.0, 0
        with self.path.open("ab+") as raw, pixels.path.open("wb") as file:
            for chunk in self.chunks:
                raw.seek(chunk.start)
                content = raw.read(int(np.prod(chunk.shape)) * chunk.dtype.itemsize)
                images = _scale(
                    chunk, np.frombuffer(content, chunk.dtype).reshape(chunk.shape), white, is_given
                )
                if transpose:
                    images = images.transpose(0, 2, 1)
                if images.shape[1:] != (28, 28):
                    images = _resize(chunk, images, resize=resize)
                edges = (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1])
                border += sum(float(edge.sum()) for edge in edges)
                total += sum(edge.size for edge in edges)
                file.write(np.ascontiguousarray(images).tobytes())
        pixels.border = border / max(1, total)
        self.path.unlink()
        return pixels


@dataclass
class Pixels:
    """Images of 28 x 28 bytes in a file."""

    path: Path
    count: int
    border: float = 0.0
    """Mean of the pixels along the images' edges, 0 to 255."""
    inverted: bool = False
    """Whether they are read as 255 minus what is in the file."""

    def iter_chunks(
        self, order: Sequence[int] | NDArray[np.intp] | None = None
    ) -> Iterator[NDArray[np.uint8]]:
        """The images (n, 784) in their order, or in another, some at a time."""
        size = self.count if order is None else len(order)
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            for first in range(0, size, CHUNK_ROWS):
                last = min(size, first + CHUNK_ROWS)
                if order is None:
                    content = os.pread(descriptor, (last - first) * PIXELS, first * PIXELS)
                else:
                    rows = (os.pread(descriptor, PIXELS, int(row) * PIXELS) for row in order[first:last])
                    content = b"".join(rows)
                images = np.frombuffer(content, np.uint8).reshape(-1, PIXELS)
                yield 255 - images if self.inverted else images
        finally:
            os.close(descriptor)


def _check_pixels(rows: Rows) -> None:
    with np.errstate(invalid="ignore"):
        wrong = ~(np.isfinite(rows.images) & (rows.images >= 0)).reshape(len(rows.images), -1).all(axis=1)
    if wrong.any():
        index = int(np.argmax(wrong))
        raise UnreadableData(f"{rows.describe(index)}: a pixel is below 0 or not finite")


def _scale(chunk: RawChunk, images: NDArray[Any], white: float, is_given: bool) -> NDArray[np.uint8]:
    if chunk.has_fractions and white != 1 and not is_given:
        raise UnreadableData(f"{chunk.rows.describe(0)}: fractions, but elsewhere pixels reach {white:g}")
    if images.dtype == np.uint8 and white == 255:
        return images
    scaled = np.rint(images * (255.0 / white))
    above = (scaled > 255).reshape(len(images), -1).any(axis=1)
    if above.any():
        raise UnreadableData(f"{chunk.rows.describe(int(np.argmax(above)))}: a pixel is above {white:g}")
    return scaled.astype(np.uint8)


def _resize(chunk: RawChunk, images: NDArray[np.uint8], *, resize: bool) -> NDArray[np.uint8]:
    try:
        return np.stack([resize_image(image, resize=resize) for image in images])
    except UnreadableData as fault:
        raise UnreadableData(f"{chunk.rows.describe(0)}: {fault}") from None
