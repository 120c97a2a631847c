from typing import Any

import pytest

from models.errors import OverBudget
from models.pricing import check_budget, flops_per_epoch, price
from models.settings import Settings
from models.spec import JobSpec
from tests.factories import job_spec

SEED_NETWORK = JobSpec()


def test_parameters_of_the_seed_network() -> None:
    # 785 * 512 + 513 * 512 + 513 * 10, each layer's biases included.
    assert price(SEED_NETWORK).parameters == 669_706


def test_batch_normalization_adds_a_number_a_unit() -> None:
    with_it = JobSpec.model_validate({"regularization": {"batch_normalization": {}}})
    assert price(with_it).parameters == 669_706 + 512 + 512


def test_operations_of_the_seed_network() -> None:
    # Multiply and add forward, for the weights' gradient and for the inputs'; the images need no gradient.
    weights = 784 * 512 + 512 * 512 + 512 * 10
    per_example = 2 * weights + 2 * weights + 2 * (512 * 512 + 512 * 10)
    assert flops_per_epoch(SEED_NETWORK) == per_example * 48_000
    assert price(SEED_NETWORK).training_flops == per_example * 48_000 * 10


def test_memory_of_the_seed_network() -> None:
    numbers = 70_000 * 784 + 4 * 669_706  # images; weights, gradients and Adam's two moments
    assert price(SEED_NETWORK).memory_bytes == 4 * numbers


def test_a_subset_costs_less() -> None:
    assert price(job_spec(dataset={"train_samples": 1000})).training_flops == pytest.approx(
        price(job_spec()).training_flops / 4
    )


def test_a_job_at_the_limit_is_accepted(settings: Settings) -> None:
    cost = price(SEED_NETWORK)
    limits = {"max_parameters": cost.parameters, "max_training_flops": cost.training_flops}
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
    with pytest.raises(OverBudget) as refused:
        check_budget(SEED_NETWORK, settings.model_copy(update=limits))
    assert [error.pointer for error in refused.value.errors] == pointers
    if "max_parameters" in limits:
        assert "669,706 parameters" in refused.value.errors[0].detail
        assert f"allows {limits['max_parameters']:,}" in refused.value.errors[0].detail
