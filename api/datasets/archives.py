"""Zip archives of whole files: EMNIST's `gzip.zip`, whose splits are datasets of their own."""

import re
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from api.datasets.files import UnreadableData, UploadedFile, naming, parse_part
from api.datasets.sources import Label

_MOST_MEMBERS = 2_000_000
_ARRAY = re.compile(r"idx\d-(ubyte|int)(\.gz)?$")
_CLASS_MAP = re.compile(r"(mapping\.txt|classmap\.csv)$")
_IGNORED = re.compile(r"(^|/)(__MACOSX/|\.)")
_SPLIT = re.compile(r"(?:emnist-)?(.*?)[-_]?(?:train|test|t10k|mapping\.txt$|classmap\.csv$)")
_ARRAYS_OF_PART = 2
_MOST_MAP_BYTES = 10_000


def open_archive(file: UploadedFile) -> zipfile.ZipFile:
    """A zip archive.

    Raises:
        UnreadableData: it is damaged, or has too many members.
    """
    try:
        archive = zipfile.ZipFile(file.path)
    except Exception as error:
        # zipfile has many errors for what is damaged.
        raise UnreadableData(f"is no zip that can be read ({str(error) or type(error).__name__})") from None
    if len(archive.infolist()) > _MOST_MEMBERS:
        raise UnreadableData(f"has more than {_MOST_MEMBERS:,} members")
    return archive


def list_members(file: UploadedFile) -> list[str]:
    """The names in a zip archive.

    Raises:
        UnreadableData: it is damaged.
    """
    with open_archive(file) as archive:
        return archive.namelist()


def select_split(files: Iterable[UploadedFile], split: str | None) -> list[UploadedFile]:
    """The files, IDX files in archives among them, of one split where there are several.

    Raises:
        UnreadableData: which split is not said, or there is none of that name; it names those there are.
    """
    files = [member for file in files for member in _expand(file)]
    arrays = [file.name for file in files if _ARRAY.search(file.name)]
    # The two parts may have several names: MNIST's training images beside QMNIST's test images.
    if split is None and max(Counter(map(parse_part, arrays)).values(), default=0) <= _ARRAYS_OF_PART:
        return files
    splits = {_parse_split(name) for name in arrays}
    if split not in splits:
        names = ", ".join(sorted(name for name in splits if name)) or "no splits"
        request = "choose one" if split is None else f"there is no {split}"
        raise UnreadableData(f"the files have {names}: {request}, as options.split")
    return [file for file in files if _parse_split(file.name) == split]


def _expand(file: UploadedFile) -> list[UploadedFile]:
    """The IDX files in an archive, and what names their labels; else the file itself."""
    with naming(file.name):
        if not file.read_start().startswith(b"PK"):
            return [file]
        members = list_members(file)
    if not any(map(_ARRAY.search, members)):
        return [file]
    return [
        replace(file, name=member.rpartition("/")[2], member=member)
        for member in members
        if not _IGNORED.search(member) and (_ARRAY.search(member) or _CLASS_MAP.search(member))
    ]


def _parse_split(name: str) -> str:
    """`letters` of `emnist-letters-train-images-idx3-ubyte.gz`; empty where the name has none."""
    match = _SPLIT.match(name)
    return match[1] if match else ""


def read_class_names(files: Iterable[UploadedFile]) -> tuple[list[UploadedFile], dict[Label, str]]:
    """The files without those that name labels, and what these say: EMNIST's `36 97` makes 36 an `a`.

    Raises:
        UnreadableData: a line is none of EMNIST's `mapping.txt` or KMNIST's `classmap.csv`.
    """
    images: list[UploadedFile] = []
    names: dict[Label, str] = {}
    for file in files:
        if not _CLASS_MAP.search(file.name):
            images.append(file)
            continue
        with naming(file.name):
            text = file.read_start(_MOST_MAP_BYTES).decode("utf-8", "replace").strip()
            for number, line in enumerate(text.splitlines(), 1):
                if match := re.fullmatch(r"(\d{1,3}),U\+[0-9A-F]+,(\S{1,4})", line.strip()):
                    names[int(match[1])] = match[2]
                elif re.fullmatch(r"\d{1,3}( \d{2,3})+", line.strip()):
                    label, *codes = map(int, line.split())
                    # EMNIST's letters have two: 1 is A and a.
                    names[label] = "/".join(map(chr, codes))
                elif number > 1:
                    raise UnreadableData(f"row {number}: {line[:40]!r} does not name a label")
    return images, names
