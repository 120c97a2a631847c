"""The trainer beside Keras's `model.fit`: seconds an epoch on the same data in the same process.

    python -m bench.training [--dataset mnist|mnist_5k] [--rounds 3] [--threads N]

Both get the same number of threads. The rounds alternate, so that a machine whose speed drifts slows both;
the ratio is taken round by round and the median quoted.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable

from models.datasets import available
from models.settings import Settings
from models.spec import JobSpec
from worker.compiled import Programs
from worker.datasets import Division, divide, load
from worker.engine import start_engine
from worker.network import StockLayers, build_network
from worker.training import train

TARGET = 4.0


class Silent:
    """An observer that only keeps the seconds of the last epoch."""

    seconds = 0.0

    def chunk_ended(self, progress: object) -> None:
        """Nothing to do."""

    def epoch_ended(self, record: object, progress: object) -> None:
        """Note how long the epoch took, its measurements included, as `model.fit` with validation does."""
        self.seconds = record.seconds  # type: ignore[attr-defined]


def main() -> int:
    """Print the table; exit code 1 if a target is missed."""
    arguments = _arguments()
    # Deterministic kernels would slow model.fit, whose users do without them.
    engine = start_engine(arguments.threads, deterministic=False)
    spec = JobSpec.model_validate({"dataset": {"name": arguments.dataset, "validation_split": "last"}})
    division = divide(load(arguments.dataset, Settings()), spec.dataset)
    print(f"{engine.device}, {engine.threads} threads, TensorFlow {engine.tensorflow}, Keras {engine.keras}")
    print(f"{arguments.dataset}: {len(division.train):,} examples, 784-512-512-10, Adam, batch 32\n")
    contestants = {"regbench": _regbench(spec, division), **_keras_contestants(spec, division)}
    for run in contestants.values():
        run()  # compiles
    rounds = [{name: run() for name, run in contestants.items()} for _ in range(arguments.rounds)]
    return _report(rounds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The trainer beside model.fit.")
    everything = available("mnist", Settings())
    parser.add_argument("--dataset", default="mnist" if everything else "mnist_5k")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def _regbench(spec: JobSpec, division: Division) -> Callable[[], float]:
    programs = Programs()
    one_epoch = spec.model_copy(update={"training": spec.training.model_copy(update={"epochs": 1})})

    def run() -> float:
        silent = Silent()
        train(one_epoch, division, silent, programs=programs, chunk_seconds=1.0)
        return silent.seconds

    return run


def _keras_contestants(spec: JobSpec, division: Division) -> dict[str, Callable[[], float]]:
    return {
        "model.fit": _keras(spec, division, {}),
        "model.fit, jit_compile, 100 steps a call": _keras(
            spec, division, {"jit_compile": True, "steps_per_execution": 100}
        ),
    }


def _keras(spec: JobSpec, division: Division, compile_options: dict[str, object]) -> Callable[[], float]:
    import keras  # noqa: PLC0415 (after the engine is set up)

    model = build_network(spec, StockLayers())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], **compile_options)
    images, labels = division.train.images / 255.0, division.train.labels
    images = images.astype("float32")
    held_out = division.validation
    assert held_out is not None  # noqa: S101 (the specification above asks for it)
    validation = ((held_out.images / 255.0).astype("float32"), held_out.labels)

    def run() -> float:
        began = time.perf_counter()
        model.fit(images, labels, validation_data=validation, epochs=1, batch_size=32, verbose=0)
        return time.perf_counter() - began

    return run


def _report(rounds: list[dict[str, float]]) -> int:
    print(f"{'':44}{'s/epoch':>9}{'times as long':>15}{'target':>8}")
    missed = False
    for name in rounds[0]:
        seconds = statistics.median(each[name] for each in rounds)
        ratio = statistics.median(each[name] / each["regbench"] for each in rounds)
        target = TARGET if name == "model.fit" else None
        missed |= target is not None and ratio < target
        print(f"{name:44}{seconds:9.2f}{ratio:15.2f}{f'>= {target:g}' if target else '':>8}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
