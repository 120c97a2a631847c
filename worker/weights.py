"""What a network's weights look like: norms, zeros, and a digest."""

import base64
import hashlib
import math

import keras
import numpy as np
from numpy.typing import NDArray

from models.records import CalibrationBin, DiagnosticsRecord, LayerRecord
from worker.network import get_kernels

NEAR_ZERO = 1e-3
"""A weight below this counts as near zero: a fortieth of what the seed's layers start with."""
_BINS_A_SIDE = 20
_UNITS_SHOWN = 12


def compute_weight_norm(network: keras.Model) -> float:
    """Root of the sum of all squared kernel weights."""
    return float(np.sqrt(sum(_norm(values) ** 2 for values in _values(network))))


def compute_zero_fraction(network: keras.Model) -> float:
    """Share of kernel weights that are exactly zero."""
    values = _values(network)
    return sum(int((value == 0).sum()) for value in values) / sum(value.size for value in values)


def compute_near_zero_fraction(network: keras.Model) -> float:
    """Share of kernel weights that are below `NEAR_ZERO`, exact zeros included."""
    values = _values(network)
    return sum(int((abs(value) < NEAR_ZERO).sum()) for value in values) / sum(value.size for value in values)


def describe_layers(network: keras.Model) -> tuple[LayerRecord, ...]:
    """A record of each kernel, from the images to the logits."""
    return tuple(
        LayerRecord(
            name=kernel.path.split("/")[0],
            shape=tuple(values.shape),
            weight_norm=_norm(values),
            zero_fraction=float((values == 0).mean()),
            near_zero_fraction=float((abs(values) < NEAR_ZERO).mean()),
            zero_inputs_fraction=float((values.reshape(-1, values.shape[-1]) == 0).all(axis=1).mean()),
        )
        for kernel, values in zip(get_kernels(network), _values(network), strict=True)
    )


def compute_diagnostics(network: keras.Model, calibration: tuple[CalibrationBin, ...]) -> DiagnosticsRecord:
    """What charts of this one model show: its weights, and the measured `calibration`."""
    values = _values(network)
    # Zero is exactly one of the edges, so that no bin holds weights of both signs.
    half = np.linspace(0.0, max(float(abs(value).max()) for value in values) or 1.0, _BINS_A_SIDE + 1)
    edges = np.concatenate([-half[:0:-1], half])
    counts = sum(np.histogram(value[value != 0], edges)[0] for value in values)
    # The first kernel is (pixels, units) of a dense layer, or (side, side, 1, filters) of a convolution. Its
    # units of largest norm become images of bytes, 128 for a weight of 0. A linear model's only kernel has a
    # unit for each class: all of them, in their order.
    units = values[0].reshape(-1, values[0].shape[-1]).T.astype(np.float64)
    by_norm = np.argsort(-np.linalg.norm(units, axis=1), kind="stable")[:_UNITS_SHOWN]
    strongest = units[by_norm] if len(values) > 1 else units
    scale = float(abs(strongest).max())
    images = np.rint(128 + 127 * strongest / (scale or 1.0)).astype(np.uint8)
    return DiagnosticsRecord(
        weight_edges=tuple(edges.tolist()),
        weight_counts=tuple(np.asarray(counts).tolist()),
        weight_zeros=sum(int((value == 0).sum()) for value in values),
        calibration=calibration,
        first_layer=tuple(base64.b64encode(image.tobytes()).decode() for image in images),
        first_layer_side=math.isqrt(units.shape[1]),
        first_layer_scale=scale,
    )


def _values(network: keras.Model) -> list[NDArray[np.float32]]:
    return [kernel.numpy() for kernel in get_kernels(network)]


def _norm(values: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).sum()))


def compute_weights_sha256(network: keras.Model) -> str:
    """SHA-256 over every weight's name, shape and bytes."""
    digest = hashlib.sha256()
    for variable in network.weights:
        value = variable.numpy()
        digest.update(f"{variable.path}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
