"""The forms are made from the specification: what they begin with, it takes."""

from collections.abc import Iterator
from typing import Any

import pytest

from api.dashboard import forms
from api.dashboard.forms import Control, TechniqueChoice
from models.spec import JobSpec
from models.techniques import CATALOGUE, Regularization


def all_controls() -> Iterator[Control]:
    for section in (forms.job(), *forms.sections()):
        for group in section.groups:
            yield from group.controls
    for technique in techniques():
        yield from technique.controls


def techniques() -> list[TechniqueChoice]:
    return [technique for family in forms.families() for technique in family.techniques]


def put(document: dict[str, Any], pointer: str, value: Any) -> None:
    *path, last = pointer.split("/")[1:]
    for name in path:
        document = document.setdefault(name, {})
    document[last] = value


def test_the_form_as_it_opens_is_the_job_that_an_empty_document_means() -> None:
    document: dict[str, Any] = {}
    for section in forms.sections():
        for group in section.groups:
            if group.when in (None, ("/model/family", "mlp")):
                for control in group.controls:
                    put(document, control.pointer, control.default)
    assert JobSpec.model_validate(document) == JobSpec()


def test_every_technique_can_be_switched_on_as_it_opens() -> None:
    assert sorted(technique.name for technique in techniques()) == sorted(CATALOGUE)
    for technique in techniques():
        document: dict[str, Any] = {}
        for control in technique.controls:
            put(document, control.pointer, control.default)
        given = Regularization.model_validate(document["regularization"])
        assert getattr(given, technique.name) == CATALOGUE[technique.name]()


def test_every_field_of_a_job_is_on_the_form() -> None:
    def leaves(document: dict[str, Any], under: str = "") -> Iterator[str]:
        for name, value in document.items():
            if isinstance(value, dict) and value:
                yield from leaves(value, f"{under}/{name}")
            else:
                yield f"{under}/{name}"

    there = {control.pointer for control in all_controls()}
    for document in ({}, {"model": {"family": "cnn"}}):
        wanted = set(leaves(JobSpec.model_validate(document).model_dump(mode="json")))
        assert wanted - there == {"/labels", "/regularization"}


@pytest.mark.parametrize("control", [each for each in all_controls() if each.scale])
def test_a_slider_reaches_from_end_to_end_and_holds_the_default(control: Control) -> None:
    assert control.least is not None
    assert control.most is not None
    assert control.slider_least is not None
    assert control.least <= control.slider_least < control.most
    if control.default is not None and control.default > 0:
        assert control.slider_least <= control.default <= control.most
    assert 0 < control.step <= control.most - control.least
    assert control.scale == "linear" or control.slider_least > 0


def test_numbers_are_shown_as_a_person_types_them() -> None:
    shown = [forms.shown(value) for value in (None, 0.5, 1e-05, 0.0, 3, True, (512, 512), "relu")]
    assert shown == ["", "0.5", "1e-05", "0", "3", "True", "512, 512", "relu"]
