import math
from typing import Any

import pytest

from models.cost import check_budget, compute_flops_per_epoch, estimate_cost
from models.errors import BudgetExceeded
from models.evaluation_spec import EvaluationSpec
from models.settings import Settings
from models.spec import JobSpec
from tests.factories import job_spec

SEED_NETWORK = JobSpec()


def test_parameters_of_the_seed_network() -> None:
    # 785 * 512 + 513 * 512 + 513 * 10, each layer's biases included.
    assert estimate_cost(SEED_NETWORK).parameters == 669_706


@pytest.mark.parametrize(
    ("regularization", "numbers_a_unit"),
    [
        ({"batch_normalization": {}}, 1),  # gamma and beta come, the bias goes
        ({"batch_normalization": {"position": "after_activation"}}, 2),
        ({"layer_normalization": {}}, 1),
        ({"layer_normalization": {"position": "after_activation"}}, 2),
        ({"batch_normalization": {}, "layer_normalization": {}}, 3),
        ({"batch_normalization": {}, "layer_normalization": {"position": "after_activation"}}, 3),
    ],
)
def test_normalization_adds_parameters_to_each_hidden_unit(
    regularization: dict[str, Any], numbers_a_unit: int
) -> None:
    with_it = JobSpec.model_validate({"regularization": regularization})
    assert estimate_cost(with_it).parameters == 669_706 + numbers_a_unit * (512 + 512)


# Images of 28 and 14 pixels a side are convolved; 7 x 7 x 6 numbers are left for the 8 units.
CNN = {"family": "cnn", "filters": [4, 6], "kernel_size": 3, "hidden_units": [8]}
CNN_WEIGHTS = [3 * 3 * 1 * 4, 3 * 3 * 4 * 6, 7 * 7 * 6 * 8, 8 * 10]


def test_parameters_of_a_small_cnn() -> None:
    assert estimate_cost(job_spec(model=CNN)).parameters == sum(CNN_WEIGHTS) + 4 + 6 + 8 + 10
    normalized = job_spec(model=CNN, regularization={"batch_normalization": {}})
    assert estimate_cost(normalized).parameters == sum(CNN_WEIGHTS) + 2 * (4 + 6 + 8) + 10


def test_operations_of_a_small_cnn() -> None:
    # A kernel's weights are used at every pixel of what is convolved.
    first, *others = [
        weights * positions for weights, positions in zip(CNN_WEIGHTS, [28 * 28, 14 * 14, 1, 1], strict=True)
    ]
    per_example = 4 * first + 6 * sum(others)
    assert compute_flops_per_epoch(job_spec(model=CNN)) == per_example * 3_200


def test_a_cnn_without_dense_hidden_layers() -> None:
    model = CNN | {"filters": [2, 2, 2, 2], "kernel_size": 5, "hidden_units": []}
    # 28, 14, 7 and 3 pixels a side: what does not fill a block of 2 x 2 is left out, and one pixel remains.
    kernels = 25 * 1 * 2 + 3 * 25 * 2 * 2 + 1 * 1 * 2 * 10
    assert estimate_cost(job_spec(model=model)).parameters == kernels + 4 * 2 + 10


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({}, "hidden_units"),
        ({"filters": [64, 256]}, "filters"),
        ({"filters": [64, 256], "hidden_units": [64]}, "hidden_units"),
        ({"filters": [64, 256], "hidden_units": []}, "filters"),
        ({"filters": [1], "hidden_units": []}, "filters"),
    ],
)
def test_a_cnn_beyond_the_limit_names_the_most_expensive_field(
    settings: Settings, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(BudgetExceeded) as refused:
        check_budget(job_spec(model=CNN | changes), settings.model_copy(update={"max_parameters": 1}))
    assert [error.pointer for error in refused.value.errors] == [f"/model/{field}"]


def test_operations_of_the_seed_network() -> None:
    # Multiply and add forward, for the weights' gradient and for the inputs'; the images need no gradient.
    weights = 784 * 512 + 512 * 512 + 512 * 10
    per_example = 2 * weights + 2 * weights + 2 * (512 * 512 + 512 * 10)
    assert compute_flops_per_epoch(SEED_NETWORK) == per_example * 48_000
    assert estimate_cost(SEED_NETWORK).training_flops == per_example * 48_000 * 10


def test_damaged_images_are_priced_where_they_are_measured() -> None:
    assert estimate_cost(SEED_NETWORK).robustness_flops == 0
    robust = estimate_cost(SEED_NETWORK.model_copy(update={"evaluation": EvaluationSpec(robustness=True)}))
    forward = 2 * (784 * 512 + 512 * 512 + 512 * 10)
    assert robust.robustness_flops == 12 * 5 * 10_000 * (forward + 1_000_000)
    assert robust.total_flops == robust.training_flops + robust.robustness_flops


def test_answering_the_training_images_is_priced_where_it_is_asked_for() -> None:
    assert estimate_cost(SEED_NETWORK).memorization_flops == 0
    asked = estimate_cost(SEED_NETWORK.model_copy(update={"evaluation": EvaluationSpec(memorization=True)}))
    assert asked.memorization_flops == 2 * (784 * 512 + 512 * 512 + 512 * 10) * 60_000
    assert asked.total_flops == asked.training_flops + asked.memorization_flops


def test_memory_of_the_seed_network() -> None:
    images = (2 * 60_000 + 10_000) * 784  # bytes; the training images also on the device
    weights = 4 * 669_706  # gradients and Adam's two moments too
    batch = 32 * 3 * (512 + 512 + 10)
    assert estimate_cost(SEED_NETWORK).memory_bytes == images + 4 * (weights + batch)


def test_a_convolutions_patches_take_memory() -> None:
    images, parameters = (2 * 4_000 + 1_000) * 784, estimate_cost(job_spec(model=CNN)).parameters
    outputs = 4 * 28 * 28 + 6 * 14 * 14 + 8 + 10
    patches = 9 * 28 * 28 + 9 * 4 * 14 * 14
    batch = 100 * int(3 * outputs + 1.5 * patches)
    spec = job_spec(model=CNN, training={"batch_size": 100})
    assert estimate_cost(spec).memory_bytes == images + 4 * (4 * parameters + batch)


def test_a_batch_that_exceeds_the_memory_limit_is_refused(settings: Settings) -> None:
    """Patches of the second convolution alone: 4,096 x 14 x 14 x 25 x 256 numbers, 20 GB."""
    model = CNN | {"filters": [256, 256], "kernel_size": 5}
    huge = JobSpec.model_validate({"model": model, "training": {"batch_size": 4096, "epochs": 1}})
    with pytest.raises(BudgetExceeded) as refused:
        check_budget(huge, settings)
    (error,) = refused.value.errors
    assert error.pointer == "/training/batch_size"
    assert "43,772 MB of memory" in error.detail
    assert "allows 4,000 MB" in error.detail


def test_a_subset_costs_less() -> None:
    assert estimate_cost(job_spec(dataset={"train_samples": 1000})).training_flops == pytest.approx(
        estimate_cost(job_spec()).training_flops / 4
    )


def test_a_job_at_the_limit_is_accepted(settings: Settings) -> None:
    cost = estimate_cost(SEED_NETWORK)
    limits = {
        "max_parameters": cost.parameters,
        "max_training_flops": cost.training_flops,
        "max_memory_mb": math.ceil(cost.memory_bytes / 1e6),
    }
    assert check_budget(SEED_NETWORK, settings.model_copy(update=limits)) == cost


@pytest.mark.parametrize(
    ("limits", "pointers"),
    [
        ({"max_parameters": 669_705}, ["/model/hidden_units"]),
        ({"max_training_flops": 1e12}, ["/training/epochs"]),
        ({"max_parameters": 1, "max_training_flops": 1.0}, ["/model/hidden_units", "/training/epochs"]),
    ],
)
def test_a_job_beyond_a_limit_is_refused_with_both_figures(
    settings: Settings, limits: dict[str, Any], pointers: list[str]
) -> None:
    with pytest.raises(BudgetExceeded) as refused:
        check_budget(SEED_NETWORK, settings.model_copy(update=limits))
    assert [error.pointer for error in refused.value.errors] == pointers
    if "max_parameters" in limits:
        assert "669,706 parameters" in refused.value.errors[0].detail
        assert f"allows {limits['max_parameters']:,}" in refused.value.errors[0].detail


def test_the_cost_of_jobs_that_differ_only_in_their_seeds_is_computed_once() -> None:
    assert estimate_cost(job_spec(seed=1)) is estimate_cost(job_spec(seed=2))
