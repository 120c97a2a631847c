"""From uploaded files to a dataset: its parts, what was decided about them, its digest and its archive.

The rows are put into an order that depends on their content alone, so that the same images give the same
digest and the same weights, whatever form and order they came in.
"""

import base64
import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from api.datasets.archives import list_members, read_class_names, select_split
from api.datasets.arrays import (
    NPY_MAGIC,
    ArraySource,
    pair_arrays,
    read_idx_source,
    read_npy_source,
    read_npz_sources,
)
from api.datasets.csv_rows import read_csv, read_layout
from api.datasets.files import Part, UnreadableData, UploadedFile, naming, parse_part
from api.datasets.image_members import PARQUET_MAGIC, read_folders, read_parquet
from api.datasets.interpretation import (
    check_duplicates,
    choose_test_rows,
    convert_pixels,
    hash_images,
    map_labels,
    name_classes,
)
from api.datasets.schemas import ClassCount, DatasetOptions, Decision, PreviewImage
from api.datasets.sources import RowStream
from api.datasets.spool import Pixels, Spool
from models.datasets import NPZ_ARRAYS, format_idx_header
from models.spec import SIDE

_PREVIEWED = 64
_PARTS: tuple[Part, Part] = ("train", "test")


class Examples(NamedTuple):
    """One part of a dataset, in its final order."""

    pixels: Pixels
    order: NDArray[np.intp]
    """Rows of `pixels`."""
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class ImportedDataset:
    """A dataset that was read and checked, with its pixels on disk."""

    digest: str
    train: Examples
    test: Examples
    class_names: list[str]
    decisions: list[Decision]
    warnings: list[str]

    @property
    def counts(self) -> list[ClassCount]:
        """Images of each class."""
        sizes = [
            np.bincount(part.labels, minlength=len(self.class_names)) for part in (self.train, self.test)
        ]
        return [
            ClassCount(name=name, train=int(train), test=int(test))
            for name, train, test in zip(self.class_names, *sizes, strict=True)
        ]

    def build_preview(self) -> list[PreviewImage]:
        """The first training images: their order is as good as random."""
        images = next(self.train.pixels.iter_chunks(self.train.order[:_PREVIEWED]))
        return [
            PreviewImage(label=int(label), pixels=base64.b64encode(image.tobytes()).decode())
            for image, label in zip(images, self.train.labels, strict=False)
        ]

    def write_archive(self, path: Path) -> None:
        """Write Keras's four arrays as a compressed .npz file."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for part, (images, labels) in zip(
                (self.train, self.test), (NPZ_ARRAYS[:2], NPZ_ARRAYS[2:]), strict=True
            ):
                shape = (len(part.order), SIDE, SIDE)
                with archive.open(f"{images}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array_header_1_0(
                        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
                    )
                    for chunk in part.pixels.iter_chunks(part.order):
                        file.write(chunk.tobytes())
                with archive.open(f"{labels}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, part.labels, allow_pickle=False)


def import_dataset(
    files: Sequence[UploadedFile], options: DatasetOptions, folder: Path, most_bytes: int
) -> ImportedDataset:
    """Read uploaded files; what must be kept while reading lies in `folder`, at most `most_bytes` a part.

    Raises:
        UnreadableData: they are no dataset; it names the file, and the row or member.
    """
    spools = {part: Spool(folder / f"{part}.raw", most_bytes) for part in _PARTS}
    decisions: list[Decision] = []
    files, names = read_class_names(select_split(files, options.split))
    for stream in _open_streams(files, options, decisions):
        for rows in stream:
            spools[rows.part].append(rows)
    train, test = spools["train"], spools["test"]
    if not train.labels:
        raise UnreadableData("there are no training images")
    codes, labels = map_labels(train, test, decisions)
    class_names = name_classes(labels, names, options, decisions)
    pixels = convert_pixels([train, test], options, [file.name for file in files], decisions)
    keys = [hash_images(part) for part in pixels]
    rows_of_parts = [np.arange(len(part)) for part in codes]
    if not test.labels:
        chosen = choose_test_rows(keys[0], codes[0], options)
        detail = f"{options.test_fraction:.0%} of each class, by the seed {options.test_seed}"
        decisions.append(Decision(name="test", detail=f"{detail}: the files have no test data"))
        pixels, keys, codes = [pixels[0]] * 2, [keys[0]] * 2, [codes[0]] * 2
        rows_of_parts = [np.flatnonzero(~chosen), np.flatnonzero(chosen)]
    parts = []
    for index, chosen_rows in enumerate(rows_of_parts):
        order = chosen_rows[np.lexsort((codes[index][chosen_rows], keys[index][chosen_rows]))]
        parts.append(Examples(pixels[index], order, codes[index][order].astype(np.uint8)))
    warnings = check_duplicates(keys[0][parts[0].order], keys[1][parts[1].order], options)
    imported = ImportedDataset(_compute_digest(parts), parts[0], parts[1], class_names, decisions, warnings)
    if without := [item.name for item in imported.counts if not item.test]:
        warnings.append(f"no test images of {', '.join(without)}")
    return imported


def _open_streams(
    files: Sequence[UploadedFile], options: DatasetOptions, decisions: list[Decision]
) -> Iterator[RowStream]:
    """The files' rows; training files come first, so that a test label without training images is noticed.

    Raises:
        UnreadableData: a file has no form that is read here.
    """
    arrays: list[ArraySource] = []
    streams: list[tuple[Part, RowStream]] = []
    for file in sorted(files, key=lambda file: file.name):
        with naming(file.name):
            start = file.read_start()
            if start.startswith(b"PK"):
                members = list_members(file)
                if any(name.endswith(".npy") for name in members):
                    arrays += read_npz_sources(file)
                else:
                    streams.append(("train", read_folders(file, resize=options.resize)))
            elif start.startswith(NPY_MAGIC):
                arrays.append(read_npy_source(file))
            elif start.startswith(PARQUET_MAGIC):
                streams.append((parse_part(file.name), read_parquet(file, resize=options.resize)))
            elif start.startswith(b"\0\0"):
                arrays.append(read_idx_source(file))
            else:
                layout = read_layout(file)
                header = "the first row names the columns" if layout.has_header else "there is none"
                column = f"the label is column {layout.label_column + 1}"
                decisions.append(Decision(name="header", detail=f"{file.name}: {header}; {column}"))
                streams.append((parse_part(file.name), read_csv(file, layout)))
    yield from pair_arrays(arrays)
    for part in _PARTS:
        yield from (stream for other, stream in streams if other == part)


def _compute_digest(parts: Sequence[Examples]) -> str:
    """SHA-256 of the four IDX digests one after another, as for the built-in datasets."""
    digests = ""
    for part in parts:
        images = hashlib.sha256(format_idx_header((len(part.order), SIDE, SIDE)))
        for chunk in part.pixels.iter_chunks(part.order):
            images.update(chunk.tobytes())
        labels = hashlib.sha256(format_idx_header((len(part.order),)) + part.labels.tobytes())
        digests += images.hexdigest() + labels.hexdigest()
    return hashlib.sha256(digests.encode()).hexdigest()
