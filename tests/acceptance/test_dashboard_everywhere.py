"""What every page of the dashboard has, in a real browser: colours, copies, and what it says in trouble."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.browsing import DESK, NEEDS_CHROMIUM, PHONE, check_access, opened

pytestmark = NEEDS_CHROMIUM

BACKGROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_chosen_in_the_header_and_stay(browser: Any, url: str, scheme: str) -> None:
    other = {"light": "dark", "dark": "light"}[scheme]
    with opened(browser, url, "/learn", other, DESK) as page:
        elsewhere = page.evaluate(BACKGROUND)
    with opened(browser, url, "/learn", scheme, DESK) as page:
        own = page.evaluate(BACKGROUND)
        assert own != elsewhere
        page.evaluate("addEventListener('theme', () => { document.body.dataset.told = 'yes'; })")
        colours = page.get_by_label("Colours")
        expect(colours).to_have_value("system")
        colours.focus()
        page.keyboard.press("ArrowDown" if other == "light" else "End")
        expect(colours).to_have_value(other)
        assert page.evaluate(BACKGROUND) == elsewhere
        assert page.evaluate("document.body.dataset.told") == "yes"
        check_access(page, "/learn")

        # On the next page, before its body is there.
        page.add_init_script(
            "document.addEventListener('readystatechange', () => {"
            " window.early ??= document.documentElement.dataset.theme; })"
        )
        page.goto("/jobs")
        assert page.evaluate("window.early") == other
        assert page.evaluate(BACKGROUND) == elsewhere
        page.get_by_label("Colours").select_option("system")
        assert page.evaluate(BACKGROUND) == own
        page.goto("/learn")
        assert page.evaluate(BACKGROUND) == own


def test_colours_chosen_in_one_tab_are_those_of_the_others(page: Page) -> None:
    page.goto("/learn")
    second = page.context.new_page()
    second.goto("/jobs")
    page.get_by_label("Colours").select_option("dark")
    expect(second.get_by_label("Colours")).to_have_value("dark")
    assert second.evaluate(BACKGROUND) == page.evaluate(BACKGROUND)


def test_without_scripts_the_colours_are_the_systems(browser: Any, url: str) -> None:
    backgrounds = []
    for scheme in ("light", "dark"):
        context = browser.new_context(java_script_enabled=False, color_scheme=scheme, base_url=url)
        page = context.new_page()
        page.goto("/learn")
        expect(page.get_by_label("Colours")).to_be_hidden()
        backgrounds.append(page.screenshot(clip={"x": 2, "y": 400, "width": 4, "height": 4}))
        context.close()
    assert backgrounds[0] != backgrounds[1]


def test_forms_work_where_the_page_comes_unencrypted_from_elsewhere(page: Page) -> None:
    # As over plain http from another machine. What was copied can only be looked at by pasting it.
    page.add_init_script(
        "delete Crypto.prototype.randomUUID; delete Navigator.prototype.clipboard;"
        "if (crypto.randomUUID || navigator.clipboard) throw new Error('still there');"
    )
    page.goto("/new")
    expect(page.locator("#price dd").first).to_be_visible()
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_role("button", name="Copied")).to_be_focused()
    line = page.locator("#curl").inner_text()
    page.get_by_role("textbox", name="Name", exact=True).focus()
    page.keyboard.press("Control+v")
    expect(page.get_by_role("textbox", name="Name", exact=True)).to_have_value(line)


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_the_header_fits(browser: Any, url: str, width: int) -> None:
    with opened(browser, url, "/jobs", "light", width) as page:
        check_access(page, "/jobs")
        expect(page.get_by_label("Colours")).to_be_visible()
