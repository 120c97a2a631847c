from itertools import combinations
from typing import Any

import pytest

from models.documents import create_merge_patch, merge_patch
from models.formatting import format_count, format_techniques
from models.spec import JobSpec
from models.techniques import CATALOGUE


def build_regularization(**techniques: dict[str, Any]) -> dict[str, Any]:
    document = JobSpec.model_validate({"regularization": techniques}).model_dump(mode="json")
    regularization: dict[str, Any] = document["regularization"]
    return regularization


@pytest.mark.parametrize(
    ("techniques", "name"),
    [
        ({}, "none"),
        ({"batch_normalization": {}}, "Batch normalization momentum 0.9"),
        (
            {"batch_normalization": {"position": "after_activation"}},
            "Batch normalization momentum 0.9, position after activation",
        ),
        ({"layer_normalization": {}}, "Layer normalization"),
        ({"l2": {"factor": 0.0}}, "L2 0"),
        (
            {"early_stopping": {"monitor": "validation_accuracy", "restore_best": False}},
            "Early stopping monitor validation accuracy, patience 5, start epoch 1, restore best false",
        ),
        (
            {"learning_rate_schedule": {"kind": "step"}},
            "Learning-rate schedule kind step, decay 0.5, every 5",
        ),
        ({"dropout": {}, "l2": {}}, "Dropout 0.5 + L2 0.0001"),
    ],
)
def test_f8_a_name_distinguishes_techniques(techniques: dict[str, Any], name: str) -> None:
    assert format_techniques(build_regularization(**techniques)) == name


@pytest.mark.parametrize("technique", CATALOGUE)
def test_f8_each_value_of_each_parameter_has_its_own_name(technique: str) -> None:
    """Numbers, words, switches and zeros alike."""
    defaults = CATALOGUE[technique]().model_dump(mode="json")
    variants = [defaults]
    for name, schema in CATALOGUE[technique].model_json_schema()["properties"].items():
        values = schema.get("enum") or ([True, False] if schema["type"] == "boolean" else [0, 1, 2])
        variants += [defaults | {name: value} for value in values if value != defaults[name]]
    for one, other in combinations(variants, 2):
        assert format_techniques({technique: one}) != format_techniques({technique: other})


def test_f8_a_technique_unknown_to_this_release_has_a_name() -> None:
    assert format_techniques({"new": {"mode": "fast", "rate": 0.5}}) == "new mode fast, rate 0.5"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 jobs"), (1, "1 job"), (2, "2 jobs"), (1200, "1,200 jobs")]
)
def test_f24_a_noun_agrees_with_its_count(count: int, text: str) -> None:
    assert format_count(count, "job") == text


@pytest.mark.parametrize(
    ("document", "target"),
    [
        ({}, {}),
        ({"a": 1, "b": {"c": 1, "d": [1]}}, {"a": 1, "b": {"c": 2}}),
        ({"family": "mlp", "units": [1]}, {"family": "cnn", "units": [1], "filters": [8]}),
        ({"a": {"b": 1}}, {"a": 1}),
        ({"a": 1}, {"a": {"b": 1}, "e": {}}),
    ],
)
def test_f7_a_created_patch_makes_the_target(document: dict[str, Any], target: dict[str, Any]) -> None:
    assert merge_patch(document, create_merge_patch(document, target)) == target
