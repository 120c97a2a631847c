"""The trainer beside what one would write without it: seconds an epoch on the same examples.

    python -m bench training [--dataset mnist|mnist_5k] [--rounds 3] [--threads N]

The seed's network, on the same number of threads for each: Regbench and Keras's `model.fit` in this process,
eager PyTorch and a hand-written JAX scan, where they are installed, each in its own. The rounds alternate, so
that a machine whose speed drifts slows all; the ratio is taken round by round and the median shown.
"""

import importlib.util
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from bench.child import start_trainer
from bench.harness import compare_rounds, parse_arguments, print_rows
from bench.stopwatch import EpochTimer, time_steps
from bench.workload import BATCH_SIZE, LAYERS, build_spec, load_split, scale_pixels
from models.dataset_arrays import Examples
from models.spec import JobSpec
from worker.datasets import DataSplit
from worker.engine import start_engine
from worker.network import KerasLayers, build_network
from worker.program import ProgramCache
from worker.training import train

REGBENCH = "regbench"
PLAIN, TUNED = "model.fit", "model.fit, jit_compile, 100 steps a call"
PYTORCH, JAX = "PyTorch, eager, fused Adam", "JAX, a scan by hand"
# How many times as long as Regbench each should take, at least. Regbench may take 1.1 times as long as JAX.
TARGETS = {PLAIN: 5.0, TUNED: 2.0, PYTORCH: 2.0, JAX: 1 / 1.1}
# What is installed separately: the package, and the module here that trains with it.
OPTIONAL = {PYTORCH: ("torch", "pytorch_epoch"), JAX: ("jax", "jax_epoch")}

Seconds = tuple[float, float | None]
"""Of one epoch: its training steps alone, and with the evaluation after it (None: there is none)."""


def main() -> int:
    """Print the tables; exit code 1 if a target is missed."""
    arguments = parse_arguments(__doc__, dataset=None, rounds=3, threads=os.cpu_count() or 1)
    # Deterministic kernels would slow model.fit, whose users do without them.
    engine = start_engine(arguments.threads, deterministic=False)
    spec = build_spec(arguments.dataset)
    split = load_split(spec)
    assert split.validation is not None  # noqa: S101 (build_spec asks for it)
    print(f"{engine.device}, {engine.threads} threads, TensorFlow {engine.tensorflow}, Keras {engine.keras}")
    shape = "-".join(map(str, LAYERS))
    print(f"{arguments.dataset}: {len(split.train):,} examples, {shape}, Adam, batch {BATCH_SIZE}")
    with ExitStack() as children:
        contestants: dict[str, Callable[[], Seconds]] = {
            REGBENCH: partial(_time_regbench, spec, split, ProgramCache()),
            PLAIN: _prepare_keras(spec, split, split.validation, {}),
            TUNED: _prepare_keras(
                spec, split, split.validation, {"jit_compile": True, "steps_per_execution": 100}
            ),
        }
        for name, (package, module) in OPTIONAL.items():
            if importlib.util.find_spec(package) is None:
                print(f"{name}: {package} is not installed: pip install regbench[bench]")
                continue
            train_epoch = children.enter_context(start_trainer(module, arguments.dataset, arguments.threads))
            contestants[name] = partial(_time_child, train_epoch)
        for run in contestants.values():
            run()  # compiles
        rounds = [{name: run() for name, run in contestants.items()} for _ in range(arguments.rounds)]
    print("\nThe training steps of an epoch alone, drawing the order included:")
    alone = [{name: steps for name, (steps, _) in seconds.items()} for seconds in rounds]
    missed = print_rows(compare_rounds(alone, REGBENCH, "x ours", TARGETS, at_least=True))
    validation = len(split.validation)
    print(
        "\nThe epoch with the evaluation after it: "
        f"Regbench {len(split.train_eval) + validation:,} images, model.fit {validation:,}:"
    )
    whole = [{name: whole for name, (_, whole) in seconds.items() if whole is not None} for seconds in rounds]
    print_rows(compare_rounds(whole, REGBENCH, "x ours", {}))
    return missed


def _time_regbench(spec: JobSpec, split: DataSplit, programs: ProgramCache) -> Seconds:
    timer = EpochTimer()
    with time_steps() as moments:
        train(spec, split, timer, programs=programs, chunk_seconds=1.0)
    return moments[-1] - (timer.ended - timer.seconds), timer.seconds


def _time_child(train_epoch: Callable[[], float]) -> Seconds:
    return train_epoch(), None


def _prepare_keras(
    spec: JobSpec, split: DataSplit, held_out: Examples, compile_options: dict[str, object]
) -> Callable[[], Seconds]:
    import keras  # noqa: PLC0415 (after the engine is set up)

    model = build_network(spec, KerasLayers())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], **compile_options)
    images, labels = scale_pixels(split.train.images), split.train.labels
    validation = (scale_pixels(held_out.images), held_out.labels)

    def fit(**options: object) -> float:
        started = time.perf_counter()
        model.fit(images, labels, epochs=1, batch_size=BATCH_SIZE, verbose=0, **options)
        return time.perf_counter() - started

    return lambda: (fit(), fit(validation_data=validation))
