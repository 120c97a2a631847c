"""The overview and the header of every page in a real browser."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from regbench.client import Regbench
from tests.acceptance.browsing import (
    DESK,
    NEEDS_CHROMIUM,
    PHONE,
    check_accessibility,
    check_colours,
    open_page,
)
from tests.acceptance.conftest import DEADLINE_SECONDS
from tests.factories import job_spec

pytestmark = NEEDS_CHROMIUM

TIMEOUT_MS = 1000 * DEADLINE_SECONDS
EXPERIMENT = re.compile(r"/experiments/(exp_\w+)$")


def ask(page: Page, question: str) -> str:
    """Click a question of the overview; returns the id of the experiment whose page opens."""
    page.goto("/")
    page.get_by_role("button", name=question).click()
    page.wait_for_url(EXPERIMENT)
    return EXPERIMENT.search(page.url)[1]  # type: ignore[index]


def test_one_click_answers_whether_dropout_helps(page: Page, client: Regbench) -> None:
    experiment = client.experiment(ask(page, "Does dropout help?"))
    expect(page).to_have_title(re.compile(r"^✓ .*dropout.* - Regbench$"), timeout=TIMEOUT_MS)
    headline = experiment.wait().headline
    assert headline is not None
    assert headline.startswith("dropout ")
    page.goto("/")
    expect(page.locator("#verdicts li").first).to_contain_text(headline)


def test_one_click_asks_for_the_bias_and_variance_of_a_network(page: Page, client: Regbench) -> None:
    experiment = client.experiment(ask(page, "Bias and variance of my network"))
    client.cancel_experiment(experiment.id)
    assert experiment.spec["parts"] == 5


def test_the_search_opens_a_job_by_its_name(page: Page, client: Regbench) -> None:
    job = client.submit(job_spec(name="needle in the haystack", model={"hidden_units": [16]}))
    page.goto("/learn")
    page.keyboard.press("/")
    page.keyboard.type("haystack needle")
    matches = page.locator("#matches a")
    expect(matches).to_have_text(["needle in the haystack"])
    check_accessibility(page, "matches of the search")
    page.keyboard.press("ArrowDown")
    expect(matches).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#matches")).to_be_hidden()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/jobs/{job.id}")
    page.keyboard.press("/")
    page.keyboard.type("no such name")
    page.keyboard.press("Enter")
    expect(page.locator("#matches")).to_have_text("No job or experiment has this name.")
    job.wait()


def test_the_header_shows_the_workers_and_the_user(page: Page, client: Regbench) -> None:
    page.goto("/jobs")
    expect(page.locator("#connection")).to_have_text(re.compile(r"^\d+/\d+ busy(, \d+ queued)?$"))
    job = client.submit(job_spec(model={"hidden_units": [16]}, training={"epochs": 30}))
    page.goto(f"/jobs/{job.id}")
    expect(page.locator("#connection")).to_contain_text(re.compile("^1/"), timeout=TIMEOUT_MS)
    expect(page.locator("#progress .badge")).to_contain_text("succeeded", timeout=TIMEOUT_MS)
    # Half of the time after which the header asks by itself.
    expect(page.locator("#connection")).to_contain_text(re.compile("^0/"), timeout=5000)
    page.locator("details.user summary").click()
    expect(page.locator(".user-menu")).to_contain_text("No login is needed here.")
    check_accessibility(page, "the user's menu")
    page.keyboard.press("Escape")
    expect(page.locator(".user-menu")).to_be_hidden()


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_the_overview_is_accessible(browser: Any, url: str, client: Regbench, width: int) -> None:
    client.submit(job_spec(model={"hidden_units": [16]})).wait()
    with open_page(browser, url, "/", "light", width) as page:
        check_accessibility(page, "/")
        command = page.locator("#curl")
        lines = command.evaluate("pre => pre.clientHeight / parseFloat(getComputedStyle(pre).lineHeight)")
        assert lines < 3, "in one line, which scrolls"
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_role("button", name="Copy", exact=True).click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == command.text_content()
        check_colours(page, "dark")


def test_a_key_is_created_shown_once_and_revoked(page: Page) -> None:
    page.goto("/keys")
    page.get_by_label("Name, for people").fill("for a script")
    page.get_by_label("Owner of the jobs").fill("script")
    page.get_by_role("button", name="Create").click()
    expect(page.locator("#secret code")).to_have_text(re.compile(r"^rb_\S{43}$"))
    check_accessibility(page, "/keys")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Revoke for a script").click()
    expect(page.locator("#keys tbody tr").first).to_contain_text("just now")
    expect(page.get_by_role("button", name="Revoke for a script")).to_have_count(0)


def test_a_webhook_gets_a_test_message(page: Page) -> None:
    page.goto("/webhooks")
    page.get_by_label("Address").fill("https://regbench.invalid/hook")
    page.get_by_role("button", name="Create").click()
    expect(page.locator("#secret code")).to_have_text(re.compile("^whsec_"))
    page.get_by_role("button", name="Send a test message").click()
    expect(page.locator("#webhooks tbody tr")).to_contain_text("webhook.test")
    check_accessibility(page, "/webhooks")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#webhooks")).to_contain_text("No webhooks yet.")
