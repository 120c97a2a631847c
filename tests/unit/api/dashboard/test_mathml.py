"""Formulas are written once, as text; pages show them as MathML."""

from xml.etree import ElementTree

import pytest

from api.dashboard.mathml import render_formula
from api.dashboard.pictures import draw_technique
from models.techniques import CATALOGUE


def test_indices_powers_fractions_and_brackets() -> None:
    text = render_formula("w_p / (1 + n)^2")
    assert "<mfrac><msub><mrow><mi>w</mi></mrow><mi>p</mi></msub><msup>" in text
    assert text.endswith("<mo>)</mo></mrow><mn>2</mn></msup></mfrac></mrow></math></div>")
    assert "<mfrac><mi>h</mi><mrow><mrow><mn>1</mn>" in render_formula("h / (1 - rate)")
    assert "<msqrt>" in render_formula("sqrt(units)")
    assert "<mo>|</mo>" in render_formula("sum(abs(w))")
    assert "&lt;" in render_formula("a < b")


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_technique_has_a_formula_and_a_picture_that_browsers_can_parse(name: str) -> None:
    formula = CATALOGUE[name].about.formula
    text = "".join(ElementTree.fromstring(render_formula(formula)).itertext())  # noqa: S314 (our own)
    for word in ("step", "factor", "rate", "patience"):
        assert (word in formula) <= (word in text)
    picture = ElementTree.fromstring(draw_technique(name))  # noqa: S314 (text of our own)
    assert picture.get("aria-label") == picture.findtext("title")
    assert len(picture) > 1
