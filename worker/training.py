"""Training one job, from specification and examples to a measured model. Reads top to bottom."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.errors import TrainingFailed
from models.pricing import flops_per_epoch
from models.records import EpochRecord, Progress
from models.spec import JobSpec
from worker.compiled import DeviceExamples, Program, Programs, Weights
from worker.datasets import Division
from worker.metrics import Scores, brier, expected_calibration_error, log_probabilities, scores
from worker.network import exported
from worker.seeds import epoch_order
from worker.techniques.steps import learning_rate
from worker.techniques.stopping import BestEpoch

# A step of a large network may take seconds, so the first chunk is one step, and no chunk is more than so
# many times as long as the one before: the last batch of an epoch may be much smaller than the others.
_FASTEST_GROWTH = 8


class Observer(Protocol):
    """Who is told how training goes. Either method may raise to end it."""

    def chunk_ended(self, progress: Progress) -> None:
        """Some steps of an epoch are done."""

    def epoch_ended(self, record: EpochRecord, progress: Progress) -> None:
        """An epoch is done and measured."""


@dataclass(frozen=True)
class Outcome:
    """A trained model and what it is worth; losses and accuracies at the reported epoch's weights."""

    train: Scores
    validation: Scores | None
    test: Scores
    test_brier: float
    test_ece: float
    test_probabilities: NDArray[np.float64]
    best_epoch: int
    reported_epoch: int
    epochs_run: int
    stop_reason: str
    parameters: int
    zero_weight_fraction: float
    weight_norm: float
    weights_sha256: str
    training_seconds: float
    compile_seconds: float
    training_flops: float
    model: keras.Model


def train(
    spec: JobSpec, division: Division, observer: Observer, *, programs: Programs, chunk_seconds: float
) -> Outcome:
    """Train and measure one model.

    Raises:
        TrainingFailed: the weights stopped being finite numbers.
    """
    run = _Run(spec, division, observer, programs.of(spec), chunk_seconds)
    for epoch in range(1, spec.training.epochs + 1):
        record = run.train_epoch(epoch)
        run.keep_if_best(record)
        observer.epoch_ended(record, run.progress())
        if run.best.enough:
            break
    return run.outcome()


class _Run:
    """The state of one job in training."""

    def __init__(
        self, spec: JobSpec, division: Division, observer: Observer, program: Program, chunk_seconds: float
    ) -> None:
        self.spec, self.division, self.observer, self.program = spec, division, observer, program
        self.best = BestEpoch(spec.regularization.early_stopping)
        self._best_weights: Weights | None = None
        self._records: list[EpochRecord] = []
        self._examples = DeviceExamples.of(division.train)
        self._measured = tf.gather(self._examples.images, division.measured)
        self._validation = DeviceExamples.of(division.validation) if division.validation else None
        self._steps = _StepPlan(len(division.train), spec.training.batch_size)
        self.compile_seconds = program.compile(
            self._examples, self._steps.batch_sizes, self._steps.full_batches
        )
        self._pace = _Pace(self._steps.count * spec.training.epochs, chunk_seconds)

    def train_epoch(self, epoch: int) -> EpochRecord:
        """One pass over the training examples, then the measurements without penalty and noise."""
        began = time.perf_counter()
        self.program.begin_epoch(learning_rate(self.spec, epoch))
        done_before = (epoch - 1) * self._steps.count
        order = epoch_order(self.spec.seed, epoch, len(self.division.train))
        for batches, offset in self._steps.batches(order):
            self._run_chunks(batches, done_before + offset)
        return self._record(epoch, began)

    def _run_chunks(self, batches: Any, done_before: int) -> None:
        first, steps = 0, len(batches)
        while first < steps:
            last = min(steps, first + self._pace.chunk_steps)
            began = time.perf_counter()
            self.program.run_steps(self._examples, batches, first=first, last=last, done_before=done_before)
            self._pace.saw(last - first, time.perf_counter() - began)
            self.observer.chunk_ended(self.progress())
            first = last

    def _record(self, epoch: int, began: float) -> EpochRecord:
        sums, rows = self.program.sums(), len(self.division.train)
        learned = scores(
            self.program.logits(self._measured), self.division.train.labels[self.division.measured]
        )
        validation = self._validation_scores()
        weight_norm = self.program.weight_norm()
        # The objective is a mean over the epoch: the weights may be lost while it is still a number.
        if not all(map(math.isfinite, (sums.objective, learned.loss, weight_norm))):
            raise TrainingFailed(
                "diverged",
                f"The loss stopped being a number in epoch {epoch}; lower training.optimizer.learning_rate.",
                retryable=False,
            )
        record = EpochRecord(
            epoch=epoch,
            objective=sums.objective / rows,
            penalty=sums.penalty / rows,
            batch_accuracy=sums.correct / rows,
            train_loss=learned.loss,
            train_accuracy=learned.accuracy,
            validation_loss=validation.loss if validation else None,
            validation_accuracy=validation.accuracy if validation else None,
            weight_norm=weight_norm,
            learning_rate=learning_rate(self.spec, epoch),
            seconds=time.perf_counter() - began,
        )
        self._records.append(record)
        return record

    def _validation_scores(self) -> Scores | None:
        if self._validation is None or self.division.validation is None:
            return None
        return scores(self.program.logits(self._validation.images), self.division.validation.labels)

    def keep_if_best(self, record: EpochRecord) -> None:
        """Keep the weights of the best epoch so far, if they may be wanted again."""
        if self.best.observe(record) and self.best.restores:
            self._best_weights = self.program.weights()

    def progress(self) -> Progress:
        """How far the job is."""
        return Progress(len(self._records), self._pace.fraction, self._pace.remaining_seconds)

    def outcome(self) -> Outcome:
        """Measure the weights that are to be reported; the test images are touched here and nowhere else."""
        if self._best_weights is not None:
            self.program.set_weights(self._best_weights)
        test = self.division.test
        logits = self.program.logits(DeviceExamples.of(test).images)
        probabilities = np.exp(log_probabilities(logits))
        train = self.division.train
        return Outcome(
            train=scores(self.program.logits(self._examples.images), train.labels),
            validation=self._validation_scores(),
            test=scores(logits, test.labels),
            test_brier=brier(probabilities, test.labels),
            test_ece=expected_calibration_error(probabilities, test.labels),
            test_probabilities=probabilities,
            best_epoch=self.best.epoch,
            reported_epoch=self.best.epoch if self.best.restores else len(self._records),
            epochs_run=len(self._records),
            stop_reason="early_stopping" if self.best.enough else "completed",
            parameters=sum(int(np.prod(weight.shape)) for weight in self.program.network.trainable_weights),
            zero_weight_fraction=self.program.zero_weight_fraction(),
            weight_norm=self.program.weight_norm(),
            weights_sha256=self.program.weights_sha256(),
            training_seconds=sum(record.seconds for record in self._records),
            compile_seconds=self.compile_seconds,
            training_flops=float(flops_per_epoch(self.spec) * len(self._records)),
            model=exported(self.spec, self.program.network),
        )


class _StepPlan:
    """How an epoch's examples are cut into batches: full ones, then what is left, as `model.fit` does."""

    def __init__(self, rows: int, batch_size: int) -> None:
        self._batch_size = batch_size
        self.full_batches, self._left = divmod(rows, batch_size)
        self.count = self.full_batches + bool(self._left)
        self.batch_sizes = {batch_size, self._left} - {0}

    def batches(self, order: NDArray[np.int32]) -> Iterator[tuple[Any, int]]:
        """Pairs of (rows as a tensor (steps, batch size), steps of the epoch before them)."""
        full = self.full_batches * self._batch_size
        yield tf.constant(order[:full].reshape(-1, self._batch_size)), 0
        if self._left:
            yield tf.constant(order[full:].reshape(1, self._left)), self.full_batches


class _Pace:
    """How fast steps go: the length of a chunk and the time that is left follow from it."""

    def __init__(self, total_steps: int, chunk_seconds: float) -> None:
        self._total, self._chunk_seconds = total_steps, chunk_seconds
        self._began = time.perf_counter()
        self._done = 0
        self.chunk_steps = 1

    def saw(self, steps: int, seconds: float) -> None:
        """Take in one chunk."""
        self._done += steps
        wanted = round(steps * self._chunk_seconds / max(seconds, 1e-6))
        self.chunk_steps = max(1, min(wanted, _FASTEST_GROWTH * steps))

    @property
    def fraction(self) -> float:
        """Share of all steps that are done."""
        return self._done / self._total

    @property
    def remaining_seconds(self) -> float | None:
        """At the pace so far, measurements between epochs included; None before the first chunk."""
        if not self._done:
            return None
        return (time.perf_counter() - self._began) / self._done * (self._total - self._done)
