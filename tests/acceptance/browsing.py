"""A real browser for tests of pages."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, Literal

import pytest
from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
DESK, PHONE = 1280, 360
INSECURE_HOST = "plain.example"
"""A host name of this machine for which browsers, unlike for loopback, treat plain HTTP as insecure."""
DEADLINE_SECONDS = 300
# The browser's console message when the service rejects the dry run of an invalid form.
REJECTED = "the server responded with a status of 422"
_AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
_SEVERE_IMPACTS = {"serious", "critical"}


@contextmanager
def open_page(browser: Any, url: str, path: str, scheme: str, width: int) -> Iterator[Page]:
    """A page in light or dark, `width` pixels wide, once the network is idle."""
    page = browser.new_page(base_url=url, viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(path)
    page.wait_for_load_state("networkidle")
    yield page
    page.close()


def wait_until(page: Page, expression: str) -> None:
    """Wait for an expression; the page's policy forbids the eval() of Playwright's `wait_for_function`."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.1)


def check_accessibility(page: Page, path: str) -> None:
    """Check that the page does not scroll sideways, and has no severe violation of accessibility (axe)."""
    width = page.viewport_size and page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    page.evaluate(_AXE)
    assert _find_violations(page, {}) == []


def check_colours(page: Page, scheme: Literal["dark", "light"]) -> None:
    """Check the contrast in another colour scheme; the rest of `check_accessibility` ignores it."""
    page.emulate_media(color_scheme=scheme)
    assert _find_violations(page, {"runOnly": ["color-contrast"]}) == []


def _find_violations(page: Page, options: dict[str, Any]) -> list[tuple[str, str]]:
    # Describing each element that passes a rule, and sending that here, would take four fifths of the time.
    run = "options => axe.run(options).then(results => results.violations)"
    violations = page.evaluate(run, {**options, "resultTypes": ["violations"]})
    return [
        (item["id"], item["nodes"][0]["html"]) for item in violations if item["impact"] in _SEVERE_IMPACTS
    ]
