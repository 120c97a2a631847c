"""The file or folder that holds a dataset on this machine; models/dataset_cards.py says what each is.

Searched in REGBENCH_DATA_DIR, then in Keras's own cache, then downloaded into that cache as Keras does.
Their content is checked by SHA-256 when a worker reads them (models/dataset_arrays.py).
"""

import gzip
import hashlib
import logging
import math
import os
import zipfile
import zlib
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from threading import Lock
from urllib.request import urlopen

from cachetools import TTLCache

from models.dataset_cards import DATASETS, IDX_FILES, DatasetCard
from models.errors import DatasetUnavailable, FieldError
from models.files import write_atomically
from models.settings import Settings

log = logging.getLogger(__name__)

DOWNLOAD_TIMEOUT_SECONDS = 10
NPZ_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
GZIP_MAGIC = b"\x1f\x8b"
# How files begin (in lower case) that are often saved under a dataset's name.
_FOREIGN = {
    b"<!doctype": "is a web page instead of the file",
    b"<html": "is a web page instead of the file",
    b"version https://git-lfs": "is a Git LFS pointer (git lfs pull fetches the file)",
    b"\x93numpy": "is a single array instead of an archive of four",
    b"\x80": "is a pickle, which is not read because it could run code",
}


# A failed download is not tried again at every request.
_failed_downloads: TTLCache[str, bool] = TTLCache(maxsize=len(DATASETS), ttl=60.0)
_download_lock = Lock()


def find_dataset(name: str, settings: Settings) -> Path | None:
    """The file or folder that holds the dataset on this machine; None: nowhere, or inside a package.

    A damaged one is found only where there is no other.
    """
    card = DATASETS[name]
    if card.packaged:
        return None
    searches = [(get_keras_cache_folder(), card.shared_folders)]
    if settings.data_dir is not None:
        searches.insert(0, (settings.data_dir, card.folders))
    paths = [root / entry for root, folders in searches for entry in (f"{name}.npz", *folders)]
    present = [
        path
        for path in paths
        if path.is_file() or (path.is_dir() and all(find_idx_file(path, file) for file in IDX_FILES))
    ]
    first = present[0] if present else None
    return next((path for path in present if find_damage(path) is None), first)


def find_idx_file(folder: Path, name: str) -> Path | None:
    """The IDX file in `folder`, gzipped or not; some programs unpack it with a dot in its name."""
    names = [f"{stem}{ending}" for stem in (name, name.replace("-idx", ".idx")) for ending in ("", ".gz")]
    return next((path for path in map(folder.joinpath, names) if path.is_file()), None)


def find_damage(path: Path) -> str | None:
    """What is wrong with a dataset's file, or one of its folder, in one sentence; None: nothing.

    Reads the files' ends only, so it is cheap and misses damage in their middle.
    """
    if path.is_dir():
        files = (find_idx_file(path, name) for name in IDX_FILES)
        return next((damage for file in files if file and (damage := find_damage(file))), None)
    try:
        with path.open("rb") as file:
            head = file.read(64)
        reason = next((reason for start, reason in _FOREIGN.items() if head.lower().startswith(start)), None)
        if not head:
            reason = "is empty"
        elif reason is None and path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                missing = {f"{array}.npy" for array in NPZ_ARRAYS} - set(archive.namelist())
            reason = f"has no {', '.join(sorted(missing))}" if missing else None
        elif reason is None:
            reason = None if _is_whole_idx_file(path) else "is truncated or not an IDX file"
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
    except (zipfile.BadZipFile, EOFError, zlib.error):
        reason = "is damaged or truncated"
    return f"{path} {reason}" if reason else None


def _is_whole_idx_file(path: Path) -> bool:
    """Whether an IDX file, gzipped or not, is as long as its header says."""
    with path.open("rb") as file:
        is_packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        size = path.stat().st_size
        if is_packed:  # a gzip file ends with its content's length
            file.seek(-4, os.SEEK_END)
            size = int.from_bytes(file.read(4), "little")
    with gzip.open(path) if is_packed else path.open("rb") as file:
        header = file.read(16)
    if header[:3] != b"\0\0\x08" or header[3:4] not in (b"\1", b"\3"):
        return False
    start = 4 + 4 * header[3]
    dimensions = (int.from_bytes(header[at : at + 4], "big") for at in range(4, start, 4))
    return size == start + math.prod(dimensions)


def format_idx_header(shape: Sequence[int]) -> bytes:
    """How the IDX file of bytes of this shape begins."""
    return b"".join(size.to_bytes(4, "big") for size in (0x0800 + len(shape), *shape))


def is_available(name: str, settings: Settings) -> bool:
    """Whether the dataset is on this machine, without downloading it, and as far as `find_damage` tells."""
    if DATASETS[name].packaged:
        return True
    path = find_dataset(name, settings)
    return path is not None and find_damage(path) is None


def ensure_available(name: str, settings: Settings) -> None:
    """Ensure that the dataset is on this machine, downloading it if necessary; an uploaded one was found.

    Raises:
        DatasetUnavailable: it is missing or damaged and could not be downloaded; the message has advice.
    """
    if name not in DATASETS or is_available(name, settings):
        return
    with _download_lock:
        if not is_available(name, settings) and name not in _failed_downloads:
            _download(DATASETS[name])
        if is_available(name, settings):
            return
    path = find_dataset(name, settings)
    reason = (path and find_damage(path)) or f"{name} is not on this machine"
    detail = (
        f"{reason} and could not be downloaded; set REGBENCH_DATA_DIR to a folder that holds {name}.npz, or "
        "use mnist_5k, which needs no download"
    )
    raise DatasetUnavailable([FieldError("/dataset/name", detail)])


def get_keras_cache_folder() -> Path:
    """The folder in which Keras keeps datasets."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets"


def _download(card: DatasetCard) -> None:
    """Download a dataset's files into Keras's cache, each only if its SHA-256 is the published one."""
    try:
        for file in card.downloads:
            path = get_keras_cache_folder() / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            log.info("downloading %s", file.url)
            with urlopen(file.url, timeout=DOWNLOAD_TIMEOUT_SECONDS) as answer:  # noqa: S310 (our own https addresses)
                content = answer.read()
            unpacked = gzip.decompress(content) if path.suffix == ".gz" else content
            if hashlib.sha256(unpacked).hexdigest() != file.sha256:
                raise OSError(f"{file.url} returned a file that differs from the published one")
            write_atomically(path, content)
    except (OSError, EOFError, zlib.error, HTTPException) as error:
        log.warning("could not download %s: %s", card.name, error)
        _failed_downloads[card.name] = True
