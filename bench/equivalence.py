"""Is the service's result the seed script's result? Both models, by the trainer and by plain `model.fit`.

    python -m bench.equivalence [--dataset mnist|mnist_5k] [--seeds 5]

`model.fit` is left unseeded, as the script leaves it: seeded, it feeds the same order in every epoch.
"""

import argparse
import os
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.datasets import is_available
from models.records import EpochRecord, Progress
from models.settings import Settings
from models.spec import JobSpec
from worker.datasets import Dataset, load, split_dataset
from worker.engine import start_engine
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


def by_regbench(name: str, variant: str, seeds: int) -> Sample:
    """Train one variant by the service's trainer, once with each seed."""
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


def by_model_fit(name: str, variant: str, runs: int) -> Sample:
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


def main() -> int:
    """Print the table; exit code 1 if a mean accuracy differs by more than the tolerance."""
    parser = argparse.ArgumentParser(description="The trainer's results beside model.fit's.")
    parser.add_argument("--dataset", default="mnist" if is_available("mnist", Settings()) else "mnist_5k")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    start_engine(os.cpu_count() or 1, deterministic=False)
    print(f"{arguments.dataset}, {arguments.seeds} runs each: mean (standard deviation)")
    print(f"{'':17}{'':11}{'test accuracy':>18}{'test loss':>20}")
    missed = False
    for variant in VARIANTS:
        ours = by_regbench(arguments.dataset, variant, arguments.seeds)
        theirs = by_model_fit(arguments.dataset, variant, arguments.seeds)
        for who, sample in (("regbench", ours), ("model.fit", theirs)):
            print(f"{variant:17}{who:11}{_spread(sample.accuracy):>18}{_spread(sample.loss):>20}", flush=True)
        points = 100 * (ours.accuracy.mean() - theirs.accuracy.mean())
        missed |= bool(abs(points) > TOLERANCE_POINTS)
        print(f"{'':17}{'difference':11}{points:+.2f} points (at most {TOLERANCE_POINTS} either way)")
    return int(missed)


def _spread(values: NDArray[np.float64]) -> str:
    return f"{values.mean():.4f} ({values.std(ddof=1):.4f})"


if __name__ == "__main__":
    sys.exit(main())
