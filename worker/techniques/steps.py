"""What happens to gradients before, and to weights around, the optimizer's step."""

import math
from typing import Any

import keras
import tensorflow as tf

from models.spec import JobSpec
from models.techniques.schedule import LearningRateSchedule
from worker.network import kernels

_STEP_TECHNIQUES = ("gradient_clipping", "weight_decay", "proximal_l1", "max_norm")


class StepRules:
    """Clipping, decay, soft thresholding and the norm's limit, in this order around the optimizer's step.

    Numbers are variables; a technique that is off is not in the program.
    """

    def __init__(self, spec: JobSpec, network: keras.Model) -> None:
        active = spec.regularization.active
        self._kernels = kernels(network)
        # The last kernel leads to the logits: its columns are classes, not hidden units.
        self._hidden_kernels = self._kernels[:-1]
        self._numbers = {
            name: tf.Variable(0.0, trainable=False) for name in _STEP_TECHNIQUES if name in active
        }

    def configure(self, spec: JobSpec) -> None:
        """Set the job's own numbers."""
        for name, variable in self._numbers.items():
            variable.assign(spec.regularization.active[name].strength)

    def clipped(self, gradients: list[Any]) -> list[Any]:
        """The gradients as the optimizer is to see them."""
        norm = self._numbers.get("gradient_clipping")
        if norm is None:
            return gradients
        length = tf.linalg.global_norm(gradients)
        scale = norm / tf.maximum(length, norm)
        return [gradient * scale for gradient in gradients]

    def before_step(self, learning_rate: Any) -> None:
        """Decay the weights apart from their gradient."""
        factor = self._numbers.get("weight_decay")
        if factor is not None:
            for kernel in self._kernels:
                kernel.assign(kernel.value * (1.0 - learning_rate * factor))

    def after_step(self, learning_rate: Any) -> None:
        """Threshold and bound the weights that the optimizer has left."""
        factor, limit = self._numbers.get("proximal_l1"), self._numbers.get("max_norm")
        if factor is not None:
            for kernel in self._kernels:
                shrunk = tf.maximum(tf.abs(kernel.value) - learning_rate * factor, 0.0)
                kernel.assign(tf.sign(kernel.value) * shrunk)
        if limit is not None:
            for kernel in self._hidden_kernels:
                norms = tf.sqrt(tf.reduce_sum(tf.square(kernel.value), axis=0, keepdims=True))
                kernel.assign(kernel.value * (limit / tf.maximum(norms, limit)))


def learning_rate(spec: JobSpec, epoch: int) -> float:
    """The step size of an epoch, counted from 1, under the job's schedule."""
    rate, schedule = spec.training.optimizer.learning_rate, spec.regularization.learning_rate_schedule
    return rate if schedule is None else rate * _share(schedule, epoch - 1, spec.training.epochs)


def _share(schedule: LearningRateSchedule, done: int, epochs: int) -> float:
    match schedule.kind:
        case "exponential":
            return schedule.decay**done
        case "step":
            return float(schedule.decay ** (done // schedule.every))
        case "cosine":
            return schedule.floor + (1 - schedule.floor) * (1 + math.cos(math.pi * done / epochs)) / 2
