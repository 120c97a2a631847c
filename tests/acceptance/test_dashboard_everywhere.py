"""What every page of the dashboard has, in a real browser: colours, copies, and what it says in trouble."""

import csv
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from regbench.client import Regbench
from regbench.resources import Job, JobState
from tests.acceptance.browsing import (
    DESK,
    ELSEWHERE,
    NEEDS_CHROMIUM,
    PHONE,
    check_access,
    opened,
    wait_until,
)
from tests.acceptance.conftest import DEADLINE_SECONDS
from tests.factories import job_spec

pytestmark = NEEDS_CHROMIUM

PATIENCE = 1000 * DEADLINE_SECONDS

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
    expect(page.locator("#cost dd").first).to_be_visible()
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_role("button", name="Copied")).to_be_focused()
    line = page.locator("#curl").inner_text()
    page.get_by_role("textbox", name="Name", exact=True).focus()
    page.keyboard.press("Control+v")
    expect(page.get_by_role("textbox", name="Name", exact=True)).to_have_value(line)


def test_a_login_is_taken_where_the_page_comes_unencrypted_from_elsewhere(quiet: Page, url: str) -> None:
    # This stack asks for no key, so its page has no form; what counts is whether one from there is its own.
    quiet.goto(f"{url.replace('127.0.0.1', ELSEWHERE)}/login")
    assert not quiet.evaluate("isSecureContext")
    quiet.evaluate(
        "document.querySelector('main').innerHTML ="
        " '<form method=post action=/login><input name=key><button>Log in</button></form>'"
    )
    with quiet.expect_navigation() as navigation:
        quiet.get_by_role("button", name="Log in").click()
    assert navigation.value.status == 401


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_the_header_fits(browser: Any, url: str, width: int) -> None:
    with opened(browser, url, "/jobs", "light", width) as page:
        check_access(page, "/jobs")
        expect(page.get_by_label("Colours")).to_be_visible()


@pytest.fixture
def paused(client: Regbench) -> Iterator[Job]:
    """A job that has not ended, and changes nothing by itself."""
    job = client.submit(job_spec(name="set aside", training={"epochs": 1000}))
    client.pause(job.id)
    while client.job(job.id).state != "paused":
        time.sleep(0.1)
    yield job
    for left in client.jobs(states=[state for state in JobState if not state.terminal]):
        client.cancel(left.id)


@pytest.fixture
def quiet(browser: Any, url: str) -> Iterator[Page]:
    """A page in which things go wrong: what the browser writes of it is nobody's fault."""
    context = browser.new_context(base_url=url, viewport={"width": DESK, "height": 900})
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("path", ["/jobs", "/jobs/{job}"])
def test_a_page_says_that_nobody_answers_and_goes_on_by_itself(quiet: Page, paused: Job, path: str) -> None:
    quiet.goto(path.format(job=paused.id))
    expect(quiet.locator("#banner")).to_be_hidden()
    quiet.context.set_offline(True)
    if path != "/jobs":
        # A stream that is open already is nothing that the browser would cut off.
        quiet.get_by_role("button", name="Resume").click()
        expect(quiet.locator("#status")).to_have_text("The service does not answer.")
    expect(quiet.locator("#banner")).to_contain_text("does not answer", timeout=PATIENCE)
    check_access(quiet, path)
    quiet.context.set_offline(False)
    if path != "/jobs":
        quiet.get_by_role("button", name="Resume").click()
        expect(quiet.locator("#status")).to_be_empty()
    expect(quiet.locator("#banner")).to_be_hidden(timeout=PATIENCE)


@pytest.mark.parametrize("path", ["/jobs", "/jobs/{job}"])
def test_a_page_whose_login_has_ended_leads_to_the_form(quiet: Page, paused: Job, path: str) -> None:
    here = path.format(job=paused.id)

    def refuse(route: Route) -> None:
        route.fulfill(status=401, json={"detail": "Send an API key."})

    quiet.route("**/events", refuse)
    quiet.goto(here)
    quiet.route(f"**{here}", refuse)
    expect(quiet.locator("#banner")).to_contain_text("Your login has ended", timeout=PATIENCE)
    check_access(quiet, path)
    quiet.unroute(f"**{here}")
    # Logged in again in another tab.
    expect(quiet.locator("#banner")).to_be_hidden(timeout=PATIENCE)
    quiet.route(f"**{here}", refuse)
    quiet.locator("#banner").get_by_role("link", name="Log in again").click(timeout=PATIENCE)
    assert unquote(quiet.url).endswith(f"/login?next={here}")


def test_a_job_that_is_deleted_is_said_to_be_gone(
    quiet: Page, client: Regbench, url: str, paused: Job
) -> None:
    quiet.route("**/events", lambda route: route.fulfill(status=503, json={"detail": "not now"}))
    quiet.goto(f"/jobs/{paused.id}")
    expect(quiet.locator("#progress .badge")).to_contain_text("paused")
    quiet.context.set_offline(True)
    client.cancel(paused.id)
    assert httpx.delete(f"{url}/v1/jobs/{paused.id}").status_code == 204
    quiet.context.set_offline(False)
    expect(quiet.locator("#banner")).to_contain_text("no longer there", timeout=PATIENCE)
    asked: list[str] = []
    quiet.on("request", lambda request: asked.append(request.url))
    quiet.wait_for_timeout(5000)
    assert asked == []


def test_a_stream_that_is_refused_is_asked_for_again(quiet: Page, client: Regbench, paused: Job) -> None:
    quiet.route("**/events", lambda route: route.fulfill(status=503, json={"detail": "not now"}))
    quiet.goto(f"/jobs/{paused.id}")
    quiet.wait_for_timeout(1000)
    quiet.unroute("**/events")
    client.resume(paused.id)
    expect(quiet.locator("#progress .badge")).to_contain_text("running", timeout=PATIENCE)


@pytest.fixture
def waiting(client: Regbench) -> Iterator[Job]:
    """A job for which no process of the worker is free: each trains another for minutes."""
    long = job_spec(name="in front", model={"hidden_units": [512]}, training={"epochs": 1000})
    in_front = [client.submit(long.model_copy(update={"seed": seed})) for seed in range(os.cpu_count() or 1)]
    last = client.submit(job_spec(name="behind them", priority=-10))
    yield last
    for job in [last, *in_front]:
        client.cancel(job.id)


def test_a_job_that_waits_for_a_worker_says_so(quiet: Page, waiting: Job) -> None:
    checks = {"worker": "no worker answers; jobs wait until one does"}
    quiet.route("**/readyz", lambda route: route.fulfill(status=503, json={"checks": checks}))
    quiet.goto(f"/jobs/{waiting.id}")
    expect(quiet.locator("#status")).to_have_text(f"It waits: {checks['worker']}.", timeout=PATIENCE)
    quiet.unroute("**/readyz")
    expect(quiet.locator("#status")).to_be_empty(timeout=PATIENCE)


def test_what_is_pressed_twice_is_done_once(page: Page, client: Regbench, paused: Job) -> None:
    client.cancel(paused.id)
    posted: list[str] = []
    page.on("request", lambda request: posted.append(request.url) if request.method == "POST" else None)
    page.goto(f"/jobs/{paused.id}")
    page.get_by_role("button", name="Retry").dblclick()
    page.wait_for_url(lambda address: not address.endswith(paused.id))
    page.goto("/jobs?state=cancelled")
    page.locator(f"[data-job={paused.id}] .tick").check()
    page.get_by_role("button", name="Retry").dblclick()
    expect(page.locator("#status")).to_contain_text("retry: 1 of 1 done.")
    assert len(posted) == 2
    assert len([job for job in client.jobs() if job.retry_of == paused.id]) == 1


def test_a_form_whose_answer_was_lost_is_taken_once(quiet: Page, client: Regbench) -> None:
    name = f"lost {time.monotonic_ns()}"
    quiet.goto("/new")
    quiet.get_by_role("textbox", name="Name", exact=True).fill(name)
    quiet.get_by_role("textbox", name="Epochs", exact=True).fill("1")
    quiet.get_by_role("textbox", name="Hidden units").fill("8")
    button = quiet.get_by_role("button", name="Start training")

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    quiet.route("**/v1/jobs", lose)
    button.click()
    expect(quiet.locator("#form-errors")).to_contain_text("does not answer")
    quiet.unroute("**/v1/jobs")
    button.dblclick()
    quiet.wait_for_url(re.compile(r"/jobs/job_\w+$"))
    assert len([job for job in client.jobs() if job.spec["name"] == name]) == 1

    # And back to the form, which can be sent again as it is.
    quiet.go_back()
    expect(quiet.get_by_role("textbox", name="Name", exact=True)).to_have_value(name)
    expect(quiet.locator("#submit-reason")).to_be_empty()
    button.click()
    quiet.wait_for_url(re.compile(r"/jobs/job_\w+$"))
    assert len([job for job in client.jobs() if job.spec["name"] == name]) == 2


def test_lines_of_many_variants_differ(quiet: Page, client: Regbench) -> None:
    variants = [
        {"name": f"dropout {rate}", "changes": {"regularization": {"dropout": {"rate": rate / 100}}}}
        for rate in range(22)
    ]
    base = job_spec(model={"hidden_units": [8]}, dataset={"train_samples": 200}).model_dump(mode="json")
    experiment = client.create_experiment({"name": "many", "base": base, "variants": variants, "seeds": [0]})
    experiment.wait()
    quiet.goto(f"/experiments/{experiment.id}?curve=nonsense")
    wait_until(quiet, "document.querySelector('#curves').data?.length === 22")
    lines = quiet.evaluate("document.querySelector('#curves').data.map(({line}) => line.color + line.dash)")
    assert len(set(lines)) == 22
    expect(quiet.get_by_role("button", name="Validation loss")).to_have_attribute("aria-pressed", "true")
    check_access(quiet, "many variants")


def test_arrow_keys_go_through_the_choices_of_a_filter(page: Page) -> None:
    page.goto("/jobs")
    state = page.get_by_label("State")
    state.focus()
    for chosen in ("queued", "running", "paused", "succeeded"):
        page.keyboard.press("ArrowDown")
        expect(state).to_have_value(chosen)
    assert page.url.endswith("/jobs")
    page.get_by_role("button", name="Show", exact=True).press("Enter")
    page.wait_for_url(re.compile(r"/jobs\?state=succeeded$"))


def test_a_name_is_no_formula_in_a_saved_list(page: Page, client: Regbench, tmp_path: Path) -> None:
    client.submit(job_spec(name="=1+1", model={"hidden_units": [8]})).wait()
    page.goto("/jobs")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    download.value.save_as(tmp_path / "jobs.csv")
    names = [row["Job"] for row in csv.DictReader((tmp_path / "jobs.csv").read_text().splitlines())]
    assert any(name.startswith("'=1+1") for name in names)
    assert not any(name.startswith("=") for name in names)
