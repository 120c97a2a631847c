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
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="takes a Chromium of this machine")
DESK, PHONE = 1280, 360
ELSEWHERE = "plain.example"
"""This machine by a name that is none of its own: browsers trust plain http to it less than to loopback."""
DEADLINE_SECONDS = 300
# What the browser itself writes where the service refuses something, as a form asks it to.
REFUSED = "the server responded with a status of 422"
_AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
_GRAVE = {"serious", "critical"}


@contextmanager
def opened(browser: Any, url: str, path: str, scheme: str, width: int) -> Iterator[Page]:
    """A page in light or dark, so many pixels wide, when all that it asks for has come."""
    page = browser.new_page(base_url=url, viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(path)
    page.wait_for_load_state("networkidle")
    yield page
    page.close()


def wait_until(page: Page, expression: str) -> None:
    """Until an expression is true in the page, whose policy allows nothing that Playwright would wait by."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.1)


def check_access(page: Page, path: str) -> None:
    """It does not scroll sideways, and axe finds nothing that would keep somebody from using it."""
    width = page.viewport_size and page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    page.evaluate(_AXE)
    assert _grave(page, "axe.run()") == []


def check_colours(page: Page, scheme: Literal["dark", "light"]) -> None:
    """What `check_access` has looked at can be read in other colours too; nothing else depends on them."""
    page.emulate_media(color_scheme=scheme)
    assert _grave(page, "axe.run({ runOnly: ['color-contrast'] })") == []


def _grave(page: Page, run: str) -> list[tuple[str, str]]:
    found = page.evaluate(run)["violations"]
    return [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in _GRAVE]
