"""The report's page in a real browser: nothing hangs over the edge, on a desk, on a phone, on paper."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from api.reports import html
from api.reports.routes import CLOSED
from tests.unit.api.test_golden import report

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

HTML = {"Content-Type": "text/html; charset=utf-8"}
WIDER_THAN_THE_PAGE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
OVERLAPPING_TEXT = """
() => [...document.querySelectorAll("svg")].flatMap(svg => {
  const texts = [...svg.querySelectorAll("text")];
  const shown = texts.map(each => [each.textContent, each.getBoundingClientRect()]);
  return shown.flatMap(([text, one], number) => shown.slice(number + 1)
    .filter(([_, other]) => Math.min(one.right, other.right) - Math.max(one.left, other.left) > 2
                         && Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 4)
    .map(([other]) => `${svg.getAttribute("aria-label")}: ${text} / ${other}`));
})
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html.render(report()))
    return path


@pytest.mark.parametrize(("width", "height"), [(1200, 900), (360, 640)])
def test_nothing_hangs_over_the_edge_and_no_text_over_another(
    browser: Browser, page_file: Path, width: int, height: int
) -> None:
    said: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": height})
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    # As the API sends it: a policy that is too strict would leave images out, and say so in the console.
    page.route("http://report/", lambda route: route.fulfill(path=page_file, headers=CLOSED | HTML))
    page.goto("http://report/")
    assert page.locator("svg").count() == 9
    assert page.evaluate(WIDER_THAN_THE_PAGE) <= 0
    assert page.evaluate(OVERLAPPING_TEXT) == []
    assert said == []
    page.close()


def test_a_link_leads_to_its_numbers(browser: Browser, page_file: Path) -> None:
    page = browser.new_page()
    page.goto(page_file.as_uri())
    page.get_by_role("link", name="Its numbers").first.click()
    assert page.url.endswith("#variants")
    page.close()


def test_it_prints_on_paper_without_cut_charts(browser: Browser, page_file: Path) -> None:
    page = browser.new_page(viewport={"width": 720, "height": 1000})
    page.emulate_media(media="print")
    page.goto(page_file.as_uri())
    assert page.evaluate(WIDER_THAN_THE_PAGE) <= 0
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.close()
