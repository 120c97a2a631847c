"""The same small dataset in every form in which people bring one."""

import gzip
import io
import zipfile
from collections.abc import Callable

import numpy as np
from PIL import Image

Files = dict[str, bytes]
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def draw(classes: int = 3, train: int = 40, test: int = 10, seed: int = 0) -> Arrays:
    """Training and test images with their labels: a bright square of noise on black."""
    stream = np.random.default_rng(seed)

    def images(count: int) -> np.ndarray:
        squares = np.zeros((count, 28, 28), np.uint8)
        squares[:, 4:24, 4:24] = stream.integers(0, 256, (count, 20, 20))
        squares[:, 10, 10] = 255
        return squares

    return images(train), np.arange(train) % classes, images(test), np.arange(test) % classes


def idx_bytes(array: np.ndarray, code: int = 8, dtype: str = "u1") -> bytes:
    header = bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(dtype).tobytes()


def npz_bytes(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def png_bytes(image: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def zip_bytes(members: Files) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def csv_bytes(images: np.ndarray, labels: np.ndarray, *, header: bool = False) -> bytes:
    names = ["label", *(f"pixel{index}" for index in range(images[0].size))]
    lines = [",".join(names)] if header else []
    for image, label in zip(images, labels, strict=True):
        lines.append(",".join(map(str, [label, *image.ravel().tolist()])))
    return "\n".join(lines).encode() + b"\n"


def as_idx(data: Arrays, *, names: str = "{}-{}-idx{}-ubyte", packed: bool = False) -> Files:
    train, train_labels, test, test_labels = data
    files = {
        names.format("train", "images", 3): idx_bytes(train),
        names.format("train", "labels", 1): idx_bytes(train_labels),
        names.format("t10k", "images", 3): idx_bytes(test),
        names.format("t10k", "labels", 1): idx_bytes(test_labels),
    }
    return {f"{name}.gz": gzip.compress(content) for name, content in files.items()} if packed else files


def as_keras(data: Arrays, kind: str = "u1", factor: float = 1) -> Files:
    train, train_labels, test, test_labels = data
    x_train, x_test = (train / factor).astype(kind), (test / factor).astype(kind)
    arrays = npz_bytes(x_train=x_train, y_train=train_labels, x_test=x_test, y_test=test_labels)
    return {"mnist.npz": arrays}


def as_kmnist(data: Arrays) -> Files:
    names = ("kmnist-train-imgs", "kmnist-train-labels", "kmnist-test-imgs", "kmnist-test-labels")
    return {f"{name}.npz": npz_bytes(arr_0=array) for name, array in zip(names, data, strict=True)}


def as_csv(data: Arrays, *, header: bool) -> Files:
    train, train_labels, test, test_labels = data
    return {
        "mnist_train.csv": csv_bytes(train, train_labels, header=header),
        "mnist_test.csv": csv_bytes(test, test_labels, header=header),
    }


def as_folders(data: Arrays, *, inverted: bool = False) -> Files:
    train, train_labels, test, test_labels = data
    members = {"__MACOSX/._x": b"", "mine/.DS_Store": b""}
    for part, images, labels in (("train", train, train_labels), ("test", test, test_labels)):
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            pixels = 255 - image if inverted else image
            # Colours in the files; their order says nothing about the rows'.
            picture = np.stack([pixels] * 3, axis=2) if index % 2 else pixels
            members[f"mine/{part}/{label}/{97 - index}.png"] = png_bytes(picture)
    return {"mine.zip": zip_bytes(members)}


def as_parquet(data: Arrays) -> Files:
    import pyarrow  # noqa: PLC0415 (half a second, which the other forms need not wait for)
    from pyarrow import parquet  # noqa: PLC0415 (as above)

    files = {}
    for name, images, labels in (("train", *data[:2]), ("test", *data[2:])):
        file = io.BytesIO()
        rows = [{"bytes": png_bytes(image), "path": None} for image in images]
        parquet.write_table(pyarrow.table({"image": rows, "label": labels.tolist()}), file)
        files[f"{name}-00000-of-00001.parquet"] = file.getvalue()
    return files


def as_emnist(data: Arrays, *splits: str) -> Files:
    """EMNIST's `gzip.zip`: each split transposed and gzipped, with a map of its labels to characters."""
    train, train_labels, test, test_labels = data
    transposed = (train.transpose(0, 2, 1), train_labels, test.transpose(0, 2, 1), test_labels)
    members = {"__MACOSX/gzip/._emnist-digits-train-labels-idx1-ubyte.gz": b"resource fork"}
    for split in splits:
        arrays = as_idx(transposed, names=f"emnist-{split}-{{}}-{{}}-idx{{}}-ubyte", packed=True)
        renamed = {name.replace("t10k", "test"): content for name, content in arrays.items()}
        members |= {f"gzip/{name}": content for name, content in renamed.items()}
        codes = "".join(f"{label} {label + 48}\n" for label in range(3))
        members[f"gzip/emnist-{split}-mapping.txt"] = codes.encode()
    return {"gzip.zip": zip_bytes(members)}


FORMS: dict[str, Callable[[Arrays], Files]] = {
    "idx": as_idx,
    "idx.gz with dots": lambda data: as_idx(data, names="{}-{}.idx{}-ubyte", packed=True),
    "emnist": lambda data: as_idx(
        (data[0].transpose(0, 2, 1), data[1], data[2].transpose(0, 2, 1), data[3]),
        names="emnist-letters-{}-{}-idx{}-ubyte",
        packed=True,
    ),
    "emnist's archive": lambda data: as_emnist(data, "digits"),
    "keras": as_keras,
    "keras, floats": lambda data: as_keras(data, "f4", 255),
    "keras, doubles of bytes": lambda data: as_keras(data, "f8"),
    "keras, a channel": lambda data: as_keras((data[0][..., None], data[1], data[2][..., None], data[3])),
    "keras, rows": lambda data: as_keras(
        (data[0].reshape(-1, 784), data[1], data[2].reshape(-1, 784), data[3])
    ),
    "kmnist": as_kmnist,
    "kmnist, idx": lambda data: as_idx(data, packed=True),
    "csv": lambda data: as_csv(data, header=False),
    "csv with a header": lambda data: as_csv(data, header=True),
    "folders": as_folders,
    "folders, dark ink": lambda data: as_folders(data, inverted=True),
    "parquet": as_parquet,
}
