"""The dashboard's pages about jobs in a real browser: a running job, the list, a comparison."""

import csv
import re
from pathlib import Path
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
    wait_until,
)
from tests.acceptance.conftest import DEADLINE_SECONDS
from tests.factories import job_spec

pytestmark = NEEDS_CHROMIUM

TIMEOUT_MS = 1000 * DEADLINE_SECONDS


@pytest.fixture(scope="module")
def trained(up: Any) -> list[str]:
    """Two succeeded jobs with different seeds."""
    with Regbench(up.url()) as client:
        jobs = [
            client.submit(job_spec(name=f"compared {seed}", model={"hidden_units": [16]}, seed=seed))
            for seed in (21, 22)
        ]
        return [job.wait().id for job in jobs]


def test_a_job_is_submitted_and_its_curves_are_live(page: Page) -> None:
    page.goto("/new")
    page.get_by_role("textbox", name="Name", exact=True).fill("watched")
    page.get_by_label("Dataset").first.select_option("mnist_5k")
    page.get_by_role("textbox", name="Hidden units").fill("64")
    page.get_by_role("textbox", name="Epochs", exact=True).fill("60")
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(re.compile(r"/jobs/job_\w+$"))
    page.evaluate("document.querySelector('h1').dataset.mark = 'here'")
    points = "document.querySelector('#loss polyline.line')?.points.length ?? 0"
    wait_until(page, f"({points}) >= 2")
    before = page.evaluate(points)
    wait_until(page, f"({points}) > {before}")
    expect(page.locator("#progress")).to_contain_text("Test accuracy", timeout=TIMEOUT_MS)
    assert page.locator("h1[data-mark=here]").inner_text() == "watched"
    wait_until(page, f"({points}) === 60")
    # The line at the reported epoch is drawn once the result is loaded.
    reported = page.locator("#progress").get_attribute("data-reported") or ""
    expect(page.locator("#loss .mark")).to_have_attribute("data-x", reported)
    page.locator("#loss .plot").hover()
    for chart in ("#loss", "#accuracy"):
        expect(page.locator(f"{chart} .plot-tooltip")).to_contain_text(re.compile(r"^Epoch [23]\d"))
    expect(page.get_by_role("heading", name="Confusion matrix")).to_be_visible()
    expect(page.locator("#events tbody tr").last).to_contain_text("succeeded")


def test_a_job_is_paused_resumed_and_cancelled(page: Page, client: Regbench) -> None:
    job = client.submit(job_spec(name="long", training={"epochs": 1000}))
    page.goto(f"/jobs/{job.id}")
    for button, state in (("Pause", "paused"), ("Resume", "running"), ("Cancel", "cancelled")):
        page.once("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name=button).click()
        expect(page.locator("#progress .badge")).to_contain_text(state, timeout=TIMEOUT_MS)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    expect(page.get_by_role("button", name="Retry")).to_be_visible()


def test_a_job_that_fails_while_it_is_watched_ends_as_after_a_reload(page: Page, client: Regbench) -> None:
    def describe() -> tuple[bool, bool]:
        return page.locator("#curves").is_visible(), page.locator("#progress progress").is_visible()

    wild = {"optimizer": {"name": "sgd", "learning_rate": 10, "momentum": 0.9}, "epochs": 3}
    job = client.submit(job_spec(name="wild", training=wild, regularization={"l2": {"factor": 0.1}}))
    page.goto(f"/jobs/{job.id}")
    expect(page.locator("#progress .badge")).to_contain_text("failed", timeout=TIMEOUT_MS)
    expect(page.locator("#curves")).to_be_hidden()
    watched = describe()
    page.reload()
    page.wait_for_load_state("networkidle")
    assert describe() == watched == (False, False)


def test_selected_jobs_are_compared_and_reported(page: Page, trained: list[str], tmp_path: Path) -> None:
    page.goto("/jobs")
    page.get_by_role("combobox", name="State").select_option("succeeded")
    page.wait_for_url(re.compile(r"state=succeeded"))
    compare = page.get_by_role("button", name="Compare")
    expect(compare).to_have_attribute("aria-disabled", "true")
    expect(page.get_by_text("Select 2 to 10 jobs to compare")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    for job_id in trained:
        page.locator(f"[data-job={job_id}] .tick").check()
    expect(page.locator("#ticked")).to_have_text("2 selected")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    download.value.save_as(tmp_path / "jobs.csv")
    rows = list(csv.DictReader((tmp_path / "jobs.csv").read_text().splitlines()))
    assert len(rows) == page.locator("#jobs tbody tr").count()
    assert set(trained) <= {row["id"] for row in rows}
    # Those of tuning have none.
    assert all(re.fullmatch(r"(\d+\.\d\d %)?", row["Test accuracy"]) for row in rows)
    assert all(row["Test accuracy"] for row in rows if row["id"] in trained)

    compare.click()
    page.wait_for_url(re.compile(r"/compare\?"))
    expect(page.locator("#jobs-compared tbody th")).to_have_text(["seed"])
    expect(page.locator("#curves .filled")).to_have_count(2)
    page.go_back()
    expect(page.locator("#ticked")).to_have_text("2 selected")
    expect(compare).not_to_have_attribute("aria-disabled", "true")
    page.go_forward()
    page.get_by_role("link", name="the report over these jobs").click()
    expect(page.locator("h1")).to_be_visible()
    assert "/v1/reports" in page.url


def test_the_list_is_live_and_preserves_the_selection(page: Page, client: Regbench) -> None:
    job = client.submit(job_spec(name="followed", model={"hidden_units": [16]}, training={"epochs": 30}))
    page.goto("/jobs")
    page.locator(f"[data-job={job.id}] .tick").check()
    expect(page.locator(f"#state-{job.id}")).to_contain_text("succeeded", timeout=TIMEOUT_MS)
    expect(page.locator(f"#accuracy-{job.id}")).to_contain_text("%", timeout=TIMEOUT_MS)
    expect(page.locator(f"[data-job={job.id}] .tick")).to_be_checked()
    # Drawn since the page was loaded, when there was no epoch yet.
    line = page.locator(f"#curve-{job.id}").get_by_role(
        "img", name=re.compile(r"^Validation loss: .* after epoch 30$")
    )
    expect(line).to_be_visible(timeout=TIMEOUT_MS)


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_columns_are_hidden_by_keyboard_and_stay_hidden(
    browser: Any, url: str, trained: list[str], tmp_path: Path, width: int
) -> None:
    with open_page(browser, url, "/jobs", "light", width) as page:
        cell = page.locator(f"[data-job={trained[0]}] [data-column=seed]")
        expect(cell).to_be_visible()
        top = page.locator("#jobs").bounding_box()
        page.get_by_text("Columns", exact=True).focus()
        page.keyboard.press("Enter")
        assert page.locator("#jobs").bounding_box() == top, "the menu lies over the table"
        page.get_by_role("checkbox", name="Seed", exact=True).focus()
        page.keyboard.press("Space")
        expect(cell).to_be_hidden()
        page.keyboard.press("Escape")
        expect(page.get_by_text("Columns", exact=True)).to_be_focused()
        page.add_init_script(
            # Called before a frame is painted. Layout shifts would not do: a live update causes them, too.
            "const check = () => { const cell = document.querySelector('[data-job] [data-column=seed]');"
            " if (cell) window.display = getComputedStyle(cell).display;"
            " else requestAnimationFrame(check); }; requestAnimationFrame(check);"
        )
        page.reload()
        expect(cell).to_be_hidden()
        page.wait_for_function("window.display")
        assert page.evaluate("window.display") == "none", "hidden before the first paint"
        with page.expect_download() as download:
            page.get_by_role("button", name="Save as CSV").click()
        download.value.save_as(tmp_path / "jobs.csv")
        head = (tmp_path / "jobs.csv").read_text().splitlines()[0]
        assert '"Variant"' in head
        assert '"Seed"' not in head
        page.get_by_text("Columns", exact=True).click()
        page.get_by_role("checkbox", name="Seed", exact=True).check()
        expect(cell).to_be_visible()
        page.reload()
        expect(cell).to_be_visible()


def test_the_list_announces_new_jobs_and_keeps_what_is_selected(page: Page, client: Regbench) -> None:
    def submit(seed: int) -> str:
        spec = job_spec(labels={"list": "announced"}, model={"hidden_units": [16]}, seed=seed)
        return client.submit(spec).id

    first = submit(0)
    client.job(first).wait()
    page.goto("/jobs?label=list%3Dannounced")
    page.locator(f"[data-job={first}] .tick").check()
    newest = submit(1)
    expect(page.locator("#new-jobs")).to_have_text("1 new job: show it", timeout=TIMEOUT_MS)
    expect(page.locator(f"[data-job={first}] .tick")).to_be_checked()
    page.get_by_role("link", name="show it").click()
    expect(page.locator(f"[data-job={newest}]")).to_be_visible()
    assert page.url.endswith("/jobs?label=list%3Dannounced")


def test_a_job_is_duplicated_without_losing_a_field(page: Page, client: Regbench) -> None:
    spec = job_spec(
        name="original",
        labels={"team": "blue"},
        regularization={"dropout": {"rate": 0.3}, "batch_normalization": {}},
        model={"hidden_units": [16]},
        dataset={"part": {"index": 0, "of": 2}},
    )
    original = client.submit(spec).wait()
    page.goto(f"/jobs/{original.id}")
    expect(page.locator("#mistakes img").first).to_be_visible()
    page.get_by_role("link", name="Duplicate and edit").click()
    epochs = page.get_by_role("textbox", name="Epochs", exact=True)
    # The page's script has filled the form.
    expect(epochs).to_have_value("1")
    epochs.fill("3")
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(re.compile(r"/jobs/job_\w+$"))
    copied = client.job(page.url.rpartition("/")[2])
    assert copied.spec["training"].pop("epochs") == 3
    original.spec["training"].pop("epochs")
    assert copied.spec == original.spec


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_pages_are_accessible(browser: Any, url: str, trained: list[str], width: int) -> None:
    several = "&".join(f"job={job_id}" for job_id in trained)
    for path in (
        "/jobs",
        f"/jobs/{trained[0]}",
        f"/compare?{several}",
        "/learn",
        "/learn/dropout",
        "/login",
        "/nothing",
    ):
        with open_page(browser, url, path, "light", width) as page:
            page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
            check_accessibility(page, path)
            if width == DESK:
                check_colours(page, "dark")
