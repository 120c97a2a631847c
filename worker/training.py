"""Training one job, from specification and examples to a measured model. Reads top to bottom."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.cost import compute_flops_per_epoch
from models.errors import TrainingFailed
from models.records import DiagnosticsRecord, EpochRecord, LayerRecord, Progress
from models.spec import JobSpec
from worker import weights
from worker.checkpoints import Checkpoint
from worker.datasets import DataSplit, Examples, Rows
from worker.metrics import (
    Scores,
    compute_brier,
    compute_calibration_bins,
    compute_calibration_error,
    compute_confusion_matrix,
    compute_log_probabilities,
    compute_scores,
    pack_correct,
)
from worker.network import export_model
from worker.program import CompiledProgram, ProgramCache, Weights
from worker.seeds import shuffle_examples
from worker.techniques.steps import compute_learning_rate
from worker.techniques.stopping import BestEpoch

# A step of a large network may take seconds, so the first chunk is one step, and no chunk is more than so
# many times as long as the one before: the last batch of an epoch may be much smaller than the others.
_FASTEST_GROWTH = 8


class Observer(Protocol):
    """Who is told how training goes. Either method may raise to end it."""

    def on_chunk_end(self, progress: Progress) -> None:
        """Some steps of an epoch are done, and more are to come."""

    def on_epoch_end(
        self, record: EpochRecord, progress: Progress, checkpoint: Callable[[], Checkpoint]
    ) -> None:
        """An epoch is done and measured; `checkpoint` makes what a later `train` can go on from."""


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
    near_zero_weight_fraction: float
    weight_norm: float
    layers: tuple[LayerRecord, ...]
    confusion: tuple[tuple[int, ...], ...]
    test_correct: bytes
    diagnostics: DiagnosticsRecord
    weights_sha256: str
    training_seconds: float
    compile_seconds: float
    compilations: int
    training_flops: float
    model: keras.Model


def train(
    spec: JobSpec,
    division: DataSplit,
    observer: Observer,
    *,
    programs: ProgramCache,
    chunk_seconds: float,
    resumed: Checkpoint | None = None,
) -> Outcome:
    """Train and measure one model, from its start or from where it was `resumed`.

    Raises:
        TrainingFailed: the weights stopped being finite numbers.
    """
    run = _Run(spec, division, observer, programs, chunk_seconds)
    if resumed:
        run.go_on_from(resumed)
    while run.epochs_done < spec.training.epochs and not run.best.should_stop:
        record = run.train_epoch(run.epochs_done + 1)
        observer.on_epoch_end(record, run.progress(), run.checkpoint)
    return run.outcome()


class _Run:
    """The state of one job in training."""

    def __init__(
        self,
        spec: JobSpec,
        division: DataSplit,
        observer: Observer,
        programs: ProgramCache,
        chunk_seconds: float,
    ) -> None:
        self.spec, self.division, self.observer, self._programs = spec, division, observer, programs
        self.best = BestEpoch(spec.regularization.early_stopping)
        self._best_weights: Weights | None = None
        self._records: list[EpochRecord] = []
        self._compiled_before = programs.count_compilations()
        self.program: CompiledProgram = programs.get(spec)
        self._examples = programs.load_to_device(division.train)
        self._steps = _StepPlan(division.train.rows, len(division.train.pool), spec.training.batch_size)
        self.compile_seconds = self.program.compile(self._examples, self._steps.batch_sizes)
        self._pace = _Pace(self._steps.count * spec.training.epochs, chunk_seconds)

    @property
    def epochs_done(self) -> int:
        """How many epochs are done and measured."""
        return len(self._records)

    def checkpoint(self) -> Checkpoint:
        """The job after its last epoch."""
        return Checkpoint([*self._records], self.program.get_state(), self._best_weights or [])

    def go_on_from(self, checkpoint: Checkpoint) -> None:
        """Take up a job that was interrupted: its next epoch is the one after the checkpoint's last."""
        self._records = [*checkpoint.history]
        for record in self._records:
            self.best.update(record)
        self.program.restore(checkpoint.program)
        self.program.average.set_epoch(checkpoint.epoch)
        self._best_weights = checkpoint.best_weights or None
        self._pace.skip(checkpoint.epoch * self._steps.count)

    def train_epoch(self, epoch: int) -> EpochRecord:
        """One pass over the training examples, then the measurements without penalty and noise."""
        began, rate = time.perf_counter(), compute_learning_rate(self.spec, self._records)
        self.program.start_epoch(rate)
        done_before = (epoch - 1) * self._steps.count
        order = self._steps.in_pool(shuffle_examples(self.spec.seed, epoch, len(self.division.train)))
        for part in self._steps.parts:
            self._run_chunks(part, order, done_before)
        self.program.average.update_after_epoch(epoch)
        with self.program.average.swapped_in():
            record = self._record(epoch, rate, began)
            if self.best.update(record) and self.best.restores_best:
                self._best_weights = self.program.get_weights()
        self._records.append(record)
        return record

    def _run_chunks(self, part: "_Part", order: Any, done_before: int) -> None:
        first = 0
        while first < part.steps:
            last = min(part.steps, first + self._pace.chunk_steps)
            began = time.perf_counter()
            self.program.run_steps(
                self._examples,
                order,
                part.batch_size,
                origin=part.origin,
                first=first,
                last=last,
                done_before=done_before + part.steps_before,
            )
            self._pace.saw(last - first, time.perf_counter() - began)
            # The end of the epoch follows at once, and says the same and more.
            if part.steps_before + last < self._steps.count:
                self.observer.on_chunk_end(self.progress())
            first = last

    def _record(self, epoch: int, rate: float, began: float) -> EpochRecord:
        sums, rows = self.program.get_epoch_sums(), len(self.division.train)
        learned, validation = self._scores(self.division.train_eval), self._validation_scores()
        weight_norm = weights.compute_weight_norm(self.program.network)
        # The objective is a mean over the epoch: the weights may be lost while it is still a number. And
        # images that were not trained on may overflow first.
        validation_loss = validation.loss if validation else None
        _require_numbers(epoch, sums.objective, learned.loss, weight_norm, validation_loss)
        return EpochRecord(
            epoch=epoch,
            objective=sums.objective / rows,
            penalty=sums.penalty / rows,
            batch_accuracy=sums.correct / rows,
            train_loss=learned.loss,
            train_accuracy=learned.accuracy,
            validation_loss=validation_loss,
            validation_accuracy=validation.accuracy if validation else None,
            weight_norm=weight_norm,
            learning_rate=rate,
            seconds=time.perf_counter() - began,
        )

    def _scores(self, examples: Examples) -> Scores:
        return compute_scores(self.program.compute_logits(examples.images), examples.labels)

    def _validation_scores(self) -> Scores | None:
        return self._scores(self.division.validation) if self.division.validation else None

    def progress(self) -> Progress:
        """How far the job is."""
        return Progress(self.epochs_done, self._pace.fraction, self._pace.remaining_seconds)

    def outcome(self) -> Outcome:
        """Measure the weights that are to be reported; the test images are touched here and nowhere else."""
        if self._best_weights is None:
            self.program.average.copy_to_network()
        else:
            self.program.set_weights(self._best_weights)
        network, test = self.program.network, self.division.test
        logits = self.program.compute_logits(test.images)
        probabilities = np.exp(compute_log_probabilities(logits))
        train, tested = self._scores(self.division.train), compute_scores(logits, test.labels)
        _require_numbers(self.epochs_done, train.loss, tested.loss)
        return Outcome(
            train=train,
            validation=self._validation_scores(),
            test=tested,
            test_brier=compute_brier(probabilities, test.labels),
            test_ece=compute_calibration_error(probabilities, test.labels),
            test_probabilities=probabilities,
            best_epoch=self.best.epoch,
            reported_epoch=self.best.epoch if self.best.restores_best else self.epochs_done,
            epochs_run=self.epochs_done,
            stop_reason="early_stopping" if self.best.should_stop else "completed",
            parameters=sum(int(np.prod(weight.shape)) for weight in network.trainable_weights),
            zero_weight_fraction=weights.compute_zero_fraction(network),
            near_zero_weight_fraction=weights.compute_near_zero_fraction(network),
            weight_norm=weights.compute_weight_norm(network),
            layers=weights.describe_layers(network),
            confusion=compute_confusion_matrix(probabilities, test.labels),
            test_correct=pack_correct(logits, test.labels),
            diagnostics=weights.compute_diagnostics(
                network, compute_calibration_bins(probabilities, test.labels)
            ),
            weights_sha256=weights.compute_weights_sha256(network),
            training_seconds=sum(record.seconds for record in self._records),
            compile_seconds=self.compile_seconds,
            compilations=self._programs.count_compilations() - self._compiled_before,
            training_flops=float(compute_flops_per_epoch(self.spec) * self.epochs_done),
            model=export_model(self.spec, network),
        )


def _require_numbers(epoch: int, *measured: float | None) -> None:
    if all(value is None or math.isfinite(value) for value in measured):
        return
    raise TrainingFailed(
        "diverged",
        f"The loss stopped being a number in epoch {epoch}; lower training.optimizer.learning_rate.",
        retryable=False,
    )


@dataclass(frozen=True)
class _Part:
    """Batches of one size within an epoch's order: where they begin, how many they are."""

    batch_size: int
    origin: int
    steps: int
    steps_before: int


class _StepPlan:
    """How an epoch's examples are cut into batches: full ones, then what is left, as `model.fit` does."""

    def __init__(self, rows: Rows, pool: int, batch_size: int) -> None:
        self._rows, self._pool = rows, pool
        full, left = divmod(len(rows), batch_size)
        self.parts = [_Part(batch_size, 0, full, 0)]
        if left:
            self.parts.append(_Part(left, full * batch_size, 1, full))
        self.count = full + bool(left)
        self.batch_sizes = {part.batch_size for part in self.parts}

    def in_pool(self, order: NDArray[np.int32]) -> Any:
        """An epoch's order (n,) as rows of the dataset's images, filled up to their number (m,)."""
        filled = np.zeros(self._pool, np.int32)
        filled[: len(order)] = self._rows[order]
        return tf.constant(filled)


class _Pace:
    """How fast steps go: the length of a chunk and the time that is left follow from it."""

    def __init__(self, total_steps: int, chunk_seconds: float) -> None:
        self._total, self._chunk_seconds = total_steps, chunk_seconds
        self._began = time.perf_counter()
        self._done = self._skipped = 0
        self.chunk_steps = 1

    def skip(self, steps: int) -> None:
        """Count steps that were done before."""
        self._done = self._skipped = steps

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
        timed = self._done - self._skipped
        if not timed:
            return None
        return (time.perf_counter() - self._began) / timed * (self._total - self._done)
