"""Losses and penalties against their formulas, by hand."""

import numpy as np
import pytest
import tensorflow as tf

from tests.factories import job_spec
from worker.network import KerasLayers, build_network
from worker.techniques.inputs import Targets
from worker.techniques.loss import Objective

# One example with the probabilities 3/12 and nine times 1/12.
UNSURE = np.array([[np.log(3.0), *[0.0] * 9]], np.float32)


def objective_of(weights: list[np.ndarray] | None = None, **regularization: object) -> Objective:
    spec = job_spec(model={"hidden_units": [2]}, regularization=regularization)
    network = build_network(spec, KerasLayers())
    if weights is not None:
        network.set_weights(weights)
    objective = Objective(spec, network)
    objective.configure(spec)
    return objective


def test_penalty_equals_the_formula_by_hand() -> None:
    hidden, logits = np.zeros((784, 2), np.float32), np.zeros((2, 10), np.float32)
    hidden[0, 0], hidden[1, 1], logits[1, 9] = 3.0, -4.0, 0.5
    weights = [hidden, np.full(2, 100.0), logits, np.full(10, 100.0)]  # biases are not penalized
    objective = objective_of(weights, l1={"factor": 0.01}, l2={"factor": 0.1})
    assert float(objective.compute_penalty(UNSURE, [])) == pytest.approx(
        0.01 * (3 + 4 + 0.5) + 0.1 * (9 + 16 + 0.25)
    )


def test_without_a_technique_the_loss_is_cross_entropy() -> None:
    assert float(objective_of().compute_data_loss(UNSURE, Targets(tf.constant([0])))) == pytest.approx(
        np.log(4)
    )
    assert float(objective_of().compute_penalty(UNSURE, [])) == 0.0


def test_label_smoothing_equals_the_formula_by_hand() -> None:
    loss = objective_of(label_smoothing={"alpha": 0.2}).compute_data_loss(UNSURE, Targets(tf.constant([0])))
    # The truth's target is 0.8 + 0.02, each other's 0.02.
    assert float(loss) == pytest.approx(0.82 * np.log(4) + 9 * 0.02 * np.log(12))


def test_mixed_targets_give_the_mix_of_both_losses() -> None:
    targets = Targets(tf.constant([0]), tf.constant([7]), tf.constant(0.75))
    loss = objective_of().compute_data_loss(UNSURE, targets)
    assert float(loss) == pytest.approx(0.75 * np.log(4) + 0.25 * np.log(12))


def test_activity_penalty_is_a_mean_over_examples_and_a_sum_over_units() -> None:
    outputs = [tf.constant([[1.0, -2.0], [0.0, 5.0]]), tf.constant([[3.0], [1.0]])]
    logits = tf.zeros((2, 10))
    penalty = objective_of(activity_l1={"factor": 0.1}).compute_penalty(logits, outputs)
    assert float(penalty) == pytest.approx(0.1 * (1 + 2 + 5 + 3 + 1) / 2)


def test_confidence_penalty_is_beta_times_the_entropy_below_zero() -> None:
    penalty = objective_of(confidence_penalty={"beta": 0.5}).compute_penalty(UNSURE, [])
    entropy = 0.25 * np.log(4) + 9 / 12 * np.log(12)
    assert float(penalty) == pytest.approx(-0.5 * entropy)
