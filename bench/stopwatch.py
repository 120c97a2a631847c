"""When the trainer does what: its epochs, and within them its training steps."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from models.records import EpochRecord, Progress
from worker.program import CompiledProgram


class Silent:
    """An observer that only keeps when the last epoch ended, and its seconds, measurements included."""

    seconds = 0.0
    ended = 0.0

    def on_chunk_end(self, progress: Progress) -> None:
        """Nothing to do."""

    def on_epoch_end(self, record: EpochRecord, progress: Progress, checkpoint: object) -> None:
        """Note the epoch."""
        self.seconds, self.ended = record.seconds, time.perf_counter()


@dataclass
class Steps:
    """Moments by `time.perf_counter`: when steps were first begun, and when the last of them were done."""

    began: float | None = None
    ended: float = 0.0


@contextmanager
def steps_noted() -> Iterator[Steps]:
    """Note the training steps that are run in the block; a compilation counts, so have it done before."""
    # No observer hears of an epoch's first chunk as it begins, nor of its last one as it ends.
    steps, run_steps = Steps(), CompiledProgram.run_steps

    def noted(program: CompiledProgram, *arguments: Any, **named: Any) -> None:
        if steps.began is None:
            steps.began = time.perf_counter()
        run_steps(program, *arguments, **named)
        steps.ended = time.perf_counter()

    CompiledProgram.run_steps = noted  # type: ignore[assignment, method-assign] # for the block alone
    try:
        yield steps
    finally:
        CompiledProgram.run_steps = run_steps  # type: ignore[method-assign] # as it was
