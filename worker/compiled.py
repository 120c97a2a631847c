"""A network with its optimizer and its training loop as one XLA program, kept for the next job of its shape.

`model.fit` returns to Python at every step; here a single compiled function runs many steps over images that
already lie on the device. Whatever differs between jobs of one shape (seed, learning rate, penalty factors,
dropout rates) is a variable, so that a second job compiles nothing. docs/decisions/0009-compiled-loop.md.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.spec import JobSpec
from worker.datasets import Examples
from worker.network import build_network, kernels, set_initial_weights
from worker.techniques.loss import Objective
from worker.techniques.noise import KINDS, StepClock, configure_noise
from worker.techniques.steps import StepRules

Tensor = Any
Weights = list[NDArray[np.float32]]

_FORWARD_BLOCK = 1_000  # images measured at once: large enough for full speed, small for few images
_KEPT_PROGRAMS = 8


@dataclass(frozen=True)
class DeviceExamples:
    """Images (n, 784) with values 0 to 1, and labels (n,), on the device."""

    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, examples: Examples) -> "DeviceExamples":
        """Copy examples to the device."""
        return cls(tf.cast(examples.images, tf.float32) / 255.0, tf.constant(examples.labels))


@dataclass(frozen=True)
class EpochSums:
    """Sums over the examples that an epoch has trained on so far."""

    objective: float
    penalty: float
    correct: int


class Program:
    """One network shape, ready to train."""

    def __init__(self, spec: JobSpec) -> None:
        self._clock = StepClock()
        self.network = build_network(
            spec, lambda technique, _strength, name: KINDS[technique](self._clock, name)
        )
        self._objective = Objective(spec, self.network)
        self._rules = StepRules(spec, self.network)
        self._optimizer = _optimizer(spec)
        self._optimizer.build(self.network.trainable_variables)
        # Kept over the chunks of an epoch, so that the sums do not depend on where a chunk ended.
        self._objective_sum = tf.Variable(0.0, dtype=tf.float64)
        self._penalty_sum = tf.Variable(0.0, dtype=tf.float64)
        self._correct = tf.Variable(0, dtype=tf.int32)
        self._steps = tf.function(self._run_steps, jit_compile=True)
        self._forward = tf.function(self._infer, jit_compile=True)

    def configure(self, spec: JobSpec) -> None:
        """Put the program at the start of a job: its weights, its optimizer, its numbers."""
        set_initial_weights(self.network, spec.seed)
        for variable in self._optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        self._objective.configure(spec)
        self._rules.configure(spec)
        configure_noise(self.network, spec)

    def compile(self, examples: DeviceExamples, batch_sizes: set[int], steps: int) -> float:
        """Compile for these shapes, if that is still to be done; returns the seconds that it took."""
        began = time.perf_counter()
        for size in sorted(batch_sizes):
            shape = (steps if size == max(batch_sizes) else 1, size)
            # No step is run, so no weight moves.
            self.run_steps(examples, tf.zeros(shape, tf.int32), first=0, last=0, done_before=0)
        self.logits(examples.images[:1])
        return time.perf_counter() - began

    def begin_epoch(self, learning_rate: float) -> None:
        """Set the step size, and the sums to zero."""
        self._optimizer.learning_rate = learning_rate
        self._objective_sum.assign(0.0)
        self._penalty_sum.assign(0.0)
        self._correct.assign(0)

    def run_steps(
        self, examples: DeviceExamples, batches: Tensor, *, first: int, last: int, done_before: int
    ) -> None:
        """Train on the rows named by `batches[first:last]`, (steps, batch size); returns when it is done.

        `done_before` counts the job's steps before `batches[0]`: random layers draw by the step's number.
        """
        # As tensors: a Python number among the arguments would compile the function anew for each value.
        numbers = (tf.constant(number, tf.int32) for number in (first, last, done_before))
        self._steps(examples.images, examples.labels, batches, *numbers).numpy()

    def sums(self) -> EpochSums:
        """The sums since `begin_epoch`."""
        return EpochSums(
            float(self._objective_sum.numpy()), float(self._penalty_sum.numpy()), int(self._correct.numpy())
        )

    def logits(self, images: Tensor) -> NDArray[np.float32]:
        """The network's answers (n, 10) to images (n, 784), in inference mode."""
        rows = len(images)
        blocks = []
        for start in range(0, rows, _FORWARD_BLOCK):
            block = images[start : start + _FORWARD_BLOCK]
            # Every block has the same shape, so one compilation serves any number of images.
            missing = _FORWARD_BLOCK - len(block)
            padded = tf.pad(block, [[0, missing], [0, 0]]) if missing else block
            blocks.append(self._forward(padded).numpy())
        return np.concatenate(blocks)[:rows]

    def weights(self) -> Weights:
        """Every weight, trained or gathered, in the network's order."""
        return [np.array(weight) for weight in self.network.get_weights()]

    def set_weights(self, weights: Weights) -> None:
        """Put back what `weights` returned."""
        self.network.set_weights(weights)

    def weight_norm(self) -> float:
        """Root of the sum of all squared kernel weights."""
        squares = (
            float(np.square(kernel.numpy(), dtype=np.float64).sum()) for kernel in kernels(self.network)
        )
        return float(np.sqrt(sum(squares)))

    def zero_weight_fraction(self) -> float:
        """Share of kernel weights that are exactly zero."""
        values = [kernel.numpy() for kernel in kernels(self.network)]
        return sum(int((value == 0).sum()) for value in values) / sum(value.size for value in values)

    def weights_sha256(self) -> str:
        """SHA-256 over every weight's name, shape and bytes."""
        digest = hashlib.sha256()
        for variable in self.network.weights:
            value = variable.numpy()
            digest.update(f"{variable.path}{value.shape}".encode())
            digest.update(value.tobytes())
        return digest.hexdigest()

    def compilations(self) -> int:
        """How many times a function of this program was compiled: once for each shape of its arguments."""
        return int(
            self._steps.experimental_get_tracing_count() + self._forward.experimental_get_tracing_count()
        )

    def _run_steps(
        self,
        images: Tensor,
        labels: Tensor,
        batches: Tensor,
        first: Tensor,
        last: Tensor,
        done_before: Tensor,
    ) -> Tensor:
        step = first
        while step < last:  # AutoGraph makes a loop of the compiled program of it
            self._clock.step.assign(done_before + step)
            self._train_on(tf.gather(images, batches[step]), tf.gather(labels, batches[step]))
            step += 1
        return step

    def _train_on(self, images: Tensor, labels: Tensor) -> None:
        trained = self.network.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.network(images, training=True)
            penalty = self._objective.penalty()
            objective = self._objective.data_loss(logits, labels) + penalty
        gradients = tape.gradient(objective, [variable.value for variable in trained])
        rate = self._optimizer.learning_rate
        self._rules.before_step(rate)
        self._optimizer.apply(self._rules.clipped(gradients), trained)
        self._rules.after_step(rate)
        size = tf.cast(tf.shape(labels)[0], tf.float64)
        hits = tf.argmax(logits, axis=1, output_type=tf.int32) == labels
        self._objective_sum.assign_add(tf.cast(objective, tf.float64) * size)
        self._penalty_sum.assign_add(tf.cast(penalty, tf.float64) * size)
        self._correct.assign_add(tf.reduce_sum(tf.cast(hits, tf.int32)))

    def _infer(self, images: Tensor) -> Tensor:
        return self.network(images, training=False)


class Programs:
    """The programs of one process, the latest used kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Program] = OrderedDict()

    def of(self, spec: JobSpec) -> Program:
        """The program for a specification's shape, made if it is not there yet, at the start of the job."""
        shape = program_shape(spec)
        program = self._kept.pop(shape, None) or Program(spec)
        self._kept[shape] = program
        while len(self._kept) > _KEPT_PROGRAMS:
            self._kept.popitem(last=False)
        program.configure(spec)
        return program


# Parameters that are compiled in; all others are variables.
_COMPILED_IN = {
    "batch_normalization": ("momentum", "position"),
    "layer_normalization": ("position",),
}
# What happens between epochs is no part of the program.
_OUTSIDE = {"early_stopping", "learning_rate_schedule"}


def program_shape(spec: JobSpec) -> Hashable:
    """All of a specification that is compiled in; jobs that agree on it share a program."""
    dropout = spec.regularization.dropout
    techniques = tuple(
        (name, *(getattr(technique, field) for field in _COMPILED_IN.get(name, ())))
        for name, technique in spec.regularization.active.items()
        if name not in _OUTSIDE
    )
    where_dropout = (bool(dropout.input_rate), bool(dropout.rate)) if dropout else (False, False)
    optimizer = spec.training.optimizer
    return (spec.model, techniques, where_dropout, (optimizer.name, optimizer.momentum))


def _optimizer(spec: JobSpec) -> keras.optimizers.Optimizer:
    optimizer = spec.training.optimizer
    match optimizer.name:
        case "sgd":
            return keras.optimizers.SGD(optimizer.learning_rate, momentum=optimizer.momentum)
        case "rmsprop":
            return keras.optimizers.RMSprop(optimizer.learning_rate)
        case "adam":
            return keras.optimizers.Adam(optimizer.learning_rate)
