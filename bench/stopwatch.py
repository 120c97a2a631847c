"""When the trainer does what: its epochs, and within them its training steps."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def time_steps() -> Iterator[list[float]]:
    """The moments (`time.perf_counter`) before and after each chunk of training steps in the block.

    A compilation counts, so compile before.
    """
    # An observer is not called before an epoch's first chunk, nor right after its last.
    moments: list[float] = []
    run_steps = CompiledProgram.run_steps

    def run_timed(program: CompiledProgram, *arguments: Any, **named: Any) -> None:
        moments.append(time.perf_counter())
        run_steps(program, *arguments, **named)
        moments.append(time.perf_counter())

    CompiledProgram.run_steps = run_timed  # type: ignore[assignment, method-assign] # for the block alone
    try:
        yield moments
    finally:
        CompiledProgram.run_steps = run_steps  # type: ignore[method-assign] # as it was
