"""Statistics of weights, on a network whose weights are known."""

import base64

import keras
import numpy as np
import pytest

from models.records import CalibrationBin
from tests.factories import job_spec
from worker import weights
from worker.network import KerasLayers, build_network


@pytest.fixture
def network() -> keras.Model:
    """784-2-10: the first kernel has one weight 3 and one of 1e-4, the second is 0.5 throughout."""
    network = build_network(job_spec(model={"hidden_units": [2]}), KerasLayers())
    first = np.zeros((784, 2), np.float32)
    first[0, 0], first[5, 1] = 3.0, 1e-4
    network.set_weights([first, np.full(2, 7.0), np.full((2, 10), 0.5), np.full(10, 7.0)])
    return network


def test_weights_of_the_whole_network(network: keras.Model) -> None:
    assert weights.compute_weight_norm(network) == pytest.approx(np.sqrt(9 + 20 * 0.25))
    assert weights.compute_zero_fraction(network) == 1566 / 1588
    assert weights.compute_near_zero_fraction(network) == 1567 / 1588


def test_weights_of_each_layer(network: keras.Model) -> None:
    first, logits = weights.describe_layers(network)
    assert (first.name, first.shape) == ("hidden_1", (784, 2))
    assert first.weight_norm == pytest.approx(3.0)
    assert first.zero_fraction == 1566 / 1568
    assert first.near_zero_fraction == 1567 / 1568
    assert first.zero_inputs_fraction == 782 / 784
    assert (logits.name, logits.shape, logits.zero_inputs_fraction) == ("logits", (2, 10), 0.0)


def test_digest_changes_with_any_weight(network: keras.Model) -> None:
    before = weights.compute_weights_sha256(network)
    assert weights.compute_weights_sha256(network) == before
    bias = network.weights[1]
    bias.assign([7.0, np.nextafter(np.float32(7.0), np.float32(8.0))])
    assert weights.compute_weights_sha256(network) != before


def test_diagnostics_of_a_dense_network(network: keras.Model) -> None:
    bins = (CalibrationBin(5, 0.9, 0.8),)
    diagnostics = weights.compute_diagnostics(network, bins)
    edges = np.array(diagnostics.weight_edges)
    assert (edges == -edges[::-1]).all()
    assert (edges[0], edges[20], edges[-1]) == (-3.0, 0.0, 3.0)
    assert sum(diagnostics.weight_counts) == 22
    assert diagnostics.weight_counts[20] == 1  # 1e-4, in the first bin above zero
    assert diagnostics.weight_counts[np.searchsorted(edges, 0.5, side="right") - 1] == 20
    assert diagnostics.weight_counts[-1] == 1  # the largest is in the last bin, not beyond it
    assert diagnostics.weight_zeros == 1566
    assert diagnostics.calibration == bins
    assert (diagnostics.first_layer_side, diagnostics.first_layer_scale) == (28, 3.0)
    larger, smaller = (np.frombuffer(base64.b64decode(image), np.uint8) for image in diagnostics.first_layer)
    assert (larger[0], set(larger[1:])) == (255, {128})
    assert set(smaller) == {128}  # 1e-4 of 3 is no shade of grey


def test_diagnostics_shows_the_units_of_largest_norm() -> None:
    network = build_network(job_spec(model={"hidden_units": [20]}), KerasLayers())
    kernel = np.zeros((784, 20), np.float32)
    kernel[3] = np.arange(-10, 10)
    _set_first_kernel(network, kernel)
    images = [base64.b64decode(image) for image in weights.compute_diagnostics(network, ()).first_layer]
    expected = [-10, -9, 9, -8, 8, -7, 7, -6, 6, -5, 5, -4]
    assert [image[3] for image in images] == [round(128 + 12.7 * weight) for weight in expected]


def test_diagnostics_of_a_convolution() -> None:
    spec = job_spec(model={"family": "cnn", "filters": [4], "kernel_size": 3, "hidden_units": [8]})
    network = build_network(spec, KerasLayers())
    kernel = np.zeros((3, 3, 1, 4), np.float32)
    kernel[0, 2, 0, 1], kernel[2, 0, 0, 1] = 0.5, -0.5
    _set_first_kernel(network, kernel)
    diagnostics = weights.compute_diagnostics(network, ())
    assert (diagnostics.first_layer_side, diagnostics.first_layer_scale, len(diagnostics.first_layer)) == (
        3,
        0.5,
        4,
    )
    assert list(base64.b64decode(diagnostics.first_layer[0])) == [128, 128, 255, 128, 128, 128, 1, 128, 128]


def test_diagnostics_of_weights_that_are_all_zero(network: keras.Model) -> None:
    network.set_weights([np.zeros_like(weight) for weight in network.get_weights()])
    diagnostics = weights.compute_diagnostics(network, ())
    assert (sum(diagnostics.weight_counts), diagnostics.weight_zeros, diagnostics.first_layer_scale) == (
        0,
        1588,
        0.0,
    )
    assert {*base64.b64decode(diagnostics.first_layer[0])} == {128}


def _set_first_kernel(network: keras.Model, kernel: np.ndarray) -> None:
    next(weight for weight in network.trainable_weights if weight.name == "kernel").assign(kernel)
