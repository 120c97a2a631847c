"""The catalogue: every technique is documented, and its bounds and defaults agree."""

from dataclasses import fields
from typing import Any

import pytest

from models.techniques import CATALOGUE, Regularization, TechniqueCard


@pytest.fixture(params=CATALOGUE)
def technique(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def _parameters(technique: str) -> dict[str, dict[str, Any]]:
    return CATALOGUE[technique].model_json_schema().get("properties", {})


def test_the_catalogue_lists_every_technique_of_a_job() -> None:
    assert list(CATALOGUE) == list(Regularization.model_fields)
    for name, technique in CATALOGUE.items():
        assert Regularization.model_fields[name].annotation == technique | None


def test_every_technique_explains_itself(technique: str) -> None:
    about = CATALOGUE[technique].about
    assert isinstance(about, TechniqueCard)
    assert CATALOGUE[technique].__doc__
    for field in fields(TechniqueCard):
        assert getattr(about, field.name).strip(), f"{technique} says nothing about its {field.name}"


def test_every_parameter_is_described_and_bounded(technique: str) -> None:
    for name, schema in _parameters(technique).items():
        assert schema.get("description"), f"{technique}.{name}"
        assert "default" in schema, f"{technique}.{name}"
        if schema["type"] in ("number", "integer"):
            assert "maximum" in schema, f"{technique}.{name}"
            assert schema["minimum"] <= schema["default"] <= schema["maximum"]
        else:
            assert schema["type"] == "boolean" or schema["default"] in schema["enum"]


def test_a_technique_that_is_off_is_not_in_the_document() -> None:
    assert Regularization().model_dump(mode="json") == {}
    assert Regularization.model_validate({"l1": None, "l2": {}}).model_dump() == {"l2": {"factor": 1e-4}}


@pytest.mark.parametrize(
    ("document", "active"),
    [
        ({"augmentation": {}}, True),
        ({"augmentation": {"shift": 0, "rotation": 0}}, False),
        ({"augmentation": {"shift": 0, "rotation": 0, "zoom": 0.1}}, True),
        ({"augmentation": {"shift": 0, "rotation": 0, "elastic": 8}}, True),
        ({"dropout": {"rate": 0}}, False),
        ({"dropout": {"rate": 0, "input_rate": 0.2}}, True),
        ({"mixup": {"alpha": 0}}, False),
        ({"exponential_moving_average": {"decay": 0}}, False),
        ({"stochastic_weight_averaging": {"start": 0}}, True),
    ],
)
def test_a_technique_is_a_no_op_only_if_it_has_no_effect(document: dict[str, Any], active: bool) -> None:
    assert list(Regularization.model_validate(document).active) == (list(document) if active else [])


@pytest.mark.parametrize("name", [name for name, cls in CATALOGUE.items() if cls.strength_parameter])
def test_a_strength_is_positive_and_a_no_op_at_zero(name: str) -> None:
    cls = CATALOGUE[name]
    assert cls().strength > 0
    assert not cls().is_noop
    assert cls.strength_parameter
    if name in {"max_norm", "gradient_clipping"}:  # no limit at all is no limit of 0
        assert _parameters(name)[cls.strength_parameter]["minimum"] > 0
    else:
        assert cls.model_validate({cls.strength_parameter: 0}).is_noop


def test_names_follow_the_catalogue_whatever_the_order_of_the_document() -> None:
    everything = Regularization.model_validate({name: {} for name in reversed(CATALOGUE)})
    assert list(everything.model_dump()) == list(CATALOGUE)
