"""What is said of weights, on a network whose weights are known."""

import keras
import numpy as np
import pytest

from tests.factories import job_spec
from worker import weights
from worker.network import StockLayers, build_network


@pytest.fixture
def network() -> keras.Model:
    """784-2-10: the first kernel has one weight 3 and one of 1e-4, the second is 0.5 throughout."""
    network = build_network(job_spec(model={"hidden_units": [2]}), StockLayers())
    first = np.zeros((784, 2), np.float32)
    first[0, 0], first[5, 1] = 3.0, 1e-4
    network.set_weights([first, np.full(2, 7.0), np.full((2, 10), 0.5), np.full(10, 7.0)])
    return network


def test_whole_network(network: keras.Model) -> None:
    assert weights.weight_norm(network) == pytest.approx(np.sqrt(9 + 20 * 0.25))
    assert weights.zero_fraction(network) == 1566 / 1588
    assert weights.near_zero_fraction(network) == 1567 / 1588


def test_each_layer(network: keras.Model) -> None:
    first, logits = weights.layer_records(network)
    assert (first.name, first.shape) == ("hidden_1", (784, 2))
    assert first.weight_norm == pytest.approx(3.0)
    assert first.zero_fraction == 1566 / 1568
    assert first.near_zero_fraction == 1567 / 1568
    assert first.zero_inputs_fraction == 782 / 784
    assert (logits.name, logits.shape, logits.zero_inputs_fraction) == ("logits", (2, 10), 0.0)


def test_digest_changes_with_any_weight(network: keras.Model) -> None:
    before = weights.weights_sha256(network)
    assert weights.weights_sha256(network) == before
    bias = network.weights[1]
    bias.assign([7.0, np.nextafter(np.float32(7.0), np.float32(8.0))])
    assert weights.weights_sha256(network) != before
