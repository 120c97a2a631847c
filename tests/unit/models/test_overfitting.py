"""The test for an onset of overfitting, on values by hand."""

import numpy as np
import pytest

from models.overfitting import Candidate, find_candidate, is_confirmed

RISES = np.array([0.10, 0.11, 0.12, 0.12, 0.11, 0.10])
FALLS = -RISES


def test_either_half_is_tested_from_the_epoch_of_the_other_halfs_minimum() -> None:
    by_half = np.array([[0.5, 0.3, 0.4, 0.6], [0.5, 0.4, 0.3, 0.6]])
    mean = np.array([0.5, 0.34, 0.36, 0.6])
    assert find_candidate([1, 2, 3, 4], mean, by_half) == Candidate(2, (3, 2), 4)


@pytest.mark.parametrize(
    ("first", "second"),
    [([0.5, 0.4, 0.3], [0.5, 0.4, 0.3]), ([0.5, 0.2, 0.3], [0.5, 0.4, 0.3])],
    ids=["falls", "falls in one half"],
)
def test_a_validation_loss_that_falls_has_no_onset(first: list[float], second: list[float]) -> None:
    by_half = np.array([first, second])
    assert find_candidate([1, 2, 3], by_half.mean(axis=0), by_half) is None


def test_a_single_epoch_has_no_onset() -> None:
    assert find_candidate([1], np.array([0.3]), np.array([[0.3], [0.3]])) is None


def test_a_rise_in_both_halves_beside_a_falling_or_constant_training_loss_is_overfitting() -> None:
    assert is_confirmed(RISES, FALLS)
    assert is_confirmed(RISES, np.zeros(6))
    # One-sided p of t = 6.31 with one degree of freedom is 0.05; these have t = 21 and 11.
    assert is_confirmed(np.array([0.10, 0.10, 0.11, 0.12]), np.zeros(4))


def test_a_rise_that_one_half_does_not_share_is_not_overfitting() -> None:
    changes = RISES.copy()
    changes[1] = -0.1
    assert changes.mean() > 0.05
    assert not is_confirmed(changes, FALLS)


def test_a_rise_within_the_scatter_is_not_overfitting() -> None:
    assert not is_confirmed(np.array([0.3, 0.2, -0.1, -0.1, 0.1, 0.2]), FALLS)
    assert not is_confirmed(np.zeros(6), FALLS)


def test_a_training_loss_that_rises_as_well_is_not_overfitting() -> None:
    assert not is_confirmed(RISES, 2 * RISES), "the gap falls"
    assert not is_confirmed(RISES, 0.5 * RISES), "the gap grows"


def test_a_gap_that_does_not_grow_clearly_is_not_overfitting() -> None:
    train_loss = np.array([0.3, -0.3, 0.3, -0.3, -0.1, 0.1])
    assert not is_confirmed(RISES, train_loss)


def test_differences_without_any_scatter_are_clear() -> None:
    assert is_confirmed(np.full(4, 0.1), np.full(4, -0.1))
    assert not is_confirmed(np.full(4, -0.1), np.full(4, -0.2))
