"""The HTML report in a real browser: on a screen, on a phone, on paper."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import pytest

from api.reports import html
from api.reports.rendering import CSP_HEADERS
from tests import comparisons
from tests.acceptance.browsing import NEEDS_CHROMIUM, check_accessibility, check_colours

pytestmark = NEEDS_CHROMIUM

ADDRESS = "http://regbench.test/report"
DESK, PHONE = 1200, 360
LONG = "l2 factor=0.0001 and much else besides, so that it is long, seed by seed, until the end of it"
PAGES = {
    "two variants, one seed": lambda: comparisons.full(("without Dropout", "with Dropout"), seeds=1),
    "three variants": comparisons.full,
    "22 variants": lambda: comparisons.full(
        [f"dropout rate={number / 22:.2f} + l2 factor=0.0001" for number in range(22)]
    ),
    "hard names": lambda: comparisons.full(
        ("<script>alert(1)</script>", LONG, "العربية مع إسقاط", "漢字" * 30, "W" * 100, "$a$ _b_ | *c*"),
        epochs=60,
    ),
    "nothing yet": comparisons.empty,
    "all cancelled": lambda: comparisons.empty([LONG, "W" * 100], state="cancelled"),
}

# For each chart: pairs of texts that overlap, and texts that overflow it. One pixel at each edge is a margin.
TEXT_FAULTS = """svg => {
  const box = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')].map(one => [one.textContent, one.getBoundingClientRect()]);
  const faults = [];
  texts.forEach(([words, one], index) => {
    const inside = one.right < box.right + 1 && one.left > box.left - 1;
    if (!inside || one.bottom > box.bottom + 1 || one.top < box.top - 1)
      faults.push('sticks out: ' + words);
    texts.slice(index + 1).forEach(([others, two]) => {
      const across = Math.min(one.right, two.right) - Math.max(one.left, two.left);
      const up = Math.min(one.bottom, two.bottom) - Math.max(one.top, two.top);
      if (across > 1 && up > 0.35 * Math.min(one.height, two.height)) faults.push(words + ' on ' + others);
    });
  });
  return faults;
}"""


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    opened = browser.new_page()
    yield opened
    opened.close()


@cache
def render(name: str) -> str:
    """The report of that name in PAGES, drawn once for all tests."""
    return html.render(PAGES[name]())


def show(page: Any, name: str, width: int = DESK) -> list[str]:
    """Opens the report that the service returns.

    Returns a live list of the browser's errors and its additional requests.
    """
    complaints: list[str] = []
    body = render(name)

    def answer(route: Any) -> None:
        if route.request.url == ADDRESS:
            route.fulfill(body=body, content_type="text/html", headers=CSP_HEADERS)
        else:
            complaints.append(route.request.url)
            route.abort()

    page.set_viewport_size({"width": width, "height": 800})
    page.route("**", answer)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(ADDRESS)
    return complaints


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [DESK, PHONE])
def test_no_text_overlaps_or_overflows(page: Any, name: str, width: int) -> None:
    assert show(page, name, width) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for chart in page.query_selector_all("figure"):
        faults: Sequence[str] = chart.eval_on_selector("svg", TEXT_FAULTS)
        assert faults == [], chart.get_attribute("id")


def test_text_is_large_enough_on_a_phone(page: Any) -> None:
    show(page, "three variants", PHONE)
    heights = page.eval_on_selector_all(
        "svg text", "all => all.map(one => one.getBoundingClientRect().height)"
    )
    assert min(heights) > 6


def test_tables_scroll_inside_their_box(page: Any) -> None:
    show(page, "three variants", PHONE)
    widths = page.eval_on_selector_all(".scroll", "all => all.map(box => [box.scrollWidth, box.clientWidth])")
    assert any(inner > outer for inner, outer in widths)
    assert all(outer <= PHONE for _, outer in widths)


def test_the_first_layers_images_are_shown_under_the_services_own_policy(page: Any) -> None:
    complaints = show(page, "three variants")
    page.locator("#first-layer").screenshot()
    assert complaints == []
    widths = page.eval_on_selector_all(
        "#first-layer image", "all => all.map(one => one.getBoundingClientRect().width)"
    )
    assert len(widths) == 3
    assert min(widths) > 100


def test_a_sentence_links_to_its_numbers(page: Any) -> None:
    show(page, "three variants")
    page.click("text=dropout against none: test accuracy")
    row = page.locator("tr:target")
    assert row.locator("th").inner_text() == "dropout"
    assert row.is_visible()
    broken = page.eval_on_selector_all("a", "all => all.filter(a => !document.querySelector(a.hash)).length")
    assert broken == 0


@pytest.mark.parametrize("name", ["three variants", "22 variants"])
def test_in_print_every_chart_fits_a_page_and_no_table_is_cut(page: Any, name: str) -> None:
    show(page, name)
    page.emulate_media(media="print")
    # A4 within the page's margins, in pixels of 1/96 inch.
    width, height = (round((size - 28) / 25.4 * 96) for size in (210, 297))
    page.set_viewport_size({"width": width, "height": height})
    for box in (chart.bounding_box() for chart in page.query_selector_all("figure")):
        assert box is not None
        assert box["height"] <= height
        assert box["x"] + box["width"] <= width + 1
    tables = page.eval_on_selector_all(
        "table", "all => all.map(table => table.getBoundingClientRect().right)"
    )
    assert max(tables) <= width + 1
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_the_answer_comes_first_and_the_methods_can_be_pasted(page: Any) -> None:
    show(page, "three variants")
    assert page.locator("h1 + p").get_attribute("class") == "headline"
    headings = page.locator("h2").all_inner_texts()
    assert headings[:4] == ["Differences from none", "The variants", "Methods", "Verdicts"]
    assert "compared with none" in page.locator("h2:text('Methods') + p").inner_text()


def test_the_report_is_readable_in_dark(page: Any) -> None:
    show(page, "three variants")
    check_accessibility(page, "report")
    check_colours(page, "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    hidden = page.locator("details table").evaluate_all(
        "all => all.filter(one => !one.checkVisibility()).length"
    )
    assert hidden == 0


def test_a_screen_reader_can_read_the_report(page: Any) -> None:
    show(page, "three variants")
    headings = page.eval_on_selector_all("h1, h2, h3", "all => all.map(one => +one.tagName[1])")
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))
    assert all(page.eval_on_selector_all("svg", "all => all.map(one => one.getAttribute('aria-label'))"))
    assert page.get_by_role("img", name="Generalization gap by epoch").count() == 1
    assert page.get_by_role("columnheader", name="test accuracy", exact=True).count() == 1
