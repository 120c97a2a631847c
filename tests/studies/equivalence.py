"""Both models of the seed script, by the trainer and by plain `model.fit`.

`model.fit` is left unseeded, as the script leaves it: seeded, it feeds the same order in every epoch.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.dataset_arrays import Dataset, load
from models.records import EpochRecord, Progress
from models.settings import Settings
from models.spec import JobSpec
from worker.datasets import split_dataset
from worker.program import ProgramCache
from worker.training import train

VARIANTS: dict[str, dict[str, object]] = {
    "without Dropout": {},
    "with Dropout": {"dropout": {"rate": 0.5}},
}
TOLERANCE_POINTS = 0.3


@dataclass(frozen=True)
class Sample:
    """Test accuracies and losses of several runs of one model, (runs,) each."""

    accuracy: NDArray[np.float64]
    loss: NDArray[np.float64]


class _Silent:
    def on_chunk_end(self, progress: Progress) -> None:
        """Nothing to do."""

    def on_epoch_end(self, record: EpochRecord, progress: Progress, checkpoint: object) -> None:
        """Nothing to do."""


def train_with_regbench(name: str, variant: str, seeds: int) -> Sample:
    """Train one variant with the service's trainer, once for each seed."""
    programs = ProgramCache()
    evaluations = []
    for seed in range(seeds):
        spec = JobSpec.model_validate(
            {
                "dataset": {"name": name, "validation_split": "last"},
                "regularization": VARIANTS[variant],
                "seed": seed,
            }
        )
        split = split_dataset(load(name, Settings()), spec.dataset)
        evaluations.append(train(spec, split, _Silent(), programs=programs, chunk_seconds=1.0).evaluation)
    return Sample(
        accuracy=np.array([evaluation.test_accuracy for evaluation in evaluations]),
        loss=np.array([evaluation.test_loss for evaluation in evaluations]),
    )


def train_with_model_fit(name: str, variant: str, runs: int) -> Sample:
    """Train one variant as the seed script does."""
    dataset = load(name, Settings())
    losses, accuracies = np.array([_seed_script(dataset, variant) for _ in range(runs)]).T
    return Sample(accuracies, losses)


def _seed_script(dataset: Dataset, variant: str) -> tuple[float, float]:
    import keras  # noqa: PLC0415 (after the engine is set up)

    def images(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return pixels.reshape(-1, 784).astype(np.float32) / np.float32(255)

    dropout = [keras.layers.Dropout(0.5)] if VARIANTS[variant] else []
    model = keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(512, activation="relu"),
            *dropout,
            keras.layers.Dense(512, activation="relu"),
            *[keras.layers.Dropout(0.5) for _ in dropout],
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    truth = keras.utils.to_categorical(dataset.train_labels, 10)
    model.fit(images(dataset.train_images), truth, epochs=10, validation_split=0.2, verbose=0)
    loss, accuracy = model.evaluate(
        images(dataset.test_images), keras.utils.to_categorical(dataset.test_labels, 10), verbose=0
    )
    return loss, accuracy
