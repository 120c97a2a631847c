"""The trainer beside what one would write without it: seconds an epoch on the same examples.

    python -m bench.training [--dataset mnist|mnist_5k] [--rounds 3] [--threads N]

The seed's network, on the same number of threads for each: Regbench and Keras's `model.fit` in this process,
eager PyTorch and a hand-written JAX scan, where they are installed, each in its own. The rounds alternate, so
that a machine whose speed drifts slows all; the ratio is taken round by round and the median quoted.
"""

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from bench.child import child
from bench.stopwatch import Silent, steps_noted
from bench.workload import (
    BATCH_SIZE,
    LAYERS,
    dataset_and_threads,
    floats,
    load_split,
    positive,
    seed_spec,
    warn_if_busy,
)
from models.spec import JobSpec
from worker.datasets import DataSplit, Examples
from worker.engine import start_engine
from worker.network import KerasLayers, build_network
from worker.program import ProgramCache
from worker.training import train

REGBENCH = "regbench"
PLAIN, TUNED = "model.fit", "model.fit, jit_compile, 100 steps a call"
PYTORCH, JAX = "PyTorch, eager, fused Adam", "JAX, a scan by hand"
# How many times as long as Regbench each should take, at least. Regbench may take 1.1 times as long as JAX.
TARGETS = {PLAIN: 5.0, TUNED: 2.0, PYTORCH: 2.0, JAX: 1 / 1.1}
# What is installed apart: the package, and the module that trains with it.
OPTIONAL = {PYTORCH: ("torch", "bench.pytorch_epoch"), JAX: ("jax", "bench.jax_epoch")}
CHUNK_SECONDS = 1.0


@dataclass(frozen=True)
class Seconds:
    """Of one epoch: its training steps alone, and with what is measured after it (None: nothing is)."""

    steps: float
    whole: float | None


Contestant = Callable[[], Seconds]


def main() -> int:
    """Print the tables; exit code 1 if a target is missed."""
    arguments = _arguments()
    warn_if_busy()
    # Deterministic kernels would slow model.fit, whose users do without them.
    engine = start_engine(arguments.threads, deterministic=False)
    spec = seed_spec(arguments.dataset)
    split = load_split(spec)
    print(f"{engine.device}, {engine.threads} threads, TensorFlow {engine.tensorflow}, Keras {engine.keras}")
    shape = "-".join(map(str, LAYERS))
    print(f"{arguments.dataset}: {len(split.train):,} examples, {shape}, Adam, batch {BATCH_SIZE}")
    with ExitStack() as running:
        contestants: dict[str, Contestant] = {
            REGBENCH: _regbench(spec, split),
            PLAIN: _keras(spec, split, {}),
            TUNED: _keras(spec, split, {"jit_compile": True, "steps_per_execution": 100}),
            **_optional(arguments, running),
        }
        for run in contestants.values():
            run()  # compiles
        rounds = [{name: run() for name, run in contestants.items()} for _ in range(arguments.rounds)]
    return _report(rounds, split)


def _arguments() -> argparse.Namespace:
    parser = dataset_and_threads("The trainer beside Keras, PyTorch and JAX.")
    parser.add_argument("--rounds", type=positive, default=3)
    return parser.parse_args()


def _regbench(spec: JobSpec, split: DataSplit) -> Contestant:
    programs = ProgramCache()

    def run() -> Seconds:
        silent = Silent()
        with steps_noted() as steps:
            train(spec, split, silent, programs=programs, chunk_seconds=CHUNK_SECONDS)
        began = silent.ended - silent.seconds
        return Seconds(steps.ended - began, silent.seconds)

    return run


def _keras(spec: JobSpec, split: DataSplit, compile_options: dict[str, object]) -> Contestant:
    import keras  # noqa: PLC0415 (after the engine is set up)

    model = build_network(spec, KerasLayers())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], **compile_options)
    images, labels = floats(split.train.images), split.train.labels
    held_out = _held_out(split)
    validation = (floats(held_out.images), held_out.labels)

    def fit(**options: object) -> float:
        began = time.perf_counter()
        model.fit(images, labels, epochs=1, batch_size=BATCH_SIZE, verbose=0, **options)
        return time.perf_counter() - began

    return lambda: Seconds(fit(), fit(validation_data=validation))


def _held_out(split: DataSplit) -> Examples:
    assert split.validation is not None  # noqa: S101 (seed_spec asks for it)
    return split.validation


def _optional(arguments: argparse.Namespace, running: ExitStack) -> dict[str, Contestant]:
    """Contestants that are installed, each a child process until `running` ends."""
    contestants: dict[str, Contestant] = {}
    for name, (package, module) in OPTIONAL.items():
        if importlib.util.find_spec(package) is not None:
            epoch = running.enter_context(child(module, arguments.dataset, arguments.threads))
            contestants[name] = _steps_alone(epoch)
    return contestants


def _steps_alone(epoch: Callable[[], float]) -> Contestant:
    return lambda: Seconds(epoch(), None)


def _report(rounds: list[dict[str, Seconds]], split: DataSplit) -> int:
    print("\nThe training steps of an epoch alone, the order's draw included:")
    ratios = _table([{name: seconds.steps for name, seconds in item.items()} for item in rounds], TARGETS)
    for name, (package, _) in OPTIONAL.items():
        if name not in ratios:
            print(f"{name:44}{package} is not installed: pip install regbench[bench]")
    validation = len(_held_out(split))
    print(
        "\nThe epoch with what each measures after it: "
        f"Regbench {len(split.train_eval) + validation:,} images, model.fit {validation:,}:"
    )
    _table(
        [
            {name: seconds.whole for name, seconds in item.items() if seconds.whole is not None}
            for item in rounds
        ],
        {},
    )
    return int(any(ratio < TARGETS[name] for name, ratio in ratios.items() if name in TARGETS))


def _table(rounds: list[dict[str, float]], targets: dict[str, float]) -> dict[str, float]:
    """Print a row for each contestant; returns how many times as long as Regbench each takes."""
    print(f"{'':44}{'s/epoch':>9}{'times as long':>15}{'target':>10}")
    ratios = {}
    for name in rounds[0]:
        seconds = statistics.median(item[name] for item in rounds)
        ratios[name] = statistics.median(item[name] / item[REGBENCH] for item in rounds)
        target = f">= {targets[name]:.2f}" if name in targets else ""
        print(f"{name:44}{seconds:9.2f}{ratios[name]:15.2f}{target:>10}")
    return ratios


if __name__ == "__main__":
    sys.exit(main())
