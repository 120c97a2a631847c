"""The real worker except for training, which takes no time: `celery -A tests.chaos.quick_worker worker`.

A job's label `seconds` sets the duration of its epochs; its label `fault`, what it does to its process.
Between epochs the worker checks for requested actions; during one it does not.
"""

import ctypes
import hashlib
import resource
import time
from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from celery import signals

from models.records import Evaluation, Progress
from models.spec import JobSpec
from models.test_predictions import TestPredictions
from tests.factories import epoch_record, result_record
from worker.app import app

if TYPE_CHECKING:
    from worker.evaluation import TrainedModel

__all__ = ["app"]


def weights(spec: JobSpec) -> str:
    """The SHA-256 that the weights of this specification's job must have.

    Each epoch's follow from those of the one before, so resuming at a wrong epoch gives other weights.
    """
    state = _first(spec)
    for _ in range(spec.training.epochs):
        state = _next(state)
    return state.hex()


def _first(spec: JobSpec) -> bytes:
    return hashlib.sha256(spec.spec_hash.encode()).digest()


def _next(state: bytes) -> bytes:
    return hashlib.sha256(state).digest()


def quick_train(
    spec: JobSpec, _split: object, observer: Any, *, resume_from: Any = None, **_: object
) -> "TrainedModel":
    """In place of `worker.training.train`: reports the same progress, and returns a plausible result."""
    from worker.checkpoints import Checkpoint  # noqa: PLC0415 (imports TensorFlow: not in the tests' own process)

    if fault := spec.labels.get("fault"):
        FAULTS[fault]()
    history = [*resume_from.history] if resume_from else []
    state = resume_from.program[0].tobytes() if resume_from else _first(spec)
    epochs = spec.training.epochs
    for epoch in range(len(history) + 1, epochs + 1):
        time.sleep(float(spec.labels.get("seconds", 0.0)))
        state = _next(state)
        # Trials differ in what they reach, which only their specification decides.
        loss = {} if spec.evaluation.test else {"validation_loss": int.from_bytes(state[:4]) / 2**32}
        history.append(epoch_record(epoch, **loss))
        progress = Progress(epoch, epoch / epochs, 1.0)
        checkpoint = Checkpoint([*history], [np.frombuffer(state, np.uint8)], [])
        observer.on_epoch_end(history[-1], progress, lambda saved=checkpoint: saved)
        observer.on_chunk_end(progress)
    return _trained_model(epochs, state.hex(), history[-1].validation_loss)


def _segfault() -> None:
    ctypes.string_at(0)


def _exhaust_memory() -> None:
    """Allocate more than the process may have; the limit applies to this job only."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + 2**28, before[1]))
    try:
        np.ones(2**28)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _address_space() -> int:
    """Bytes that this process has mapped."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


FAULTS: dict[str, Callable[[], None]] = {"segfault": _segfault, "memory": _exhaust_memory}


def _trained_model(epochs: int, weights_sha256: str, validation_loss: float | None) -> "TrainedModel":
    from worker.evaluation import TrainedModel  # noqa: PLC0415 (as above)

    result = result_record(
        best_epoch=epochs,
        reported_epoch=epochs,
        epochs_run=epochs,
        weights_sha256=weights_sha256,
        validation_loss=validation_loss,
        compile_seconds=0.0,
        compilations=0,
    )
    evaluation = Evaluation(**{field.name: getattr(result, field.name) for field in fields(Evaluation)})
    predictions = TestPredictions(np.full((500, 10), np.log(0.1), np.float32), np.zeros(500, np.int32))
    return TrainedModel(_model(), predictions, evaluation)


@lru_cache(maxsize=1)
def _model() -> Any:
    import keras  # noqa: PLC0415 (as above)

    return keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(10)])


@signals.worker_init.connect
def replace_trainer(**_: Any) -> None:
    """Train with `quick_train`, and import TensorFlow before the fork: a killed process is replaced at once.

    A real worker must not do that, as TensorFlow, once it has computed something, does not survive a fork.
    """
    from worker import runner  # noqa: PLC0415 (as above)

    setattr(runner, "train", quick_train)  # noqa: B010 (a name that runner imports, and does not export)
