"""Unknown fields are answered with the ones that were probably meant."""

import json
import time
from typing import Any

import pytest
from pydantic import ValidationError

from models.experiments import ExperimentSpec
from models.spec import JobSpec, get_validation_errors
from models.suggestions import list_field_paths, suggest_field


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        ("learning_rate", "training.optimizer.learning_rate"),
        ("training.learning_rate", "training.optimizer.learning_rate"),
        ("training.lr", "training.optimizer.learning_rate"),
        ("training.optimizer.learing_rate", "training.optimizer.learning_rate"),
        ("epoch", "training.epochs"),
        ("dropout", "regularization.dropout"),
        ("regularisation", "regularization"),
        ("regularization.dropout.p", "regularization.dropout.rate"),
        ("model.hidden_unit", "model.hidden_units"),
        ("xyzzy", None),
        ("x" * 1_000, None),
    ],
)
def test_the_field_of_a_job_that_was_meant(path: str, suggestion: str | None) -> None:
    assert suggest_field(JobSpec, path.split(".")) == suggestion


def test_every_suggestion_is_a_field() -> None:
    for path in list_field_paths(JobSpec):
        assert suggest_field(JobSpec, [*path[:-1], f"{path[-1]}s"]) is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": []}, "did you mean `variants`?"),
        ({"base": {"epochs": 3}}, "did you mean `base.training.epochs`?"),
        ({"variants": [{"name": "a"}, {"name": "b", "change": {}}]}, "did you mean `variants.1.changes`?"),
        ({"training": {}}, "in an experiment it is base.training"),
    ],
)
def test_the_field_of_an_experiment_that_was_meant(changes: dict[str, Any], message: str) -> None:
    document = {"name": "n", "variants": [{"name": "a"}], **changes}
    with pytest.raises(ValidationError) as refused:
        ExperimentSpec.model_validate_json(json.dumps(document))
    assert message in get_validation_errors(refused.value, ExperimentSpec)[0][1]


def test_thousands_of_unknown_fields_take_little_time() -> None:
    with pytest.raises(ValidationError) as refused:
        JobSpec.model_validate({f"learning_rates_{number}": 0 for number in range(5_000)})
    started = time.perf_counter()
    assert len(get_validation_errors(refused.value, JobSpec)) == 5_000
    assert time.perf_counter() - started < 2
