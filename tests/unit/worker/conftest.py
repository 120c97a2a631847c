"""One engine for the whole test process: TensorFlow's import takes seconds, its threads are set once."""

import pytest

from models.dataset_arrays import Dataset, load
from models.settings import Settings
from worker.engine import Engine, start_engine


@pytest.fixture(scope="session", autouse=True)
def engine() -> Engine:
    return start_engine(threads=1)


@pytest.fixture(scope="session")
def mnist_5k() -> Dataset:
    return load("mnist_5k", Settings())
