"""Weights averaged over steps or epochs: the average is measured and kept, the newest weights train on."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from models.spec import JobSpec


class WeightAverage:
    """The average of a network's weights, normalization's moving statistics included.

    The decay is a variable; where nothing is averaged, nothing is in the program.
    """

    def __init__(self, spec: JobSpec, network: keras.Model) -> None:
        active = spec.regularization.active
        self._by_step = "exponential_moving_average" in active
        self._by_epoch = "stochastic_weight_averaging" in active
        self._weights = network.weights if self._by_step or self._by_epoch else []
        self.variables = [tf.Variable(weight.value, trainable=False) for weight in self._weights]
        """The averaged weights; empty where nothing is averaged."""
        self._decay = tf.Variable(0.0, trainable=False)
        self._waits, self._epochs = 0, 0

    def configure(self, spec: JobSpec) -> None:
        """Reset to the network's present weights, with the job's own numbers."""
        regularization = spec.regularization
        for average, weight in zip(self.variables, self._weights, strict=True):
            average.assign(weight.value)
        self._epochs = 0
        if self._by_step and regularization.exponential_moving_average:
            self._decay.assign(regularization.exponential_moving_average.decay)
        if self._by_epoch and regularization.stochastic_weight_averaging:
            # 0.29 of 100 epochs are 29, though the product of floats is 28.999999999999996.
            start = regularization.stochastic_weight_averaging.start
            self._waits = math.floor(start * spec.training.planned_epochs + 1e-9)

    def update_after_step(self, step: Any) -> None:
        """Take in the weights that step `step`, counted from 0, has left; runs inside the compiled loop."""
        if not self._by_step:
            return
        # Early on a fixed decay would hold on to the random start.
        done = tf.cast(step + 1, tf.float32)
        decay = tf.minimum(self._decay, (1.0 + done) / (10.0 + done))
        for average, weight in zip(self.variables, self._weights, strict=True):
            average.assign(decay * average + (1.0 - decay) * weight.value)

    def update_after_epoch(self, epoch: int) -> None:
        """Take in the weights at the end of an epoch, counted from 1."""
        self.set_epoch(epoch)
        if not self._by_epoch or not self._epochs_in:
            return
        for average, weight in zip(self.variables, self._weights, strict=True):
            average.assign_add((weight.value - average) / self._epochs_in)

    def set_epoch(self, epoch: int) -> None:
        """Know that epochs up to `epoch` have been taken in."""
        self._epochs = epoch

    @property
    def _epochs_in(self) -> int:
        """How many epochs are in the average."""
        return max(0, self._epochs - self._waits) if self._by_epoch else 0

    def copy_to_network(self) -> None:
        """Give the network the averaged weights, where there is an average."""
        if self._by_step or self._epochs_in:
            for average, weight in zip(self.variables, self._weights, strict=True):
                weight.assign(average)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """While the block runs, the network has the averaged weights."""
        newest = [weight.numpy() for weight in self._weights]
        self.copy_to_network()
        try:
            yield
        finally:
            for value, weight in zip(newest, self._weights, strict=True):
                weight.assign(value)
