import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tests.factories import job_spec
from worker.network import build_network
from worker.program import CompiledLayers
from worker.techniques.noise import (
    HashDropout,
    HashedNoise,
    HashGaussianDropout,
    HashGaussianNoise,
    HashSpatialDropout,
    iter_noise_layers,
)
from worker.techniques.randomness import StepClock

UNITS = 4096


def mask(*, seed: int = 0, step: int = 0, layer: str = "dropout_1", rate: float = 0.5) -> np.ndarray:
    """Which of UNITS units a layer keeps, (8, UNITS // 8)."""
    clock = StepClock()
    clock.step.assign(step)
    dropout = HashDropout(clock, layer)
    dropout.set_strength(rate, seed)
    return dropout(tf.ones((8, UNITS // 8)), training=True).numpy() > 0


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_zeroes_the_configured_fraction(rate: float) -> None:
    share = np.mean([mask(step=step, rate=rate).mean() for step in range(50)])
    # 204,800 units: four standard deviations.
    assert share == pytest.approx(1 - rate, abs=4 * np.sqrt(rate * (1 - rate) / (50 * UNITS)))


def test_dropout_keeps_the_expectation_and_is_inactive_at_inference() -> None:
    layer = HashDropout(StepClock(), "dropout_1")
    layer.set_strength(0.25, 0)
    inputs = tf.random.stateless_uniform((64, 4096), seed=[1, 2])
    dropped = layer(inputs, training=True).numpy()
    active = dropped != 0
    assert np.allclose(dropped[active], inputs.numpy()[active] / 0.75)
    assert dropped.mean() == pytest.approx(inputs.numpy().mean(), rel=0.01)
    assert np.array_equal(layer(inputs, training=False), inputs)


def test_masks_repeat_for_the_same_step_seed_and_layer_and_for_no_other() -> None:
    assert np.array_equal(mask(seed=3, step=9), mask(seed=3, step=9))
    variations = {"seed": [0, 1, 2], "step": [0, 1, 1000], "layer": ["dropout_1", "dropout_2"]}
    names, values = variations.keys(), variations.values()
    masks = [mask(**dict(zip(names, choice, strict=True))) for choice in itertools.product(*values)]
    for one, other in itertools.combinations(masks, 2):
        # Independent masks agree on half of the units; five standard deviations.
        assert (one == other).mean() == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(UNITS))


def test_spatial_dropout_zeroes_whole_maps_and_keeps_the_expectation() -> None:
    layer = HashSpatialDropout(StepClock(), "spatial_dropout_1")
    layer.set_strength(0.25, 0)
    inputs = tf.fill((64, 5, 6, 256), 3.0)
    assert np.array_equal(layer(inputs, training=False), inputs)
    maps = layer(inputs, training=True).numpy().reshape(64, 30, 256)
    assert (maps == maps[:, :1]).all()
    active = maps[:, 0] > 0
    assert np.allclose(maps[:, 0][active], 4.0)
    # 16,384 maps: four standard deviations.
    assert active.mean() == pytest.approx(0.75, abs=4 * np.sqrt(0.25 * 0.75 / active.size))
    assert not (active == active[0]).all()


def disturbed(layer_class: type[HashedNoise], strength: float, level: float) -> np.ndarray:
    """A layer's output for 262,144 units with the same activation."""
    layer = layer_class(StepClock(), "noise")
    layer.set_strength(strength, 0)
    inputs = tf.fill((64, 4096), level)
    assert np.array_equal(layer(inputs, training=False), inputs)
    return layer(inputs, training=True).numpy()


def test_gaussian_dropout_keeps_the_mean_and_has_dropouts_variance() -> None:
    values = disturbed(HashGaussianDropout, 0.2, 2.0)
    # 262,144 draws: four standard errors of the mean are 0.008.
    assert values.mean() == pytest.approx(2.0, abs=0.008)
    assert values.std() == pytest.approx(2.0 * np.sqrt(0.2 / 0.8), rel=0.01)


def test_gaussian_noise_is_normal_with_the_configured_standard_deviation() -> None:
    values = disturbed(HashGaussianNoise, 0.3, 0.5)
    assert values.std() == pytest.approx(0.3, rel=0.01)
    assert stats.kstest((values.ravel() - 0.5) / 0.3, "norm").pvalue > 1e-4


def test_each_random_layer_gets_the_strength_of_its_own_technique() -> None:
    spec = job_spec(
        regularization={
            "dropout": {"rate": 0.4, "input_rate": 0.1},
            "gaussian_dropout": {"rate": 0.3},
            "gaussian_noise": {"sigma": 0.2},
        }
    )
    network = build_network(spec, CompiledLayers(StepClock()))
    for layer in iter_noise_layers(network):
        layer.configure(spec)
    strengths = {
        layer.name: round(float(layer._state.strength), 6)
        for layer in network.layers
        if isinstance(layer, HashedNoise)
    }
    assert strengths == {
        "input_noise": 0.2,
        "input_dropout": 0.1,
        "dropout_1": 0.4,
        "gaussian_dropout_1": 0.3,
    }
