"""Measuring a network: after each epoch, and once on the test images when training has ended."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from models.cost import compute_training_flops
from models.dataset_arrays import Examples
from models.errors import TrainingFailed
from models.metrics import METRICS
from models.records import CORRUPTIONS, SEVERITIES, CalibrationBin, EpochRecord, Evaluation, RobustnessRecord
from models.spec import JobSpec
from models.test_predictions import TestPredictions, TrainingAnswers
from worker import metrics, weights
from worker.corruptions import corrupt
from worker.datasets import DataSplit
from worker.network import export_model
from worker.program import CompiledProgram
from worker.techniques.stopping import BestEpoch

_ON_TEST = (
    *(metric.name for metric in METRICS.values() if metric.judged or metric.name.startswith("test_")),
    "confusion",
    "test_correct",
    "robustness",
)
"""What the test images are needed for: None where the specification asks for none."""


@dataclass(frozen=True)
class TrainedModel:
    """A model at the reported epoch's weights, what it predicts for the test images, its metrics."""

    model: keras.Model
    test_predictions: TestPredictions | None
    """None where the specification asks for no test images."""
    evaluation: Evaluation


def evaluate_epoch(
    program: CompiledProgram,
    split: DataSplit,
    *,
    epoch: int,
    trained: int,
    learning_rate: float,
    started: float,
) -> EpochRecord:
    """Measure the present weights without penalty and noise, after an epoch of `trained` examples.

    `started` is the epoch's start.

    Raises:
        TrainingFailed: a loss or a weight is not a finite number.
    """
    means = program.compute_epoch_means(trained)
    train = _score(program, split.train_eval)
    validation = _score(program, split.validation) if split.validation else None
    validation_loss = validation.loss if validation else None
    weight_norm = weights.compute_weight_norm(program.network)
    # The objective is a mean over the epoch and may be finite when the weights no longer are. And images
    # that were not trained on may overflow first.
    _require_finite(epoch, means["objective"], train.loss, weight_norm, validation_loss)
    return EpochRecord(
        epoch=epoch,
        **means,
        train_loss=train.loss,
        train_accuracy=train.accuracy,
        validation_loss=validation_loss,
        validation_accuracy=validation.accuracy if validation else None,
        weight_norm=weight_norm,
        learning_rate=learning_rate,
        seconds=time.perf_counter() - started,
    )


def evaluate_model(
    spec: JobSpec,
    program: CompiledProgram,
    split: DataSplit,
    history: Sequence[EpochRecord],
    best: BestEpoch,
    *,
    compile_seconds: float,
    compilations: int,
) -> TrainedModel:
    """Measure the weights to report; the test images are used here and nowhere else, if at all.

    Raises:
        TrainingFailed: a loss is not a finite number.
    """
    network, epochs = program.network, len(history)
    train = _score(program, split.train)
    _require_finite(epochs, train.loss)
    validation, temperature = _evaluate_validation(program, split.validation)
    on_test: dict[str, Any] = dict.fromkeys(_ON_TEST)
    calibration: tuple[CalibrationBin, ...] = ()
    predictions = None
    if spec.evaluation.test:
        labels = split.test.labels
        logits = program.compute_logits(split.test.images)
        log_probabilities = metrics.compute_log_probabilities(logits)
        probabilities = np.exp(log_probabilities)
        test = metrics.compute_scores(logits, labels)
        _require_finite(epochs, test.loss)
        calibration = metrics.compute_calibration_bins(probabilities, labels)
        training = None
        if spec.evaluation.memorization:
            available = split.available
            seen = np.isin(np.arange(len(available)), split.train.rows)
            answers = program.compute_logits(available.images).argmax(axis=1)
            training = TrainingAnswers(seen, answers == available.labels)
        predictions = TestPredictions(log_probabilities.astype(np.float32), labels, training)
        on_test |= {
            "test_accuracy": test.accuracy,
            "test_loss": test.loss,
            "test_brier": metrics.compute_brier(probabilities, labels),
            "test_ece": metrics.compute_calibration_error(probabilities, labels),
            "test_ece_debiased": metrics.compute_debiased_calibration_error(probabilities, labels),
            "generalization_gap_accuracy": train.accuracy - test.accuracy,
            "generalization_gap_loss": test.loss - train.loss,
            "confusion": metrics.compute_confusion_matrix(probabilities, labels),
            "test_correct": metrics.pack_correct(logits, labels),
        }
        if temperature:
            scaled = logits / temperature
            certainties = np.exp(metrics.compute_log_probabilities(scaled))
            on_test["test_loss_scaled"] = metrics.compute_scores(scaled, labels).loss
            on_test["test_ece_scaled"] = metrics.compute_calibration_error(certainties, labels)
        if spec.evaluation.robustness:
            on_test["robustness"] = _evaluate_robustness(program, split.test, test.accuracy)
    evaluation = Evaluation(
        **on_test,
        train_accuracy=train.accuracy,
        train_loss=train.loss,
        validation_accuracy=validation.accuracy if validation else None,
        validation_loss=validation.loss if validation else None,
        temperature=temperature,
        best_epoch=best.epoch,
        reported_epoch=best.epoch if best.restores_best else epochs,
        epochs_run=epochs,
        stop_reason="early_stopping"
        if best.should_stop
        else "completed"
        if epochs == spec.training.planned_epochs
        else "max_seconds",
        parameters=sum(int(np.prod(weight.shape)) for weight in network.trainable_weights),
        zero_weight_fraction=weights.compute_zero_fraction(network),
        near_zero_weight_fraction=weights.compute_near_zero_fraction(network),
        weight_norm=weights.compute_weight_norm(network),
        training_seconds=sum(record.seconds for record in history),
        compile_seconds=compile_seconds,
        compilations=compilations,
        training_flops=compute_training_flops(spec, epochs),
        weights_sha256=weights.compute_weights_sha256(network),
        layers=weights.describe_layers(network),
        diagnostics=weights.compute_diagnostics(network, calibration),
    )
    return TrainedModel(export_model(spec, network), predictions, evaluation)


def _evaluate_validation(
    program: CompiledProgram, examples: Examples | None
) -> tuple[metrics.Scores | None, float | None]:
    """Scores on validation images, and the temperature with the lowest loss on them; None without any."""
    if examples is None:
        return None, None
    logits = program.compute_logits(examples.images)
    scores = metrics.compute_scores(logits, examples.labels)
    temperature = metrics.fit_temperature(logits, examples.labels) if math.isfinite(scores.loss) else None
    return scores, temperature


def _evaluate_robustness(program: CompiledProgram, test: Examples, test_accuracy: float) -> RobustnessRecord:
    accuracy = {
        kind: (
            test_accuracy,
            *(
                float((program.compute_logits(images).argmax(axis=1) == test.labels).mean())
                for severity in range(1, SEVERITIES + 1)
                for images in [corrupt(test.images, kind, severity)]
            ),
        )
        for kind in CORRUPTIONS
    }
    damaged = [value for values in accuracy.values() for value in values[1:]]
    return RobustnessRecord(accuracy, sum(damaged) / len(damaged))


def _score(program: CompiledProgram, examples: Examples) -> metrics.Scores:
    return metrics.compute_scores(program.compute_logits(examples.images), examples.labels)


def _require_finite(epoch: int, *values: float | None) -> None:
    if not all(value is None or math.isfinite(value) for value in values):
        raise TrainingFailed(
            "diverged",
            f"The loss is not a finite number in epoch {epoch}; lower training.optimizer.learning_rate.",
            retryable=False,
        )
