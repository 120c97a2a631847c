"""What every contestant trains: the seed's network, on the same examples. Loads no framework."""

import argparse
import os

import numpy as np
from numpy.typing import NDArray

from models.datasets import DATASETS, is_available
from models.errors import DatasetUnavailable
from models.settings import Settings
from models.spec import CLASSES, PIXELS, JobSpec
from worker.datasets import Bytes, DataSplit, load, split_dataset

LAYERS = (PIXELS, 512, 512, CLASSES)
BATCH_SIZE = 32
LEARNING_RATE = 0.001
_IDLE_LOAD = 0.5


def dataset_and_threads(description: str) -> argparse.ArgumentParser:
    """A command line that says what is trained on, and with how many threads."""
    parser = argparse.ArgumentParser(description=description)
    add_dataset(parser)
    parser.add_argument("--threads", type=positive, default=os.cpu_count() or 1)
    return parser


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """The option --dataset: MNIST in full where it is on this machine, else what comes with a package."""
    everything = is_available("mnist", Settings())
    parser.add_argument("--dataset", choices=DATASETS, default="mnist" if everything else "mnist_5k")


def positive(text: str) -> int:
    """An option's value, for argparse.

    Raises:
        argparse.ArgumentTypeError: it is no whole number of at least 1.
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"give a whole number of at least 1, not {text}")
    return number


def warn_if_busy() -> None:
    """Say so where others use the processor: what waits for threads of its own suffers most (PyTorch)."""
    load = os.getloadavg()[0]
    if load > _IDLE_LOAD:
        print(f"The load of the last minute is {load:.1f}: unless the machine is idle, no ratio is fair.")


def seed_spec(dataset: str) -> JobSpec:
    """One epoch of the seed's network, validated on the last rows as Keras does."""
    return JobSpec.model_validate(
        {
            "dataset": {"name": dataset, "validation_split": "last"},
            "model": {"hidden_units": LAYERS[1:-1]},
            "training": {
                "optimizer": {"name": "adam", "learning_rate": LEARNING_RATE},
                "batch_size": BATCH_SIZE,
                "epochs": 1,
            },
        }
    )


def load_split(spec: JobSpec) -> DataSplit:
    """The examples that a job learns from, validates on and is tested on.

    Raises:
        SystemExit: the dataset is not on this machine; the message says what to do.
    """
    try:
        return split_dataset(load(spec.dataset.name, Settings()), spec.dataset)
    except DatasetUnavailable as error:
        raise SystemExit(error.errors[0].detail) from None


def floats(images: Bytes) -> NDArray[np.float32]:
    """Pixels 0 to 255 as numbers 0 to 1, same shape."""
    return images.astype(np.float32) / np.float32(255)
