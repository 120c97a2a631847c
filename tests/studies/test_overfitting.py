"""How often an onset of overfitting is found: simulated learning curves with known truth."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from models.overfitting import FEWEST_SEEDS, find_candidate, is_confirmed
from models.statistics import ALPHA

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int], Array]
SD = 0.01
MANY, FEW = 2000, 200


def independent(generator: np.random.Generator, seeds: int, epochs: int) -> Array:
    return generator.normal(size=(seeds, epochs))


def autocorrelated(generator: np.random.Generator, seeds: int, epochs: int) -> Array:
    """Of order one, with a correlation of 0.9 between epochs and a variance of one."""
    noise = generator.normal(size=(seeds, epochs))
    for epoch in range(1, epochs):
        noise[:, epoch] = 0.9 * noise[:, epoch - 1] + np.sqrt(0.19) * noise[:, epoch]
    return noise


def with_seed_effect(generator: np.random.Generator, seeds: int, epochs: int) -> Array:
    return independent(generator, seeds, epochs) + 3 * generator.normal(size=(seeds, 1))


def random_walk(generator: np.random.Generator, seeds: int, epochs: int) -> Array:
    return generator.normal(size=(seeds, epochs)).cumsum(axis=1)


def skewed(generator: np.random.Generator, seeds: int, epochs: int) -> Array:
    return generator.lognormal(size=(seeds, epochs))


def heavy_tailed(generator: np.random.Generator, seeds: int, epochs: int) -> Array:
    return generator.standard_t(2.5, size=(seeds, epochs))


def find_onset(validation_loss: Array, train_loss: Array) -> int | None:
    """As reports do, from all losses (seeds, epochs); an integration test compares the two."""
    seeds, epochs = validation_loss.shape
    if seeds < FEWEST_SEEDS:
        return None
    by_half = np.array([validation_loss[half::2].mean(axis=0) for half in (0, 1)])
    candidate = find_candidate(range(epochs), validation_loss.mean(axis=0), by_half)
    if candidate is None:
        return None
    earlier = np.resize(candidate.tested_from, seeds)
    changes = [
        losses[:, candidate.last] - losses[range(seeds), earlier] for losses in (validation_loss, train_loss)
    ]
    return candidate.epoch if is_confirmed(*changes) else None


def compute_share(
    number: int, draw: Draw, seeds: int, validation: Array, training: Array, *, patience: int | None = None
) -> float:
    """The share of variants with an onset, where losses scatter by noise around these true curves.

    With `patience` each seed stops after so many epochs without a new minimum.
    """
    generator = np.random.default_rng(0)
    results = []
    for _ in range(number):
        losses = validation + SD * draw(generator, seeds, len(validation))
        train_losses = training + 0.1 * SD * draw(generator, seeds, len(training))
        if patience is not None:
            lowest = np.minimum.accumulate(losses, axis=1)
            waited = lowest[:, patience:] == lowest[:, :-patience]
            stops = np.where(waited.any(axis=1), waited.argmax(axis=1) + patience, losses.shape[1] - 1)
            losses, train_losses = (array[:, : stops.min() + 1] for array in (losses, train_losses))
        results.append(find_onset(losses, train_losses) is not None)
    return float(np.mean(results))


def compute_share_on_flat_curves(number: int, draw: Draw, seeds: int, epochs: int, **more: int) -> float:
    return compute_share(number, draw, seeds, np.full(epochs, 0.3), np.linspace(0.3, 0.1, epochs), **more)


def compute_power(number: int, draw: Draw, seeds: int, epochs: int, training: Array) -> float:
    """Where the validation loss falls for 40 % of the epochs, then rises by two sd of paired differences."""
    start = round(0.4 * epochs) - 1
    scatter = draw(np.random.default_rng(1), 20_000, epochs)
    rise = 2 * SD * float(np.std(scatter[:, -1] - scatter[:, start]))
    curve = np.interp(range(epochs), (0, start, epochs - 1), (0.3 + 2 * rise, 0.3, 0.3 + rise))
    return compute_share(number, draw, seeds, curve, training)


DRAWS = [independent, autocorrelated, with_seed_effect, random_walk, skewed, heavy_tailed]


@pytest.mark.parametrize("draw", [independent, autocorrelated, with_seed_effect])
def test_on_a_few_flat_curves_almost_no_onset_is_found(draw: Draw) -> None:
    for seeds in (2, 10):
        for epochs in (10, 30, 100):
            share = compute_share_on_flat_curves(FEW, draw, seeds, epochs)
            assert share <= ALPHA, (seeds, epochs)


@pytest.mark.parametrize("draw", [independent, autocorrelated, with_seed_effect])
def test_an_onset_is_found_on_most_of_a_few_curves_that_rise(draw: Draw) -> None:
    for epochs in (10, 30, 100):
        assert compute_power(FEW, draw, 10, epochs, np.linspace(0.3, 0.1, epochs)) >= 0.8, epochs


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 4, 5, 6, 10, 30])
@pytest.mark.parametrize("epochs", [10, 30, 100])
@pytest.mark.parametrize("draw", DRAWS)
def test_on_flat_curves_an_onset_is_found_in_at_most_five_percent(
    draw: Draw, epochs: int, seeds: int, record_property: Callable[[str, object], None]
) -> None:
    share = compute_share_on_flat_curves(MANY, draw, seeds, epochs)
    record_property("share", share)
    assert share <= ALPHA


@pytest.mark.slow
@pytest.mark.parametrize("patience", [1, 3, 10])
@pytest.mark.parametrize("draw", DRAWS)
def test_jobs_that_stop_early_on_flat_curves_have_an_onset_in_at_most_five_percent(
    draw: Draw, patience: int, record_property: Callable[[str, object], None]
) -> None:
    for seeds in (4, 10):
        share = compute_share_on_flat_curves(MANY, draw, seeds, 100, patience=patience)
        record_property(f"share with {seeds} seeds", share)
        assert share <= ALPHA, seeds


@pytest.mark.slow
@pytest.mark.parametrize("training", ["falls", "stays"])
@pytest.mark.parametrize("epochs", [10, 30, 100])
@pytest.mark.parametrize("draw", DRAWS)
def test_an_onset_is_found_in_four_of_five_curves_that_rise(
    draw: Draw, epochs: int, training: str, record_property: Callable[[str, object], None]
) -> None:
    curve = np.linspace(0.3, 0.1 if training == "falls" else 0.3, epochs)
    share = compute_power(MANY, draw, 10, epochs, curve)
    record_property("share", share)
    # Outliers of a standard deviation that only many runs reveal; a training loss that stays costs 5 % more.
    assert share >= (0.75 if draw is heavy_tailed and training == "stays" else 0.8)


@pytest.mark.parametrize("number", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("draw", [independent, autocorrelated, with_seed_effect])
def test_an_underfitted_variant_whose_training_loss_rises_as_well_is_not_called_overfitting(
    draw: Draw, number: int
) -> None:
    """Both losses rise by about as much; then the validation loss by half as much again."""
    falling, rising = np.linspace(0.4, 0.3, 12), np.linspace(0.3, 0.34, 19)[1:]
    training = np.concatenate([falling, rising])
    for factor in (1.0, 1.5):
        validation = np.concatenate([falling, 0.3 + factor * (rising - 0.3)]) + 0.01
        assert compute_share(number, draw, 10, validation, training) <= ALPHA, factor
