"""JAX by hand: one compiled scan over the batches, Adam written out. Driven by bench/training.py."""

import os
import time
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp

from bench.child import serve_epochs
from bench.harness import parse_arguments
from bench.workload import BATCH_SIZE, LAYERS, LEARNING_RATE, build_spec, load_split, scale_pixels

# Keras's defaults.
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7

Array = Any
Parameters = list[tuple[Array, Array]]  # a kernel (inputs, outputs) and biases (outputs,) for each layer


class State(NamedTuple):
    """What a step passes to the next."""

    parameters: Parameters
    first_moment: Parameters
    second_moment: Parameters
    steps: Array


def _initialize(key: Array) -> State:
    keys = jax.random.split(key, len(LAYERS) - 1)
    glorot = jax.nn.initializers.glorot_uniform()
    shapes = zip(keys, LAYERS[:-1], LAYERS[1:], strict=True)
    parameters = [(glorot(item, (ins, outs)), jnp.zeros(outs)) for item, ins, outs in shapes]
    first, second = (jax.tree.map(jnp.zeros_like, parameters) for _ in range(2))
    return State(parameters, first, second, jnp.zeros(()))


def _compute_loss(parameters: Parameters, images: Array, labels: Array) -> tuple[Array, Array]:
    *hidden, (kernel, biases) = parameters
    for weights, offsets in hidden:
        images = jax.nn.relu(images @ weights + offsets)
    logits = images @ kernel + biases
    truth = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
    return -truth.mean(), (logits.argmax(axis=1) == labels).sum()


def _run_step(state: State, images: Array, labels: Array) -> tuple[State, tuple[Array, Array]]:
    sums, gradients = jax.value_and_grad(_compute_loss, has_aux=True)(state.parameters, images, labels)
    steps = state.steps + 1
    first = jax.tree.map(lambda m, g: m + (1 - _BETA_1) * (g - m), state.first_moment, gradients)
    second = jax.tree.map(lambda v, g: v + (1 - _BETA_2) * (g * g - v), state.second_moment, gradients)
    rate = LEARNING_RATE * jnp.sqrt(1 - _BETA_2**steps) / (1 - _BETA_1**steps)
    parameters = jax.tree.map(
        lambda p, m, v: p - rate * m / (jnp.sqrt(v) + _EPSILON), state.parameters, first, second
    )
    return State(parameters, first, second, steps), sums


@partial(jax.jit, donate_argnums=0)
def _run_epoch(state: State, images: Array, labels: Array, order: Array) -> tuple[State, Array, Array]:
    """The state after all batches of `order` (n,), the mean loss and the number of hits."""

    def step(state: State, batch: Array) -> tuple[State, tuple[Array, Array]]:
        return _run_step(state, images[batch], labels[batch])

    state, (losses, hits) = jax.lax.scan(step, state, order.reshape(-1, BATCH_SIZE))
    return state, losses.mean(), hits.sum()


def main() -> None:
    """Train an epoch for each line of input."""
    arguments = parse_arguments(__doc__, dataset=None, threads=1)
    # Before the first computation: XLA reads these when it starts.
    os.environ["NPROC"] = str(arguments.threads)
    if arguments.threads == 1:
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    train = load_split(build_spec(arguments.dataset)).train
    if len(train) % BATCH_SIZE:
        raise SystemExit(f"{len(train)} examples do not divide into batches of {BATCH_SIZE}, as this needs")
    images, labels = jnp.asarray(scale_pixels(train.images)), jnp.asarray(train.labels)
    orders, state = np.random.default_rng(0), _initialize(jax.random.key(0))

    def train_epoch() -> float:
        nonlocal state
        started = time.perf_counter()
        order = jnp.asarray(orders.permutation(len(labels)).astype(np.int32))
        state, *_ = jax.block_until_ready(_run_epoch(state, images, labels, order))
        return time.perf_counter() - started

    serve_epochs(train_epoch)
