"""What happens around a step, on small numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.spec import JobSpec
from tests.factories import epoch_record, job_spec
from worker.network import KerasLayers, build_network, get_kernels
from worker.techniques.steps import StepRules, compute_learning_rate


@pytest.fixture
def network() -> keras.Model:
    network = build_network(job_spec(model={"hidden_units": [2, 3]}), KerasLayers())
    stream = np.random.default_rng(0)
    network.set_weights([stream.normal(size=weight.shape) for weight in network.weights])
    return network


def rules_of(network: keras.Model, **regularization: object) -> StepRules:
    spec = job_spec(model={"hidden_units": [2, 3]}, regularization=regularization)
    rules = StepRules(spec, network)
    rules.configure(spec)
    return rules


def test_clipping_shortens_long_gradients_and_leaves_short_ones(network: keras.Model) -> None:
    rules = rules_of(network, gradient_clipping={"norm": 1.0})
    long = [tf.constant([3.0, 0.0]), tf.constant([[4.0]])]  # together of length 5
    assert np.allclose(rules.clip_gradients(long)[0], [0.6, 0.0])
    assert np.allclose(rules.clip_gradients(long)[1], [[0.8]])
    short = [tf.constant([0.3]), tf.constant([0.4])]
    assert np.allclose(rules.clip_gradients(short)[0], [0.3])


def test_decay_shrinks_kernels_by_rate_times_factor_and_leaves_biases(network: keras.Model) -> None:
    before = [weight.numpy() for weight in network.weights]
    rules_of(network, weight_decay={"factor": 0.5}).apply_before_step(0.1)
    for weight, was in zip(network.weights, before, strict=True):
        share = 0.95 if weight.name == "kernel" else 1.0
        assert np.allclose(weight.numpy(), share * was)


def test_proximal_l1_gives_exact_zeros_and_pulls_the_rest_equally_far(network: keras.Model) -> None:
    before = [kernel.numpy() for kernel in get_kernels(network)]
    rules_of(network, proximal_l1={"factor": 0.01}).apply_after_step(10.0)
    for kernel, was in zip(get_kernels(network), before, strict=True):
        now = kernel.numpy()
        small = np.abs(was) <= 0.1
        assert (now[small] == 0).all()
        assert np.allclose(now[~small], was[~small] - 0.1 * np.sign(was[~small]))
    assert any((np.abs(was) <= 0.1).any() for was in before)


def test_max_norm_holds_every_hidden_units_norm_and_leaves_shorter_ones(network: keras.Model) -> None:
    first, second, logits = get_kernels(network)
    second.assign(second.numpy() * 0.01)
    before = second.numpy(), logits.numpy()
    rules_of(network, max_norm={"limit": 3.0}).apply_after_step(0.001)
    assert np.allclose(np.linalg.norm(first.numpy(), axis=0), 3.0)  # 784 normal weights: about 28 before
    assert np.array_equal(second.numpy(), before[0])
    assert np.array_equal(logits.numpy(), before[1])


def test_max_norm_of_a_convolution_bounds_each_filter() -> None:
    spec = job_spec(
        model={"family": "cnn", "filters": [3], "hidden_units": []},
        regularization={"max_norm": {"limit": 0.5}},
    )
    network = build_network(spec, KerasLayers())
    convolution, _logits = get_kernels(network)
    convolution.assign(np.random.default_rng(0).normal(size=convolution.shape))
    rules = StepRules(spec, network)
    rules.configure(spec)
    rules.apply_after_step(0.001)
    assert np.allclose(np.sqrt((convolution.numpy() ** 2).sum(axis=(0, 1, 2))), 0.5)


def test_group_l1_zeroes_weak_rows_and_shrinks_the_others_equally(network: keras.Model) -> None:
    first, second, _ = get_kernels(network)
    weak = np.arange(784) % 3 == 0
    first.assign(np.where(weak[:, None], 0.01, 1.0) * first.numpy())
    before = first.numpy(), second.numpy()
    # Rows have two weights: the threshold is 1.0 * 0.05 * sqrt(2).
    rules_of(network, group_l1={"factor": 0.01}).apply_after_step(5.0)
    was, now = (np.linalg.norm(values, axis=1) for values in (before[0], first.numpy()))
    threshold = 0.05 * np.sqrt(2)
    assert np.allclose(now, np.maximum(was - threshold, 0.0), atol=1e-6)
    assert (first.numpy()[was <= threshold] == 0).all()
    assert (was <= threshold).sum() >= weak.sum() - 10
    directions = first.numpy()[now > 0] / now[now > 0, None]
    assert np.allclose(directions, before[0][now > 0] / was[now > 0, None], atol=1e-5)
    assert np.array_equal(second.numpy(), before[1])


def test_without_a_technique_the_weights_are_unchanged(network: keras.Model) -> None:
    before = [weight.numpy() for weight in network.weights]
    rules = rules_of(network)
    rules.apply_before_step(1.0)
    rules.apply_after_step(1.0)
    assert all(
        np.array_equal(weight.numpy(), was) for weight, was in zip(network.weights, before, strict=True)
    )


def rates(epochs: int, **schedule: object) -> list[float]:
    spec: JobSpec = job_spec(
        training={"epochs": epochs, "optimizer": {"learning_rate": 0.1}},
        regularization={"learning_rate_schedule": schedule},
    )
    history = [epoch_record(epoch) for epoch in range(1, epochs + 1)]
    return [compute_learning_rate(spec, history[:done]) for done in range(epochs)]


def test_schedules_by_hand() -> None:
    assert rates(3, kind="exponential", decay=0.5) == pytest.approx([0.1, 0.05, 0.025])
    assert rates(5, kind="step", decay=0.1, every=2) == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001])
    assert rates(4, kind="cosine", floor=0.2) == pytest.approx(
        [0.1, 0.1 * (0.2 + 0.8 * 0.8535534), 0.1 * 0.6, 0.1 * (0.2 + 0.8 * 0.1464466)]
    )


def test_without_a_schedule_the_rate_is_constant() -> None:
    spec = job_spec(training={"epochs": 9, "optimizer": {"learning_rate": 0.1}})
    assert {compute_learning_rate(spec, [epoch_record(1)] * done) for done in range(9)} == {0.1}


def test_on_a_plateau_the_rate_falls_after_so_many_epochs_without_a_lower_validation_loss() -> None:
    schedule = {"kind": "plateau", "decay": 0.1, "every": 2}
    spec = job_spec(
        training={"epochs": 9, "optimizer": {"learning_rate": 1.0}},
        regularization={"learning_rate_schedule": schedule},
    )
    losses = [0.5, 0.4, 0.4, 0.45, 0.39, 0.5, 0.5, 0.5, 0.5]
    history = [epoch_record(number, validation_loss=loss) for number, loss in enumerate(losses, start=1)]
    followed = [compute_learning_rate(spec, history[:done]) for done in range(len(losses) + 1)]
    assert followed == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001])
