"""The charts: whole, the same each time, and readable without colour."""

import re
import xml.etree.ElementTree as ET

import pytest

from api.reports import charts
from api.reports.charts import CHARTS, MOST_VARIANTS
from api.reports.schemas import Comparison
from tests.unit.api.test_reports import compared, job

SVG = "{http://www.w3.org/2000/svg}"


def comparison(*names: str, seeds: int = 2) -> Comparison:
    """Variants that differ a little from seed to seed; the first is the baseline."""
    variants = {
        name: [
            job(name, seed, 0.9 + 0.001 * number + 0.002 * seed, loss=0.1 + 0.01 * seed)
            for seed in range(seeds)
        ]
        for number, name in enumerate(names)
    }
    return compared(variants, baseline=names[0])


def texts(svg: bytes) -> list[str]:
    return ["".join(each.itertext()) for each in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314 (our own drawing)


@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.parametrize("seeds", [1, 3])
def test_each_chart_is_drawn_as_svg_and_png(name: str, seeds: int) -> None:
    found = comparison("none", "dropout", seeds=seeds)
    svg = charts.render(found, name, "svg")
    assert svg is not None
    root = ET.fromstring(svg)  # noqa: S314 (our own drawing)
    assert (root.tag, root.get("role"), root.get("aria-label")) == (f"{SVG}svg", "img", CHARTS[name].title)
    assert root.get("width") is None
    assert root.findtext(f"{SVG}title") == CHARTS[name].title
    assert b"nan" not in svg.lower()
    assert svg == charts.render(found, name, "svg"), "the same numbers, the same drawing"
    png = charts.render(found, name, "png")
    assert png is not None
    assert png.startswith(b"\x89PNG")


@pytest.mark.parametrize("name", CHARTS)
def test_names_are_drawn_as_they_are(name: str) -> None:
    hostile = ["none", "a $\\alpha$ <b>", "_hidden", "x" * 100, "two\nlines"]
    svg = charts.render(comparison(*hostile), name, "svg")
    assert svg is not None
    shown = "\n".join(texts(svg))
    assert "<b>" in shown
    assert "$\\alpha$" in shown
    assert "_hidden" in shown
    assert "x" * 27 + "…" in shown
    assert "x" * 29 not in shown
    assert "two lines" in shown


def test_lines_are_told_apart_without_colour() -> None:
    svg = charts.render(comparison(*"abcdefghij"), "gap", "svg")
    assert svg is not None
    drawn = re.findall(r'stroke-dasharray: ([^;]*);[^"]*stroke: (#[0-9a-f]{6})', svg.decode())
    dash_of = {colour: dash for dash, colour in drawn}
    # The first line is solid, and the axis has no dashes either.
    assert len(dash_of) == len(set(dash_of.values())) == MOST_VARIANTS - 1


def test_more_variants_than_can_be_told_apart_are_left_to_the_tables() -> None:
    names = [f"v{number}" for number in range(30)]
    svg = charts.render(comparison(*names), "accuracy-by-seed", "svg")
    assert svg is not None
    assert [text for text in texts(svg) if text in names] == names[:MOST_VARIANTS]
    all_of_them = charts.render(comparison(*names), "differences", "svg")
    assert all_of_them is not None
    assert set(names[1:]) <= set(texts(all_of_them))
