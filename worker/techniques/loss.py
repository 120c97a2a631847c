"""What is added to, or changed in, the loss that a step follows."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from models.spec import JobSpec
from worker.network import get_kernels
from worker.techniques.base import StrengthVariables
from worker.techniques.inputs import Targets


class Objective(StrengthVariables):
    """Cross-entropy, smoothed where asked for, plus penalties."""

    def __init__(self, spec: JobSpec, network: keras.Model) -> None:
        super().__init__(spec)
        self._kernels, self._classes = get_kernels(network), spec.dataset.classes

    def compute_data_loss(self, logits: Any, targets: Targets) -> Any:
        """Mean loss of logits (n, classes) against their targets, in nats per example."""
        loss = self._cross_entropy(logits, targets.labels)
        if targets.partners is None:
            return loss
        # Cross-entropy is linear in its targets: mixed targets give the mix of two losses.
        return targets.share * loss + (1.0 - targets.share) * self._cross_entropy(logits, targets.partners)

    def _cross_entropy(self, logits: Any, labels: Any) -> Any:
        alpha = self._strengths.get("label_smoothing")
        if alpha is None:
            return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        targets = (1.0 - alpha) * tf.one_hot(labels, self._classes) + alpha / self._classes
        return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))

    def compute_penalty(self, logits: Any, hidden: Sequence[Any]) -> Any:
        """What is added to the data's loss, in nats per example.

        `hidden` are the outputs of the hidden layers for the batch that gave `logits` (n, classes).
        """
        total = tf.constant(0.0)
        for kernel in self._kernels:
            if "l1" in self._strengths:
                total += self._strengths["l1"] * tf.reduce_sum(tf.abs(kernel.value))
            if "l2" in self._strengths:
                total += self._strengths["l2"] * tf.reduce_sum(tf.square(kernel.value))
        if "activity_l1" in self._strengths:
            activity = sum(tf.reduce_sum(tf.abs(outputs)) for outputs in hidden)
            total += self._strengths["activity_l1"] * activity / tf.cast(tf.shape(logits)[0], tf.float32)
        if "confidence_penalty" in self._strengths:
            log_probabilities = tf.nn.log_softmax(logits)
            entropies = -tf.reduce_sum(tf.exp(log_probabilities) * log_probabilities, axis=1)
            total -= self._strengths["confidence_penalty"] * tf.reduce_mean(entropies)
        return total
