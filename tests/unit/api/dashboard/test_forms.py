"""The forms derive from the specification, which accepts their initial values."""

from collections.abc import Iterator
from typing import Any

import pytest

from api.dashboard import forms
from api.dashboard.forms import Control, TechniqueChoice
from models.spec import JobSpec, TrainingSpec
from models.techniques import CATALOGUE, Regularization


def iter_controls() -> Iterator[Control]:
    for section in (forms.build_job_section(), *forms.build_sections()):
        for group in section.groups:
            yield from group.controls
    for technique in list_techniques():
        yield from technique.controls


def list_techniques() -> list[TechniqueChoice]:
    return [technique for family in forms.build_families().values() for technique in family]


def put(document: dict[str, Any], pointer: str, value: Any) -> None:
    *path, last = pointer.split("/")[1:]
    for name in path:
        document = document.setdefault(name, {})
    document[last] = value


def test_the_initial_form_is_the_default_job() -> None:
    document: dict[str, Any] = {}
    for section in forms.build_sections():
        for group in section.groups:
            if group.when in (None, ("/model/family", "mlp")):
                for control in group.controls:
                    put(document, control.pointer, control.default)
    assert JobSpec.model_validate(document) == JobSpec()


def test_every_techniques_initial_values_are_its_defaults() -> None:
    assert sorted(technique.name for technique in list_techniques()) == sorted(CATALOGUE)
    for technique in list_techniques():
        document: dict[str, Any] = {}
        for control in technique.controls:
            put(document, control.pointer, control.default)
        regularization = Regularization.model_validate(document["regularization"])
        assert getattr(regularization, technique.name) == CATALOGUE[technique.name]()


def test_every_field_of_a_job_is_on_the_form() -> None:
    def leaves(document: dict[str, Any], under: str = "") -> Iterator[str]:
        for name, value in document.items():
            if isinstance(value, dict) and value:
                yield from leaves(value, f"{under}/{name}")
            else:
                yield f"{under}/{name}"

    on_the_form = {control.pointer for control in iter_controls()}
    for document in ({}, {"model": {"family": "cnn"}}):
        fields = set(leaves(JobSpec.model_validate(document).model_dump(mode="json")))
        assert fields - on_the_form == {"/labels", "/regularization"}


def test_the_initial_rules_are_the_defaults_of_an_experiment() -> None:
    rules = {control.pointer: control.default for control in forms.build_experiment_rules()}
    assert rules == {"/parts": None, "/allow_confounders": False, "/reuse": True, "/split_per_seed": True}


def test_the_form_speaks_of_empty_fields_and_the_specification_of_null() -> None:
    helps = {control.pointer: control.help for control in (*iter_controls(), *forms.build_experiment_rules())}
    assert not [pointer for pointer, text in helps.items() if "null" in text]
    empty = {pointer: text.partition("; empty: ")[2] for pointer, text in helps.items() if "empty" in text}
    assert empty == {
        "/dataset/train_samples": "all of them",
        "/training/steps": "`epochs` passes",
        "/training/max_seconds": "no limit",
    }
    assert helps["/split_per_seed"].endswith("`split_seed` is then the base's plus the seed")
    assert "null: no limit" in str(TrainingSpec.model_fields["max_seconds"].description)


@pytest.mark.parametrize("control", [control for control in iter_controls() if control.scale])
def test_a_slider_covers_the_range_and_the_default(control: Control) -> None:
    assert control.minimum is not None
    assert control.maximum is not None
    assert control.slider_minimum is not None
    assert control.minimum <= control.slider_minimum < control.maximum
    if control.default is not None and control.default > 0:
        assert control.slider_minimum <= control.default <= control.maximum
    assert 0 < control.step <= control.maximum - control.minimum
    assert control.scale == "linear" or control.slider_minimum > 0


def test_values_are_formatted_as_a_user_types_them() -> None:
    texts = [forms.format_value(value) for value in (None, 0.5, 1e-05, 0.0, 3, True, (512, 512), "relu")]
    assert texts == ["", "0.5", "1e-05", "0", "3", "True", "512, 512", "relu"]


def test_axes_may_vary_numeric_fields_and_begin_with_valid_values() -> None:
    choices = [choice for group in forms.build_axis_choices().values() for choice in group]
    pointers = [choice.pointer for choice in choices]
    assert len(pointers) == len(set(pointers))
    assert {"/dataset/train_samples", "/model/hidden_units", "/regularization/l2/factor"} <= {*pointers}
    assert {choice.kind for choice in choices} == {"number", "integer", "numbers"}
    suggested = {choice.pointer: choice.suggested_values for choice in choices}
    assert suggested["/training/epochs"] == "2, 10, 40"
    assert suggested["/regularization/dropout/rate"] == "0.125, 0.5"
