"""A network with its optimizer and its training loop as one XLA program, kept for the next job of its shape.

`model.fit` returns to Python at every step; here a single compiled function runs many steps over images that
already lie on the device. Whatever differs between jobs of one shape (seed, learning rate, penalty factors,
dropout rates, which examples are learned from) is a variable or an argument, so that a second job compiles
nothing. docs/decisions/0009-compiled-loop.md.
"""

import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from cachetools import LRUCache
from numpy.typing import NDArray

from models.dataset_arrays import Bytes, Examples
from models.spec import JobSpec
from worker.convolution import BlockMaxPooling, PatchConvolution
from worker.network import KerasLayers, build_network, get_hidden_outputs, set_initial_weights
from worker.step_plan import Chunk
from worker.techniques.averaging import WeightAverage
from worker.techniques.base import Configurable
from worker.techniques.inputs import Inputs
from worker.techniques.loss import Objective
from worker.techniques.noise import NOISE_LAYERS, iter_noise_layers
from worker.techniques.randomness import StepClock
from worker.techniques.steps import StepRules

Tensor = Any

_FORWARD_BLOCK = 400  # images measured at once: large enough for full speed, and a divisor of most parts
# Enough for the 20 programs of `all-techniques`, whose jobs come seed by seed: with fewer, each would compile
# again (1.3 s against 0.3 s of training an epoch of mnist_5k). One takes 23 MB with two layers of 512 units.
_KEPT_PROGRAMS = 24
_KEPT_DATASETS = 2


@dataclass(frozen=True)
class DeviceExamples:
    """A dataset's images (m, 784), values 0 to 255, and a job's labels for them (m,), on the device.

    Whichever part a job learns from, the shapes are the dataset's: jobs on other parts compile nothing.
    """

    images: Tensor
    labels: Tensor


class CompiledLayers(KerasLayers):
    """The layers that train inside a compiled program; the numbers of random ones are set later."""

    def __init__(self, clock: StepClock) -> None:
        self._clock = clock

    def make_noise(self, technique: str, strength: float, name: str) -> keras.layers.Layer:
        return NOISE_LAYERS[technique](self._clock, name)

    def make_convolution(self, filters: int, side: int, *, use_bias: bool, name: str) -> keras.layers.Layer:
        return PatchConvolution(filters, side, padding="same", use_bias=use_bias, name=name)

    def make_pooling(self, name: str) -> keras.layers.Layer:
        return BlockMaxPooling(2, name=name)


class CompiledProgram:
    """One network shape, ready to train."""

    def __init__(self, spec: JobSpec) -> None:
        self._clock = StepClock()
        self.network = build_network(spec, CompiledLayers(self._clock))
        # In a list of its own, because a model unpacks a list of one output.
        outputs = [self.network.output], get_hidden_outputs(self.network)
        self._trained = keras.Model(self.network.input, outputs)
        self._inputs = Inputs(spec, self._clock)
        self._objective = Objective(spec, self.network)
        self._rules = StepRules(spec, self.network)
        optimizer = spec.training.optimizer
        match optimizer.name:
            case "sgd":
                self._optimizer = keras.optimizers.SGD(optimizer.learning_rate, momentum=optimizer.momentum)
            case "rmsprop":
                self._optimizer = keras.optimizers.RMSprop(optimizer.learning_rate)
            case "adam" | "adamw":  # the decay is a technique, in StepRules
                self._optimizer = keras.optimizers.Adam(optimizer.learning_rate)
        self._optimizer.build(self.network.trainable_variables)
        self.average = WeightAverage(spec, self.network)
        # Kept over the chunks of an epoch, so that the sums do not depend on where a chunk ended.
        self._sums = {
            "objective": tf.Variable(0.0, dtype=tf.float64),
            "penalty": tf.Variable(0.0, dtype=tf.float64),
            "batch_accuracy": tf.Variable(0, dtype=tf.int32),
        }
        # AutoGraph writes a file of its own for every function that it rewrites, and a process that is killed
        # leaves them behind.
        self._steps = tf.function(self._run_steps, jit_compile=True, autograph=False)
        self._forward = tf.function(
            lambda images: self.network(_scale_pixels(images), training=False),
            jit_compile=True,
            autograph=False,
        )
        self._compiled: set[tuple[int, int]] = set()

    def configure(self, spec: JobSpec) -> None:
        """Reset the program for a new job: its weights, its optimizer, its parameters."""
        set_initial_weights(self.network, spec.seed)
        for variable in self._optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        # The average last: it begins at the new initial weights.
        parts: tuple[Configurable, ...] = (self._inputs, self._objective, self._rules, self.average)
        for part in (*parts, *iter_noise_layers(self.network)):
            part.configure(spec)

    def compile(self, examples: DeviceExamples, batch_sizes: set[int]) -> float:
        """Compile for these shapes where that was not done before; returns the seconds that it took."""
        started, rows = time.perf_counter(), len(examples.labels)
        missing = {size for size in batch_sizes if (rows, size) not in self._compiled}
        for size in sorted(missing):
            # No step is run, so no weight moves.
            nothing = tf.zeros([rows], tf.int32)
            self.run_steps(examples, nothing, Chunk(size, 0, 0, 0, 0), done_before=0)
            self._compiled.add((rows, size))
        if missing:
            self.compute_logits(np.zeros((1, examples.images.shape[1]), np.uint8))
        return time.perf_counter() - started

    def start_epoch(self, learning_rate: float) -> None:
        """Set the step size, and the sums to zero."""
        self._optimizer.learning_rate = learning_rate
        for variable in self._sums.values():
            variable.assign(0)

    def run_steps(self, examples: DeviceExamples, order: Tensor, chunk: Chunk, *, done_before: int) -> None:
        """Train on a chunk of a pass's `order`; returns when it is done.

        `order` (m,) names rows of the images. `done_before` counts the job's steps before the pass: random
        parts draw by the step's number.
        """
        numbers = (chunk.origin, chunk.first, chunk.last, done_before + chunk.steps_before)
        # As tensors: a Python number among the arguments would compile the function again for each value.
        tensors = (tf.constant(item, tf.int32) for item in numbers)
        self._steps(examples.images, examples.labels, order, chunk.batch_size, *tensors).numpy()

    def compute_epoch_means(self, examples: int) -> dict[str, float]:
        """Fields of EpochRecord: means over the `examples` of the epoch that `start_epoch` began."""
        return {name: float(variable.numpy()) / examples for name, variable in self._sums.items()}

    def compute_logits(self, images: Bytes) -> NDArray[np.float32]:
        """The network's answers (n, classes) to images (n, 784), values 0 to 255, in inference mode."""
        rows = len(images)
        blocks = []
        for start in range(0, rows, _FORWARD_BLOCK):
            block = images[start : start + _FORWARD_BLOCK]
            # Every block has the same shape, so one compilation serves any number of images.
            padded = np.pad(block, [(0, _FORWARD_BLOCK - len(block)), (0, 0)])
            blocks.append(self._forward(tf.constant(padded)).numpy())
        return np.concatenate(blocks)[:rows]

    def get_weights(self) -> list[NDArray[np.float32]]:
        """Every weight, moving statistics included, in the network's order."""
        return [np.array(weight) for weight in self.network.get_weights()]

    def get_state(self) -> list[NDArray[Any]]:
        """All that the next epoch depends on: weights, optimizer, average."""
        return [variable.numpy() for variable in self._state_variables()]

    def restore(self, state: list[NDArray[Any]]) -> None:
        """Restore what `get_state` returned, after `configure` for the same job."""
        for variable, value in zip(self._state_variables(), state, strict=True):
            variable.assign(value)

    def _state_variables(self) -> list[Any]:
        return [*self.network.weights, *self._optimizer.variables, *self.average.variables]

    def count_compilations(self) -> int:
        """How many times a function of this program was compiled: once for each shape of its arguments."""
        return int(
            self._steps.experimental_get_tracing_count() + self._forward.experimental_get_tracing_count()
        )

    def _run_steps(
        self,
        images: Tensor,
        labels: Tensor,
        order: Tensor,
        batch_size: int,
        origin: Tensor,
        first: Tensor,
        last: Tensor,
        done_before: Tensor,
    ) -> Tensor:
        def run_step(step: Tensor) -> list[Tensor]:
            self._clock.step.assign(done_before + step)
            batch = tf.slice(order, [origin + step * batch_size], [batch_size])
            self._train_on(_scale_pixels(tf.gather(images, batch)), tf.gather(labels, batch))
            return [step + 1]

        (end,) = tf.while_loop(lambda step: step < last, run_step, [first])
        return end

    def _train_on(self, images: Tensor, labels: Tensor) -> None:
        trained = self.network.trainable_variables
        seen, targets = self._inputs.prepare(images, labels)
        with tf.GradientTape() as tape:
            [logits], hidden = self._trained(seen, training=True)
            penalty = self._objective.compute_penalty(logits, hidden)
            objective = self._objective.compute_data_loss(logits, targets) + penalty
        gradients = tape.gradient(objective, [variable.value for variable in trained])
        rate = self._optimizer.learning_rate
        self._rules.apply_before_step(rate)
        self._optimizer.apply(self._rules.clip_gradients(gradients), trained)
        self._rules.apply_after_step(rate)
        self.average.update_after_step(self._clock.step)
        size = tf.cast(tf.shape(labels)[0], tf.float64)
        hits = tf.argmax(logits, axis=1, output_type=tf.int32) == targets.dominant
        self._sums["objective"].assign_add(tf.cast(objective, tf.float64) * size)
        self._sums["penalty"].assign_add(tf.cast(penalty, tf.float64) * size)
        self._sums["batch_accuracy"].assign_add(tf.reduce_sum(tf.cast(hits, tf.int32)))


def _scale_pixels(images: Tensor) -> Tensor:
    """Pixels 0 to 255 as numbers 0 to 1."""
    return tf.cast(images, tf.float32) / 255.0


class _Programs(LRUCache[Hashable, CompiledProgram]):
    """The latest used programs, by shape; the compilations of evicted ones stay counted."""

    evicted_compilations = 0

    def popitem(self) -> tuple[Hashable, CompiledProgram]:
        shape, program = super().popitem()
        self.evicted_compilations += program.count_compilations()
        return shape, program


class ProgramCache:
    """What a process caches for its next job: the latest used programs, and datasets on the device."""

    def __init__(self) -> None:
        self._programs = _Programs(_KEPT_PROGRAMS)
        self._images: LRUCache[int, tuple[Bytes, Tensor]] = LRUCache(_KEPT_DATASETS)

    def get(self, spec: JobSpec) -> CompiledProgram:
        """The program for a specification's shape, created if it is not cached, reset for the job."""
        shape = get_program_shape(spec)
        program = self._programs.get(shape)
        if program is None:
            program = self._programs[shape] = CompiledProgram(spec)
        program.configure(spec)
        return program

    def load_to_device(self, examples: Examples) -> DeviceExamples:
        """Examples for `CompiledProgram.run_steps`; a dataset's images are copied to the device once."""
        pool, key = examples.pool, id(examples.pool)
        if key not in self._images:
            # The array is cached beside its copy, so that no other array gets the same id().
            self._images[key] = pool, tf.constant(pool)
        labels = np.zeros(len(pool), np.int32)
        labels[examples.rows] = examples.labels
        return DeviceExamples(self._images[key][1], tf.constant(labels))

    def count_compilations(self) -> int:
        """How many compilations this process has done so far."""
        return self._programs.evicted_compilations + sum(
            program.count_compilations() for program in self._programs.values()
        )


def get_program_shape(spec: JobSpec) -> Hashable:
    """All of a specification that is compiled in; jobs that agree on it share a program."""
    techniques = tuple(
        (
            name,
            *(getattr(technique, field) for field in technique.static_parameters),
            *(bool(getattr(technique, field)) for field in technique.switches),
        )
        for name, technique in spec.regularization.active.items()
        if not technique.between_epochs
    )
    optimizer = spec.training.optimizer
    return (spec.model, spec.dataset.classes, techniques, (optimizer.name, optimizer.momentum))
