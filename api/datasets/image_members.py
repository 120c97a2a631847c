"""Readers of encoded images: a zip of folders of PNG or JPEG files, and Parquet with their bytes."""

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from api.datasets.archives import open_archive
from api.datasets.files import Part, UnreadableData, UploadedFile, naming, parse_part
from api.datasets.sources import CHUNK_ROWS, Rows, RowStream, parse_label
from api.predictions.image_files import MOST_PIXELS, UnreadableImage, read_picture
from models.spec import SIDE

if TYPE_CHECKING:
    import pyarrow

PARQUET_MAGIC = b"PAR1"
_MOST_MEMBER_BYTES = 20_000_000
_MOST_RATIO = 200
"""PNG and JPEG are compressed already; what a zip shrinks more is made to fill a disk or memory."""
_LEAST_SUSPECT_BYTES = 100_000
_IGNORED = re.compile(r"(^|/)(__MACOSX/|\.|Thumbs\.db$|desktop\.ini$)")
_IMAGE = re.compile(r"\.(png|jpe?g)$", re.IGNORECASE)
_PARTS: Mapping[str, Part] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing", "t10k"), "test"),
}
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


def read_folders(file: UploadedFile, *, resize: bool) -> RowStream:
    """The images of a zip whose folders are named for their classes, perhaps below `train` and `test`.

    Raises:
        UnreadableData: a member is no image, or lies in no folder; it names the member.
    """
    archive = open_archive(file)
    with naming(file.name), archive:
        default = parse_part(file.name)
        members = sorted(
            _check_members(archive, default), key=lambda item: (item[1] == "test", item[0].filename)
        )
        numbered = all(isinstance(parse_label(label), int) for _, _, label in members)
        for part in dict.fromkeys(part for _, part, _ in members):
            of_part = [(member, label) for member, other, label in members if other == part]
            for first in range(0, len(of_part), CHUNK_ROWS):
                chunk = of_part[first : first + CHUNK_ROWS]
                images = np.stack([_read_member(archive, member, resize=resize) for member, _ in chunk])
                names = [member.filename for member, _ in chunk]
                # Names such as 0 to 9 and a to z together are text.
                labels = [parse_label(label) if numbered else label for _, label in chunk]
                yield Rows(part, images, labels, file.name, members=names, are_encoded=True)


def _check_members(archive: zipfile.ZipFile, default: Part) -> Iterator[tuple[zipfile.ZipInfo, Part, str]]:
    """The images with their part and their folder's name."""
    for member in archive.infolist():
        name = member.filename
        if member.is_dir() or _IGNORED.search(name):
            continue
        if not _IMAGE.search(name):
            raise UnreadableData(f"{name[:200]}: neither a PNG nor a JPEG file, by its name")
        *folders, _ = PurePosixPath(name).parts
        if not folders or folders[-1].lower() in _PARTS:
            raise UnreadableData(f"{name[:200]}: lies in no folder that is named for its class")
        if member.flag_bits & 1:
            raise UnreadableData(f"{name[:200]}: is encrypted")
        ratio = member.file_size / max(1, member.compress_size)
        is_bomb = member.file_size > _LEAST_SUSPECT_BYTES and ratio > _MOST_RATIO
        if is_bomb or member.file_size > _MOST_MEMBER_BYTES:
            raise UnreadableData(f"{name[:200]}: unpacks to {member.file_size:,} bytes, which is too much")
        part = next((_PARTS[folder.lower()] for folder in folders[:-1] if folder.lower() in _PARTS), default)
        yield member, part, folders[-1]


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, *, resize: bool) -> NDArray[np.uint8]:
    try:
        with archive.open(member) as opened:
            # Whatever the archive says of its size.
            content = opened.read(_MOST_MEMBER_BYTES)
    except Exception as error:
        # zipfile and its decompressors have many errors for what is damaged.
        reason = str(error) or type(error).__name__
        raise UnreadableData(f"{member.filename[:200]}: is damaged ({reason})") from None
    try:
        return decode_image(content, resize=resize)
    except UnreadableData as fault:
        raise UnreadableData(f"{member.filename[:200]}: {fault}") from None


def read_parquet(file: UploadedFile, *, resize: bool) -> RowStream:
    """The images of a Parquet file: a column of PNG or JPEG bytes, as Hugging Face's have, and a label.

    Raises:
        UnreadableData: it has no such columns, or an image is damaged; it names the row.
    """
    try:
        from pyarrow import parquet  # noqa: PLC0415 (an extra)
    except ImportError:
        missing = "is Parquet, which needs pyarrow: pip install 'regbench[parquet]'"
        raise UnreadableData(f"{file.name}: {missing}") from None
    try:
        table = parquet.ParquetFile(file.path)
        names = table.schema_arrow.names
        images = [name for name in names if name in {"image", "img", "png", "bytes"}]
        labels = [name for name in names if name in {"label", "labels", "class", "target", "y"}]
        if not images or not labels:
            raise UnreadableData(f"has the columns {', '.join(names)[:200]}; name one image and one label")
        batches = table.iter_batches(batch_size=CHUNK_ROWS, columns=[images[0], labels[0]])
        first = 0
        while (batch := next(batches, None)) is not None:
            yield _read_batch(batch.column(0), batch.column(1), file.name, first, resize=resize)
            first += len(batch)
    except UnreadableData as fault:
        raise UnreadableData(f"{file.name}, {fault}") from None
    except Exception as error:
        # Arrow has many errors for what is damaged.
        reason = (str(error) or type(error).__name__).partition("\n")[0][:200]
        raise UnreadableData(f"{file.name}: is damaged ({reason})") from None


def _read_batch(
    encoded: "pyarrow.Array", labels: "pyarrow.Array", source: str, first: int, *, resize: bool
) -> Rows:
    images, converted = [], []
    for index, (cell, value) in enumerate(zip(encoded.to_pylist(), labels.to_pylist(), strict=True)):
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(content, bytes):
            raise UnreadableData(f"row {first + index}: has no bytes of an image")
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise UnreadableData(f"row {first + index}: the label {value!r} is neither a number nor text")
        try:
            images.append(decode_image(content, resize=resize))
        except UnreadableData as fault:
            raise UnreadableData(f"row {first + index}: {fault}") from None
        converted.append(parse_label(value) if isinstance(value, str) else value)
    return Rows(parse_part(source), np.stack(images), converted, source, first, are_encoded=True)


def decode_image(content: bytes, *, resize: bool) -> NDArray[np.uint8]:
    """A PNG or JPEG file as grey pixels (28, 28), 0 to 255.

    Raises:
        UnreadableData: it is neither, is damaged or too large, or has another size and may not be resized.
    """
    try:
        picture, _ = read_picture(content, MOST_PIXELS)
    except UnreadableImage as fault:
        raise UnreadableData(str(fault)) from None
    return resize_image((255 * (picture @ _LUMINANCE)).round().astype(np.uint8), resize=resize)


def resize_image(image: NDArray[np.uint8], *, resize: bool) -> NDArray[np.uint8]:
    """An image (height, width) as (28, 28): made square by repeating its edges, then scaled.

    Raises:
        UnreadableData: it has another size and may not be resized.
    """
    height, width = image.shape
    if height == width == SIDE:
        return image
    if not resize:
        raise UnreadableData(
            f"{width} x {height} pixels; networks see 28 x 28: set options.resize to true to have it scaled"
        )
    longest = max(height, width)
    before = [(longest - length) // 2 for length in (height, width)]
    margins: Sequence[Any] = [
        (margin, longest - length - margin) for margin, length in zip(before, (height, width), strict=True)
    ]
    square = Image.fromarray(np.pad(image, margins, mode="edge"))
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
