"""Features of every page in a real browser: the theme, copying, and error messages."""

import csv
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from regbench.client import Regbench
from regbench.errors import ProblemError
from regbench.resources import Job, JobState
from tests.acceptance.browsing import (
    DESK,
    INSECURE_HOST,
    NEEDS_CHROMIUM,
    PHONE,
    check_accessibility,
    open_page,
)
from tests.acceptance.conftest import DEADLINE_SECONDS
from tests.factories import job_spec

pytestmark = NEEDS_CHROMIUM

TIMEOUT_MS = 1000 * DEADLINE_SECONDS

BACKGROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_is_chosen_in_the_header_and_stored(browser: Any, url: str, scheme: str) -> None:
    other = {"light": "dark", "dark": "light"}[scheme]
    with open_page(browser, url, "/learn", other, DESK) as page:
        other_background = page.evaluate(BACKGROUND)
    with open_page(browser, url, "/learn", scheme, DESK) as page:
        own = page.evaluate(BACKGROUND)
        assert own != other_background
        page.evaluate("addEventListener('theme', () => { document.body.dataset.notified = 'yes'; })")
        colours = page.get_by_label("Theme")
        expect(colours).to_have_value("system")
        colours.focus()
        page.keyboard.press("ArrowDown" if other == "light" else "End")
        expect(colours).to_have_value(other)
        assert page.evaluate(BACKGROUND) == other_background
        assert page.evaluate("document.body.dataset.notified") == "yes"
        check_accessibility(page, "/learn")

        # On the next page, before its body is parsed.
        page.add_init_script(
            "document.addEventListener('readystatechange', () => {"
            " window.early ??= document.documentElement.dataset.theme; })"
        )
        page.goto("/jobs")
        assert page.evaluate("window.early") == other
        assert page.evaluate(BACKGROUND) == other_background
        page.get_by_label("Theme").select_option("system")
        assert page.evaluate(BACKGROUND) == own
        page.goto("/learn")
        assert page.evaluate(BACKGROUND) == own


def test_the_theme_is_synchronized_between_tabs(page: Page) -> None:
    page.goto("/learn")
    second = page.context.new_page()
    second.goto("/jobs")
    page.get_by_label("Theme").select_option("dark")
    expect(second.get_by_label("Theme")).to_have_value("dark")
    assert second.evaluate(BACKGROUND) == page.evaluate(BACKGROUND)


def test_without_scripts_the_theme_is_the_systems(browser: Any, url: str) -> None:
    backgrounds = []
    for scheme in ("light", "dark"):
        context = browser.new_context(java_script_enabled=False, color_scheme=scheme, base_url=url)
        page = context.new_page()
        page.goto("/learn")
        expect(page.get_by_label("Theme")).to_be_hidden()
        backgrounds.append(page.screenshot(clip={"x": 2, "y": 400, "width": 4, "height": 4}))
        context.close()
    assert backgrounds[0] != backgrounds[1]


def test_forms_work_over_plain_http(page: Page) -> None:
    # As over plain HTTP from another machine, where only pasting shows what was copied.
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


def test_login_works_over_plain_http(unchecked: Page, url: str) -> None:
    # This stack requires no key, so its page has no form; the test is whether the origin is accepted.
    unchecked.goto(f"{url.replace('127.0.0.1', INSECURE_HOST)}/login")
    assert not unchecked.evaluate("isSecureContext")
    unchecked.evaluate(
        "document.querySelector('main').innerHTML ="
        " '<form method=post action=/login><input name=key><button>Log in</button></form>'"
    )
    with unchecked.expect_navigation() as navigation:
        unchecked.get_by_role("button", name="Log in").click()
    assert navigation.value.status == 401


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_the_header_fits(browser: Any, url: str, width: int) -> None:
    with open_page(browser, url, "/jobs", "light", width) as page:
        check_accessibility(page, "/jobs")
        expect(page.get_by_label("Theme")).to_be_visible()


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_the_documentation_is_searched_by_keyboard(browser: Any, url: str, width: int) -> None:
    with open_page(browser, url, "/docs", "light", width) as page:
        check_accessibility(page, "/docs")
        page.keyboard.press("/")
        page.keyboard.type("post optimizer.learning_rate")
        operations = page.locator("#operations details:visible")
        create = operations.filter(has_text="POST /v1/jobs Create Job")
        expect(create).to_have_attribute("open", "")
        expect(create.locator("tr:visible")).to_contain_text(["training.optimizer.learning_rate"])
        expect(page.get_by_role("status")).to_contain_text("matching fields")
        check_accessibility(page, "/docs")
        page.keyboard.press("Escape")
        expect(page.locator("#operations details[open]")).to_have_count(0)
        page.keyboard.type("no such operation")
        expect(operations).to_have_count(0)
        expect(page.get_by_role("status")).to_contain_text("0 of ")


@pytest.fixture
def paused(client: Regbench) -> Iterator[Job]:
    """A job that has not ended and does not change."""
    job = client.submit(job_spec(name="paused", training={"epochs": 1000}))
    client.pause(job.id)
    while client.job(job.id).state != "paused":
        time.sleep(0.1)
    yield job
    for unfinished in client.jobs(states=[state for state in JobState if not state.terminal]):
        with suppress(ProblemError):  # it may have ended meanwhile
            client.cancel(unfinished.id)


@pytest.fixture
def unchecked(browser: Any, url: str) -> Iterator[Page]:
    """A page whose console errors are expected."""
    context = browser.new_context(base_url=url, viewport={"width": DESK, "height": 900})
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("path", ["/jobs", "/jobs/{job}"])
def test_a_page_reports_an_unavailable_service_and_recovers(unchecked: Page, paused: Job, path: str) -> None:
    unchecked.goto(path.format(job=paused.id))
    expect(unchecked.locator("#banner")).to_be_hidden()
    unchecked.context.set_offline(True)
    if path != "/jobs":
        # Going offline does not interrupt an open stream.
        unchecked.get_by_role("button", name="Resume").click()
        expect(unchecked.locator("#status")).to_have_text("The service does not respond.")
    expect(unchecked.locator("#banner")).to_contain_text("does not respond", timeout=TIMEOUT_MS)
    check_accessibility(unchecked, path)
    unchecked.context.set_offline(False)
    if path != "/jobs":
        unchecked.get_by_role("button", name="Resume").click()
        expect(unchecked.locator("#status")).to_be_empty()
    expect(unchecked.locator("#banner")).to_be_hidden(timeout=TIMEOUT_MS)


@pytest.mark.parametrize("path", ["/jobs", "/jobs/{job}"])
def test_a_page_links_to_the_login_after_it_has_ended(unchecked: Page, paused: Job, path: str) -> None:
    address = path.format(job=paused.id)

    def refuse(route: Route) -> None:
        route.fulfill(status=401, json={"detail": "Send an API key."})

    unchecked.route("**/events", refuse)
    unchecked.goto(address)
    unchecked.route(f"**{address}", refuse)
    expect(unchecked.locator("#banner")).to_contain_text("Your login has ended", timeout=TIMEOUT_MS)
    check_accessibility(unchecked, path)
    unchecked.unroute(f"**{address}")
    # Logged in again in another tab.
    expect(unchecked.locator("#banner")).to_be_hidden(timeout=TIMEOUT_MS)
    unchecked.route(f"**{address}", refuse)
    unchecked.locator("#banner").get_by_role("link", name="Log in again").click(timeout=TIMEOUT_MS)
    assert unquote(unchecked.url).endswith(f"/login?next={address}")


def test_a_page_reports_that_its_job_is_deleted(
    unchecked: Page, client: Regbench, url: str, paused: Job
) -> None:
    unchecked.route("**/events", lambda route: route.fulfill(status=503, json={"detail": "not now"}))
    unchecked.goto(f"/jobs/{paused.id}")
    expect(unchecked.locator("#progress .badge")).to_contain_text("paused")
    unchecked.context.set_offline(True)
    client.cancel(paused.id)
    assert httpx.delete(f"{url}/v1/jobs/{paused.id}").status_code == 204
    unchecked.context.set_offline(False)
    expect(unchecked.locator("#banner")).to_contain_text("has been deleted", timeout=TIMEOUT_MS)
    requests: list[str] = []
    unchecked.on("request", lambda request: requests.append(request.url))
    unchecked.wait_for_timeout(5000)
    assert requests == []


def test_a_rejected_stream_is_retried(unchecked: Page, client: Regbench, paused: Job) -> None:
    unchecked.route("**/events", lambda route: route.fulfill(status=503, json={"detail": "not now"}))
    unchecked.goto(f"/jobs/{paused.id}")
    unchecked.wait_for_timeout(1000)
    unchecked.unroute("**/events")
    client.resume(paused.id)
    expect(unchecked.locator("#progress .badge")).to_contain_text("running", timeout=TIMEOUT_MS)


@pytest.fixture
def waiting(client: Regbench) -> Iterator[Job]:
    """A queued job: every process of the worker trains another one for minutes."""
    long = job_spec(name="in front", model={"hidden_units": [512]}, training={"epochs": 1000})
    in_front = [client.submit(long.model_copy(update={"seed": seed})) for seed in range(os.cpu_count() or 1)]
    last = client.submit(job_spec(name="behind them", priority=-10))
    yield last
    for job in [last, *in_front]:
        client.cancel(job.id)


def test_a_queued_job_reports_a_missing_worker(unchecked: Page, waiting: Job) -> None:
    checks = {"worker": "no worker responds; jobs stay queued until one does"}
    unchecked.route("**/readyz", lambda route: route.fulfill(status=503, json={"checks": checks}))
    unchecked.goto(f"/jobs/{waiting.id}")
    expect(unchecked.locator("#status")).to_have_text(f"Waiting: {checks['worker']}.", timeout=TIMEOUT_MS)
    unchecked.unroute("**/readyz")
    expect(unchecked.locator("#status")).to_be_empty(timeout=TIMEOUT_MS)


def test_a_double_click_sends_one_request(page: Page, client: Regbench, paused: Job) -> None:
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


def test_a_form_is_submitted_once_after_a_lost_response(unchecked: Page, client: Regbench) -> None:
    name = f"lost {time.monotonic_ns()}"
    unchecked.goto("/new")
    unchecked.get_by_role("textbox", name="Name", exact=True).fill(name)
    unchecked.get_by_label("Dataset").first.select_option("mnist_5k")
    unchecked.get_by_role("textbox", name="Epochs", exact=True).fill("1")
    unchecked.get_by_role("textbox", name="Hidden units").fill("16")
    button = unchecked.get_by_role("button", name="Start training")

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    unchecked.route("**/v1/jobs", lose)
    button.click()
    expect(unchecked.locator("#form-errors")).to_contain_text("does not respond")
    # Not unroute(): it does not wait for lose(), which would then abort a request that is no longer its own.
    unchecked.unroute_all(behavior="wait")
    button.dblclick()
    unchecked.wait_for_url(re.compile(r"/jobs/job_\w+$"))
    assert len([job for job in client.jobs() if job.spec["name"] == name]) == 1

    # Back at the form, it can be submitted again.
    unchecked.go_back()
    expect(unchecked.get_by_role("textbox", name="Name", exact=True)).to_have_value(name)
    expect(unchecked.locator("#submit-reason")).to_be_empty()
    button.click()
    unchecked.wait_for_url(re.compile(r"/jobs/job_\w+$"))
    assert len([job for job in client.jobs() if job.spec["name"] == name]) == 2


def test_curves_of_many_variants_are_distinct(unchecked: Page, client: Regbench) -> None:
    variants = [
        {"name": f"dropout {rate}", "changes": {"regularization": {"dropout": {"rate": rate / 100}}}}
        for rate in range(22)
    ]
    base = job_spec(dataset={"train_samples": 200}).model_dump(mode="json")
    experiment = client.create_experiment({"name": "many", "base": base, "variants": variants, "seeds": [0]})
    experiment.wait()
    unchecked.goto(f"/experiments/{experiment.id}?curve=nonsense")
    swatches = unchecked.locator("#curves .swatch")
    expect(swatches).to_have_count(22)
    lines = swatches.evaluate_all(
        "all => all.map(one => one.getAttribute('class') + one.firstChild.getAttribute('stroke-dasharray'))"
    )
    assert len(set(lines)) == 22
    expect(unchecked.get_by_role("button", name="Validation loss")).to_have_attribute("aria-pressed", "true")
    check_accessibility(unchecked, "many variants")


def test_arrow_keys_do_not_submit_a_filter(page: Page) -> None:
    page.goto("/jobs")
    state = page.get_by_role("combobox", name="State")
    state.focus()
    for chosen in ("queued", "running", "paused", "succeeded"):
        page.keyboard.press("ArrowDown")
        expect(state).to_have_value(chosen)
    assert page.url.endswith("/jobs")
    page.get_by_role("button", name="Show", exact=True).press("Enter")
    page.wait_for_url(re.compile(r"/jobs\?state=succeeded$"))


def test_a_saved_list_contains_no_formulas(page: Page, client: Regbench, tmp_path: Path) -> None:
    client.submit(job_spec(name="=1+1")).wait()
    page.goto("/jobs")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    download.value.save_as(tmp_path / "jobs.csv")
    names = [row["Job"] for row in csv.DictReader((tmp_path / "jobs.csv").read_text().splitlines())]
    assert any(name.startswith("'=1+1") for name in names)
    assert not any(name.startswith("=") for name in names)


def test_f20_a_browser_that_refuses_address_changes_loses_no_form_change(page: Page) -> None:
    """Safari refuses `history.replaceState` after 100 calls in 30 s."""
    page.add_init_script(
        "const replace = history.replaceState.bind(history); window.refuse = true;"
        "history.replaceState = (...change) => {"
        " if (window.refuse) throw new DOMException('too many', 'SecurityError'); replace(...change); };"
    )
    page.goto("/new")
    page.get_by_label("Seed", exact=True).fill("7")
    expect(page.locator("#curl")).to_contain_text('"seed":7')
    expect(page.locator("#cost")).to_contain_text("Weights to train")
    assert "seed" not in page.url
    page.evaluate("window.refuse = false")
    page.wait_for_url(re.compile("seed"))
    # Without full MNIST the form names the dataset too.
    assert '"seed":7' in unquote(page.url)
