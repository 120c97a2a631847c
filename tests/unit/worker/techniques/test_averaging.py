"""Averages of weights against their formulas, on small numbers."""

import keras
import numpy as np
import pytest

from models.spec import JobSpec
from tests.factories import job_spec
from worker.network import KerasLayers, build_network
from worker.techniques.averaging import WeightAverage


def spec_of(**regularization: object) -> JobSpec:
    return job_spec(model={"hidden_units": [2]}, regularization=regularization, training={"epochs": 10})


@pytest.fixture
def network() -> keras.Model:
    return build_network(spec_of(), KerasLayers())


def fill(network: keras.Model, value: float) -> None:
    network.set_weights([np.full(weight.shape, value) for weight in network.weights])


def average_of(network: keras.Model, spec: JobSpec, start: float) -> WeightAverage:
    fill(network, start)
    average = WeightAverage(spec, network)
    average.configure(spec)
    return average


def averaged(average: WeightAverage, network: keras.Model) -> float:
    with average.swapped_in():
        [value] = {float(value) for weight in network.get_weights() for value in weight.ravel()}
    return value


def test_moving_average_by_hand(network: keras.Model) -> None:
    spec = spec_of(exponential_moving_average={"decay": 0.24})
    average = average_of(network, spec, start=1.0)
    fill(network, 2.0)
    average.update_after_step(0)  # the first decays are (1 + 1) / (10 + 1) and (1 + 2) / (10 + 2), then 0.24
    first = 2 / 11 * 1.0 + 9 / 11 * 2.0
    assert averaged(average, network) == pytest.approx(first)
    fill(network, 4.0)
    average.update_after_step(1)
    second = 0.24 * first + 0.76 * 4.0
    assert averaged(average, network) == pytest.approx(second)
    # The newest weights train on, until the average is adopted for good.
    assert network.get_weights()[0].max() == 4.0
    average.copy_to_network()
    assert network.get_weights()[0].max() == pytest.approx(second)


def test_stochastic_average_is_the_mean_of_the_later_epochs(network: keras.Model) -> None:
    average = average_of(network, spec_of(stochastic_weight_averaging={"start": 0.7}), start=1.0)
    seen = []
    for epoch in range(1, 11):
        fill(network, float(epoch**2))
        average.update_after_step(epoch)
        average.update_after_epoch(epoch)
        seen.append(averaged(average, network))
    # No epoch is averaged before seven of ten have passed.
    assert seen == pytest.approx([*(n**2 for n in range(1, 8)), 64, (64 + 81) / 2, (64 + 81 + 100) / 3])


def test_each_job_starts_a_new_average(network: keras.Model) -> None:
    spec = spec_of(stochastic_weight_averaging={"start": 0.0})
    average = average_of(network, spec, start=5.0)
    average.update_after_epoch(1)
    fill(network, 1.0)
    average.configure(spec)
    assert averaged(average, network) == 1.0
    fill(network, 3.0)
    average.update_after_epoch(1)
    assert averaged(average, network) == 3.0


def test_without_averaging_no_state_is_stored_and_no_weight_changed(network: keras.Model) -> None:
    average = average_of(network, spec_of(), start=1.0)
    fill(network, 2.0)
    average.update_after_step(0)
    average.update_after_epoch(1)
    average.copy_to_network()
    assert averaged(average, network) == 2.0


def test_f4_averaging_starts_after_the_configured_share_of_epochs(network: keras.Model) -> None:
    for epochs in (50, 100, 1_000):
        for percent in range(100):
            spec = job_spec(
                model={"hidden_units": [2]},
                regularization={"stochastic_weight_averaging": {"start": percent / 100}},
                training={"epochs": epochs},
            )
            average = WeightAverage(spec, network)
            average.configure(spec)
            assert average._waits == percent * epochs // 100
