"""What a network's weights look like: norms, zeros, and a digest."""

import hashlib

import keras
import numpy as np
from numpy.typing import NDArray

from models.records import LayerRecord
from worker.network import kernels

NEAR_ZERO = 1e-3
"""A weight below this counts as near zero: a fortieth of what the seed's layers start with."""


def weight_norm(network: keras.Model) -> float:
    """Root of the sum of all squared kernel weights."""
    return float(np.sqrt(sum(_norm(values) ** 2 for values in _values(network))))


def zero_fraction(network: keras.Model) -> float:
    """Share of kernel weights that are exactly zero."""
    values = _values(network)
    return sum(int((value == 0).sum()) for value in values) / sum(value.size for value in values)


def near_zero_fraction(network: keras.Model) -> float:
    """Share of kernel weights that are below `NEAR_ZERO`, exact zeros included."""
    values = _values(network)
    return sum(int((abs(value) < NEAR_ZERO).sum()) for value in values) / sum(value.size for value in values)


def layer_records(network: keras.Model) -> tuple[LayerRecord, ...]:
    """What is to be said of each kernel, from the images to the logits."""
    return tuple(
        _layer_record(kernel.path.split("/")[0], values)
        for kernel, values in zip(kernels(network), _values(network), strict=True)
    )


def _layer_record(name: str, values: NDArray[np.float32]) -> LayerRecord:
    rows = values.reshape(-1, values.shape[-1])
    return LayerRecord(
        name=name,
        shape=tuple(values.shape),
        weight_norm=_norm(values),
        zero_fraction=float((values == 0).mean()),
        near_zero_fraction=float((abs(values) < NEAR_ZERO).mean()),
        zero_inputs_fraction=float((rows == 0).all(axis=1).mean()),
    )


def _values(network: keras.Model) -> list[NDArray[np.float32]]:
    return [kernel.numpy() for kernel in kernels(network)]


def _norm(values: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).sum()))


def weights_sha256(network: keras.Model) -> str:
    """SHA-256 over every weight's name, shape and bytes."""
    digest = hashlib.sha256()
    for variable in network.weights:
        value = variable.numpy()
        digest.update(f"{variable.path}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
