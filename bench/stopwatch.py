"""When the trainer does what: its epochs, and within them its training steps."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from models.records import EpochRecord, Progress
from worker.program import CompiledProgram


class EpochTimer:
    """An observer that keeps the seconds of the last epoch, measurements included, and when it ended."""

    seconds = 0.0
    ended = 0.0

    def on_chunk_end(self, progress: Progress) -> None:
        """Nothing to do."""

    def on_epoch_end(self, record: EpochRecord, progress: Progress, checkpoint: object) -> None:
        """Keep the epoch's time."""
        self.seconds, self.ended = record.seconds, time.perf_counter()


@dataclass
class Steps:
    """By `time.perf_counter`: the start of the first training steps, and the end of the last."""

    started: float | None = None
    ended: float = 0.0


@contextmanager
def time_steps() -> Iterator[Steps]:
    """Time the training steps that run in the block; a compilation counts, so compile before."""
    # An observer is not called before an epoch's first chunk, nor right after its last.
    steps, run_steps = Steps(), CompiledProgram.run_steps

    def run_timed(program: CompiledProgram, *arguments: Any, **named: Any) -> None:
        if steps.started is None:
            steps.started = time.perf_counter()
        run_steps(program, *arguments, **named)
        steps.ended = time.perf_counter()

    CompiledProgram.run_steps = run_timed  # type: ignore[assignment, method-assign] # for the block alone
    try:
        yield steps
    finally:
        CompiledProgram.run_steps = run_steps  # type: ignore[method-assign] # as it was
