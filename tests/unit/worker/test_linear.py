"""The linear model: multinomial logistic regression, for which others have computed the optimum."""

from unittest.mock import Mock

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from models.dataset_arrays import Dataset
from tests.factories import job_spec
from worker.datasets import split_dataset
from worker.program import ProgramCache
from worker.training import train

FACTOR = 0.1


def test_the_optimum_under_l2_is_scikit_learns_at_the_same_penalty(mnist_5k: Dataset) -> None:
    spec = job_spec(
        model={"hidden_units": []},
        dataset={"train_samples": 100, "validation_fraction": 0},
        regularization={"l2": {"factor": FACTOR}},
        training={
            "epochs": 350,
            "batch_size": 100,
            "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.97},
        },
    )
    split = split_dataset(mnist_5k, spec.dataset)
    trained = train(spec, split, Mock(), programs=ProgramCache(), chunk_seconds=10.0)
    # scikit-learn minimizes C * sum(cross-entropy) + sum(w^2) / 2; biases are free in both.
    images, n = split.train.images / np.float32(255), len(split.train)
    reference = LogisticRegression(C=1 / (2 * n * FACTOR), tol=1e-7, max_iter=1000)
    reference.fit(images, split.train.labels)
    log_probabilities = reference.predict_log_proba(images)
    cross_entropy = -log_probabilities[np.arange(n), split.train.labels].mean()
    optimum = cross_entropy + FACTOR * np.square(reference.coef_).sum()
    [kernel] = [weight for weight in trained.model.trainable_weights if weight.name == "kernel"]
    objective = trained.evaluation.train_loss + FACTOR * np.square(kernel.numpy()).sum()
    assert objective == pytest.approx(optimum, rel=1e-4)
    assert trained.evaluation.parameters == 7850
    assert [layer.shape for layer in trained.evaluation.layers] == [(784, 10)]
    # One image for each class, in their order.
    assert len(trained.evaluation.diagnostics.first_layer) == 10


def test_proximal_l1_can_empty_the_whole_kernel_under_adam(mnist_5k: Dataset) -> None:
    spec = job_spec(
        model={"hidden_units": []},
        regularization={"proximal_l1": {"factor": 10}},
        dataset={"train_samples": 100},
        training={"optimizer": {"learning_rate": 0.01}},
    )
    split = split_dataset(mnist_5k, spec.dataset)
    trained = train(spec, split, Mock(), programs=ProgramCache(), chunk_seconds=10.0)
    assert trained.evaluation.zero_weight_fraction == 1
