"""What every contestant trains: the seed's network, on the same examples. Loads no framework."""

import numpy as np
from numpy.typing import NDArray

from models.dataset_arrays import Bytes, load
from models.dataset_cards import DATASETS
from models.errors import DatasetUnavailable
from models.settings import Settings
from models.spec import PIXELS, JobSpec
from worker.datasets import DataSplit, split_dataset

LAYERS = (PIXELS, 512, 512, DATASETS["mnist"].classes)
BATCH_SIZE = 32
LEARNING_RATE = 0.001


def build_spec(dataset: str) -> JobSpec:
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
    """The examples that a job trains on, validates on and is tested on.

    Raises:
        SystemExit: the dataset is not on this machine; the message says what to do.
    """
    try:
        return split_dataset(load(spec.dataset.name, Settings()), spec.dataset)
    except DatasetUnavailable as error:
        raise SystemExit(error.errors[0].detail) from None


def scale_pixels(images: Bytes) -> NDArray[np.float32]:
    """Pixels 0 to 255 as numbers 0 to 1, same shape."""
    return images.astype(np.float32) / np.float32(255)
