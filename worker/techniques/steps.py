"""What happens to gradients before, and to weights around, the optimizer's step."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from models.records import EpochRecord
from models.spec import JobSpec
from worker.network import get_kernels
from worker.techniques.base import StrengthVariables


class StepRules(StrengthVariables):
    """Clipping, decay, thresholding and the norm's limit, in this order around the optimizer's step."""

    def __init__(self, spec: JobSpec, network: keras.Model) -> None:
        super().__init__(spec)
        self._kernels = get_kernels(network)
        # The last kernel leads to the logits: its columns are classes, not hidden units.
        self._hidden_kernels = self._kernels[:-1]

    def clip_gradients(self, gradients: list[Any]) -> list[Any]:
        """The gradients as the optimizer is to see them."""
        norm = self._strengths.get("gradient_clipping")
        if norm is None:
            return gradients
        length = tf.linalg.global_norm(gradients)
        scale = norm / tf.maximum(length, norm)
        return [gradient * scale for gradient in gradients]

    def apply_before_step(self, learning_rate: Any) -> None:
        """Decay the weights apart from their gradient."""
        factor = self._strengths.get("weight_decay")
        if factor is not None:
            for kernel in self._kernels:
                kernel.assign(kernel.value * (1.0 - learning_rate * factor))

    def apply_after_step(self, learning_rate: Any) -> None:
        """Threshold and bound the weights that the optimizer has left."""
        strengths = self._strengths
        if "proximal_l1" in strengths:
            for kernel in self._kernels:
                shrunk = tf.maximum(tf.abs(kernel.value) - learning_rate * strengths["proximal_l1"], 0.0)
                kernel.assign(tf.sign(kernel.value) * shrunk)
        if "group_l1" in strengths:
            # Each row (an input's weights) is shortened, to zero at most.
            first = self._kernels[0]
            norms = tf.norm(first.value, axis=1, keepdims=True)
            threshold = learning_rate * strengths["group_l1"] * math.sqrt(first.shape[1])
            # A row that is already zero stays zero: the quotient's denominator must only be a number.
            first.assign(first.value * tf.maximum(1.0 - threshold / tf.maximum(norms, 1e-30), 0.0))
        if "max_norm" in strengths:
            limit = strengths["max_norm"]
            for kernel in self._hidden_kernels:
                # Of each unit's incoming weights; the last axis of a kernel counts units.
                inputs = list(range(len(kernel.shape) - 1))
                norms = tf.sqrt(tf.reduce_sum(tf.square(kernel.value), axis=inputs, keepdims=True))
                kernel.assign(kernel.value * (limit / tf.maximum(norms, limit)))


def compute_learning_rate(spec: JobSpec, history: Sequence[EpochRecord]) -> float:
    """The step size of the epoch that follows `history`, under the job's schedule."""
    rate, schedule = spec.training.optimizer.learning_rate, spec.regularization.learning_rate_schedule
    if schedule is None:
        return rate
    done, share = len(history), 1.0
    match schedule.kind:
        case "exponential":
            share = schedule.decay**done
        case "step":
            share = float(schedule.decay ** (done // schedule.every))
        case "cosine":
            cosine = math.cos(math.pi * done / spec.training.planned_epochs)
            share = schedule.floor + (1 - schedule.floor) * (1 + cosine) / 2
        case "plateau":
            share = float(schedule.decay ** _count_plateaus(history, schedule.every))
    return rate * share


def _count_plateaus(history: Sequence[EpochRecord], patience: int) -> int:
    """How many times `patience` epochs in a row have brought no lower validation loss."""
    best, waited, plateaus = math.inf, 0, 0
    for record in history:
        if record.validation_loss is not None and record.validation_loss < best:
            best, waited = record.validation_loss, 0
        else:
            waited += 1
        if waited == patience:
            waited, plateaus = 0, plateaus + 1
    return plateaus
