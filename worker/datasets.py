"""How a dataset is divided for one job: subset, part, validation split and label noise."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from models.dataset_arrays import Bytes, Dataset, Examples, Rows
from models.dataset_spec import DatasetSpec

# Streams of random numbers that are drawn from one split seed, each for its own purpose, so that asking for
# a subset does not change the noise. The three that permute rows lie beyond any epoch's number: epochs draw
# their orders from [job seed, epoch], and the third one would visit all noisy labels first.
_SUBSET, _SPLIT, _NOISE, _MEASURED, _PARTS = 1, 2, 1_003, 1_004, 1_005
# Without validation data, this many training examples are measured after each epoch.
_MEASURED_ROWS = 10_000


@dataclass(frozen=True)
class DataSplit:
    """What one job sees of a dataset."""

    train: Examples
    validation: Examples | None
    test: Examples
    train_eval: Examples
    """The part of `train` that is measured after each epoch: as many examples as validation has."""
    available: Examples
    """All training examples of the dataset, in its order, with its labels."""
    dataset_sha256: str


@lru_cache(maxsize=4)
def split_dataset(dataset: Dataset, spec: DatasetSpec) -> DataSplit:
    """Subset, part, split and label noise, each from its own seed: equal for equal specifications."""
    rows = np.arange(len(dataset.train_labels))
    if spec.subset_rows < len(rows):
        rows, _ = _stratified(rows, dataset.train_labels, spec.subset_rows, _stream(spec, _SUBSET))
    if spec.part is not None:
        # Shuffled within each class, then dealt out class by class.
        shuffled = _stream(spec, _PARTS).permutation(rows)
        dealt = shuffled[np.argsort(dataset.train_labels[shuffled], kind="stable")]
        rows = np.sort(dealt[spec.part.index :: spec.part.of])
    positions = np.arange(len(rows))
    if spec.validation_split == "last" or not spec.validation_examples:
        learned, held_out = positions[: spec.training_examples], positions[spec.training_examples :]
    else:
        labels = dataset.train_labels[rows]
        learned, held_out = _stratified(positions, labels, spec.training_examples, _stream(spec, _SPLIT))
    train, validation = dataset.train.take(rows[learned]), dataset.train.take(rows[held_out])
    # New labels are drawn from all classes, so that one in so many classes stays right.
    count, stream = round(spec.label_noise * len(train)), _stream(spec, _NOISE)
    noisy = train.labels.copy()
    noisy[stream.permutation(len(noisy))[:count]] = stream.integers(spec.classes, size=count)
    train = replace(train, labels=noisy)
    measured = min(len(train), len(validation) or _MEASURED_ROWS)
    return DataSplit(
        train=train,
        validation=validation if len(validation) else None,
        test=dataset.test,
        train_eval=train.take(np.sort(_stream(spec, _MEASURED).permutation(len(train))[:measured])),
        available=dataset.train,
        dataset_sha256=dataset.sha256,
    )


def _stream(spec: DatasetSpec, purpose: int) -> np.random.Generator:
    return np.random.default_rng([spec.split_seed, purpose])


def _stratified(rows: Rows, labels: Bytes, size: int, stream: np.random.Generator) -> tuple[Rows, Rows]:
    """Two parts with the classes' shares of the whole, the first of `size`, both in the rows' order.

    A part that is too small to hold every class, or a class of one example, leaves no shares to keep: then
    the parts are drawn without regard to classes.
    """
    from sklearn.model_selection import train_test_split  # noqa: PLC0415 (two seconds to import)

    seed = int(stream.integers(2**31))
    sizes = np.unique(labels, return_counts=True)[1]
    has_shares = min(size, len(rows) - size) >= len(sizes) and sizes.min() > 1
    chosen, rest = train_test_split(
        rows, train_size=size, stratify=labels if has_shares else None, random_state=seed
    )
    return np.sort(chosen), np.sort(rest)
