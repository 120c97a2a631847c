"""Trains specifications again, to compare what comes out: `python -m worker.repeat < specs.json`.

Reads a JSON list of specifications, and writes one JSON document a line: the weights' SHA-256, test accuracy
and loss, digest of the data, and engine. Needs no database and no service.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from models.artifacts import ArtifactStore
from models.dataset_arrays import load_specified
from models.records import EpochRecord, Progress
from models.settings import Settings, get_settings
from models.spec import STORED, JobSpec
from worker.checkpoints import Checkpoint
from worker.datasets import split_dataset
from worker.engine import start_engine
from worker.program import ProgramCache
from worker.training import train


class _Silence:
    """An observer that ignores what it is notified of."""

    def on_chunk_end(self, progress: Progress) -> None: ...

    def on_epoch_end(
        self, record: EpochRecord, progress: Progress, checkpoint: Callable[[], Checkpoint]
    ) -> None: ...


def repeat_trainings(specs: Sequence[JobSpec], settings: Settings) -> Iterator[dict[str, Any]]:
    """Train each, one after another, and yield what came out.

    Raises:
        DatasetUnavailable: its dataset is not on this machine.
        TrainingFailed: the weights stopped being finite numbers.
    """
    engine, programs = start_engine(settings.training_threads), ProgramCache()
    for spec in specs:
        dataset = load_specified(spec.dataset, settings, ArtifactStore(settings))
        split = split_dataset(dataset, spec.dataset)
        trained = train(spec, split, _Silence(), programs=programs, chunk_seconds=settings.chunk_seconds)
        yield {
            "weights_sha256": trained.evaluation.weights_sha256,
            "test_accuracy": trained.evaluation.test_accuracy,
            "test_loss": trained.evaluation.test_loss,
            "dataset_sha256": split.dataset_sha256,
            **vars(engine),
        }


if __name__ == "__main__":
    documents = json.load(sys.stdin)
    specs = [JobSpec.model_validate(document, context=STORED) for document in documents]
    for outcome in repeat_trainings(specs, get_settings()):
        print(json.dumps(outcome), flush=True)  # noqa: T201 (its output)
