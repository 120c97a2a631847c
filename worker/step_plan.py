"""How the examples are split into batches, and how many steps run between two progress reports."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from models.dataset_arrays import Examples
from models.records import Progress
from worker.seeds import shuffle_examples

# A step of a large network may take seconds, so the first chunk is one step, and a chunk has at most this
# many times the steps of the one before it: the last batch of an epoch may be much smaller than the others.
_MAX_CHUNK_GROWTH = 8


class Throughput:
    """Measured speed of training steps: the length of chunks and the remaining time follow from it."""

    def __init__(self, total_steps: int, chunk_seconds: float, *, steps_done: int = 0) -> None:
        self._total, self._chunk_seconds = total_steps, chunk_seconds
        self._started = time.perf_counter()
        self._done = self._resumed_at = steps_done
        self.chunk_steps = 1

    def record(self, steps: int, seconds: float) -> None:
        """Add one chunk, and fit the next one's length to `chunk_seconds`."""
        self._done += steps
        target = round(steps * self._chunk_seconds / max(seconds, 1e-6))
        self.chunk_steps = max(1, min(target, _MAX_CHUNK_GROWTH * steps))

    def get_progress(self, epochs_done: int) -> Progress:
        """Progress, with the remaining time at the speed so far, evaluations between epochs included."""
        timed, remaining = self._done - self._resumed_at, None
        if timed:
            remaining = (time.perf_counter() - self._started) / timed * (self._total - self._done)
        return Progress(epochs_done, self._done / self._total, remaining)


@dataclass(frozen=True)
class Chunk:
    """Batches `first` to `last` (excluded) of one size, counted from `origin` in the order of a pass."""

    batch_size: int
    origin: int
    first: int
    last: int
    steps_before: int
    """Steps of the pass before batch 0."""


class StepPlan:
    """The batches of a pass over the examples: full ones, then one of the rest, as in `model.fit`."""

    def __init__(self, examples: Examples, batch_size: int) -> None:
        self._examples, self._batch_size = examples, batch_size
        self._full, self._remainder = divmod(len(examples), batch_size)
        self.steps = self._full + bool(self._remainder)
        self.batch_sizes = {batch_size, self._remainder} - {0}

    def iter_chunks(
        self, seed: int, begin: int, end: int, throughput: Throughput
    ) -> Iterator[tuple[Any, int, Chunk]]:
        """Steps `begin` to `end` (excluded) of a training in chunks, as long as `throughput` asks for.

        With each the order of its pass over the examples, and how many steps of the training came before it.
        """
        while begin < end:
            passes, first = divmod(begin, self.steps)
            last = min(self.steps, first + end - begin)
            shuffled = shuffle_examples(seed, passes + 1, len(self._examples))
            # As rows of the dataset's images, padded to their number: one shape whatever is learned from.
            padded = np.zeros(len(self._examples.pool), np.int32)
            padded[: len(shuffled)] = self._examples.rows[shuffled]
            order = tf.constant(padded)
            for chunk in self._iter_pass(first, last, throughput):
                yield order, passes * self.steps, chunk
            begin += last - first

    def _iter_pass(self, first: int, end: int, throughput: Throughput) -> Iterator[Chunk]:
        while first < min(self._full, end):
            last = min(self._full, end, first + throughput.chunk_steps)
            yield Chunk(self._batch_size, 0, first, last, 0)
            first = last
        if end > self._full:
            yield Chunk(self._remainder, self._full * self._batch_size, 0, 1, self._full)
