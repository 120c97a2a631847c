"""The dashboard's forms, experiments and playground in a real browser."""

import csv
import io
import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Locator, Page, Route, expect

from regbench.client import Regbench
from regbench.errors import ProblemError
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
def finished(up: Any) -> str:
    """The id of a finished experiment: a sweep, so that its page has every part."""
    strengths = (0.0001, 0.001, 0.01)
    document = {
        "name": "a sweep",
        "base": job_spec(model={"hidden_units": [32]}, training={"epochs": 4}).model_dump(mode="json"),
        "variants": [
            {"name": "none"},
            *(
                {"name": f"L2 {factor}", "changes": {"regularization": {"l2": {"factor": factor}}}}
                for factor in strengths
            ),
        ],
        "seeds": [0, 1],
    }
    with Regbench(up.url()) as client:
        experiment = client.create_experiment(document)
        while not client.experiment(experiment.id).progress.finished:
            time.sleep(0.2)
        return experiment.id


def test_an_experiment_is_submitted_and_its_page_is_live(page: Page, url: str) -> None:
    page.goto("/new/experiment")
    page.get_by_role("textbox", name="Name", exact=True).first.fill("through the form")
    page.get_by_role("textbox", name="Seeds").fill("5-6")
    page.locator("#base-settings > summary").click()
    page.get_by_role("textbox", name="Hidden units").fill("16")
    page.get_by_role("textbox", name="Epochs", exact=True).fill("3")
    dropout = page.locator(".variant").nth(1)
    dropout.get_by_text("What it is").click()
    expect(dropout.locator(".explanation")).to_contain_text("Pitfall")
    dropout.get_by_role("textbox", name="Rate", exact=True).fill("0.2")
    expect(dropout.locator(".variant-name")).to_have_value("Dropout rate 0.2")
    page.get_by_role("button", name="Add a variant").click()
    page.locator(".variant").nth(2).get_by_label("Add a technique").select_option("l2")
    expect(page.locator(".variant").nth(2).locator(".variant-name")).to_have_value("L2")
    expect(page.locator("#cost dd").first).to_have_text("6")
    page.get_by_role("button", name="Start the experiment").click()
    page.wait_for_url(re.compile(r"/experiments/exp_\w+$"))

    # The page updates in place: a reload would remove this mark.
    page.evaluate("document.querySelector('h1').dataset.mark = 'here'")
    expect(page.locator(".run-table .cell.succeeded")).to_have_count(6, timeout=TIMEOUT_MS)
    expect(page.locator(".forest .contrast")).to_have_count(2, timeout=TIMEOUT_MS)
    expect(page.locator("#progress")).to_contain_text("finished", timeout=TIMEOUT_MS)
    assert page.locator("h1[data-mark=here]").inner_text() == "through the form"
    expect(page.locator(".forest .contrast th")).to_have_text(["Dropout rate 0.2", "L2"])
    for term in ("gap", "nats", "pair", "interval"):
        expect(page.locator(f"a.term[href='/learn/glossary#{term}']")).to_have_count(1)
    page.get_by_role("button", name="L2: verdict").click()
    expect(page.locator(".forest .verdict:visible")).to_contain_text(
        "From fewer than 6 pairs nothing is called"
    )
    expect(page.get_by_role("heading", name="What to choose")).to_be_visible()
    page.get_by_role("tab", name="Curves").click()
    curves = page.locator("#curves")
    expect(curves.locator("polyline.line")).to_have_count(3)
    curves.get_by_text("Numbers").click()
    expect(curves.locator("td").first).to_contain_text(", 2 seeds")

    # One more seed, and the same page goes on. What changes in a tab that is not shown is drawn when it is.
    page.get_by_role("tab", name="Seeds").click()
    page.get_by_label("Seeds to add").fill("7")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".run-table .cell")).to_have_count(9, timeout=TIMEOUT_MS)
    expect(page.locator(".run-table .cell.succeeded")).to_have_count(9, timeout=TIMEOUT_MS)
    expect(page.locator("#progress")).to_contain_text("finished", timeout=TIMEOUT_MS)
    expect(page.locator("#status")).to_contain_text("All jobs have ended", timeout=TIMEOUT_MS)
    page.get_by_role("tab", name="Curves").click()
    expect(curves.locator("td").first).to_contain_text(", 3 seeds")


def test_new_data_preserve_a_charts_zoom(page: Page, finished: str) -> None:
    page.goto(f"/experiments/{finished}")
    chart = page.locator("#curves")
    expect(chart.get_by_role("button", name="none", exact=True)).to_be_visible(timeout=TIMEOUT_MS)
    chart.locator(".plot").hover()
    box = chart.locator(".plot").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 80)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 80, steps=3)
    page.mouse.up()
    expect(chart.get_by_role("button", name="Reset zoom")).to_be_visible()
    ticks = chart.locator(".axes text[text-anchor=middle]:not(.title)")
    assert "4" not in ticks.all_inner_texts()
    chart.get_by_role("button", name="Each seed").click()
    expect(chart.locator(".thin")).to_have_count(8, timeout=TIMEOUT_MS)
    assert "4" not in ticks.all_inner_texts()
    page.get_by_role("button", name="Training accuracy").click()
    assert page.url.endswith("?curve=train_accuracy")
    expect(chart.locator(".title").last).to_have_text("Training accuracy, %")
    expect(chart.get_by_role("button", name="Reset zoom")).to_be_hidden()


def test_charts_have_their_numbers_and_images_and_contact_no_other_site(
    page: Page, finished: str, url: str, tmp_path: Path
) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(f"/experiments/{finished}")
    chart = page.locator("#curves")
    expect(chart.get_by_role("button", name="none", exact=True)).to_be_visible(timeout=TIMEOUT_MS)
    tools = chart.locator(".plot-tools button")
    assert tools.all_inner_texts() == ["Log scale", "All values", "Each seed", "Reset zoom", "SVG", "PNG"]
    chart.locator(".plot").focus()
    page.keyboard.press("End")
    expect(chart.locator(".plot-tooltip")).to_contain_text("Epoch 4")
    expect(chart.locator(".plot-tooltip li")).to_have_count(4)
    chart.get_by_role("button", name="L2 0.01").focus()
    expect(chart.locator(".dimmed")).to_have_count(3)
    page.keyboard.press("Enter")
    expect(chart.locator("polyline.line")).to_have_count(3)
    chart.get_by_text("Numbers").click()
    expect(chart.locator("tbody tr")).to_have_count(4)
    chart.get_by_role("button", name="Log scale").click()
    for form in ("SVG", "PNG"):
        with page.expect_download() as download:
            chart.get_by_role("button", name=form).click()
        download.value.save_as(tmp_path / form)
    saved = (tmp_path / "SVG").read_text()
    assert "L2 0.001<" in saved
    assert "L2 0.01<" not in saved
    with Image.open(tmp_path / "PNG") as image:
        assert image.width > DESK
    assert {request.split("?")[0] for request in requests if not request.startswith((url, "blob:"))} == set()


def test_an_extreme_value_does_not_flatten_a_chart(page: Page, finished: str) -> None:
    def diverge(route: Route) -> None:
        answer = route.fetch()
        curves = answer.json()
        curves["items"][0]["validation_loss"][-1] |= {"mean": 5e27, "low": -1e27, "high": 1e28}
        route.fulfill(response=answer, json=curves)

    page.route("**/curves", diverge)
    page.goto(f"/experiments/{finished}")
    chart = page.locator("#curves")
    expect(chart).to_contain_text("1 extreme value lies outside of the chart", timeout=TIMEOUT_MS)
    expect(chart.locator(".axes")).not_to_contain_text("e27")
    chart.get_by_role("button", name="All values").click()
    expect(chart.locator(".axes")).to_contain_text("e27")


def test_a_sweeps_lines_can_be_focused(page: Page, finished: str) -> None:
    page.goto(f"/experiments/{finished}?difference=test_loss")
    lines = page.locator(".sweep-line")
    expect(lines).to_have_count(4, timeout=TIMEOUT_MS)
    page.get_by_role("tab", name="Curves").press("ArrowRight")
    assert page.url.endswith("?difference=test_loss#parameter-tab")
    expect(page.locator("#along-parameter .plot-legend span")).to_have_text(["L2 factor", "none"])
    expect(page.locator(".sweep")).to_contain_text("1e-4")
    expect(page.locator(".sweep")).to_contain_text("test loss, nats")
    lines.nth(1).focus()
    expect(page.locator(".sweep").locator("xpath=../..").get_by_role("status")).to_contain_text("L2 0.0001")
    expect(page.get_by_role("button", name="Test loss")).to_have_attribute("aria-pressed", "true")
    for row in page.locator(".forest .contrast").all():
        assert re.search(r"[+\u2212]\d\.\d{4}", row.inner_text())
    # Two pairs are inconclusive, whatever their interval.
    expect(page.locator(".forest-row.open")).to_have_count(4 * 3)


def test_a_researcher_has_figure_and_table_in_two_clicks_and_another_baseline_in_one(
    page: Page, finished: str
) -> None:
    page.goto(f"/experiments/{finished}")
    expect(page.locator("#answer")).to_contain_text("Differences are called from 6 pairs", timeout=TIMEOUT_MS)
    expect(page.locator("#next-step")).to_contain_text("Test again on 6 fresh seeds, about")
    # As when an earlier request has failed: its message is bare text.
    page.locator("#report-view").evaluate("view => view.append('No connection')")
    page.get_by_label("Compare with").select_option("L2 0.01")
    expect(page.locator("#differences-title")).to_contain_text("L2 0.01", timeout=TIMEOUT_MS)
    expect(page.locator("#next-step")).to_have_count(0)
    expect(page.locator("#report-view")).not_to_contain_text("No connection")
    files = {"PDF": b"%PDF", "LaTeX": b"% a sweep"}
    for form, start in files.items():
        page.goto(page.url)
        clicks = [
            page.get_by_text("Export", exact=True),
            page.get_by_role("link", name=form, exact=True).first,
        ]
        expect(page.locator("#differences-title")).to_contain_text("L2 0.01", timeout=TIMEOUT_MS)
        with page.expect_download() as download:
            for target in clicks:
                target.click()
        assert len(clicks) == 2
        assert Path(download.value.path()).read_bytes().startswith(start)
        assert "baseline=L2%200.01" in download.value.url


def test_without_scripts_an_experiments_tabs_are_sections(browser: Any, url: str, finished: str) -> None:
    context = browser.new_context(java_script_enabled=False, base_url=url)
    page = context.new_page()
    page.goto(f"/experiments/{finished}")
    expect(page.locator("#answer")).to_contain_text("Nothing is called from fewer than 6 pairs")
    expect(page.get_by_role("link", name="Seeds", exact=True)).to_have_attribute("href", "#seeds-tab")
    expect(page.locator("#run-table")).to_be_visible()
    expect(page.locator("#bundle")).to_be_visible()
    context.close()


def _show_differences(page: Page, experiment: str, differences: list[tuple[float, float, float]]) -> Locator:
    """The rows of the table of differences, with these means and intervals of the accuracy."""

    def change(route: Route) -> None:
        answer = route.fetch()
        report = answer.json()
        for contrast, (mean, low, high) in zip(report["contrasts"], differences, strict=True):
            contrast["differences"]["test_accuracy_points"] |= {
                "mean": mean,
                "simultaneous_low": low,
                "simultaneous_high": high,
            }
        route.fulfill(response=answer, json=report)

    page.unroute_all()
    page.route("**/report?format=json", change)
    page.goto(f"/experiments/{experiment}")
    rows = page.locator(".forest .contrast")
    expect(rows).to_have_count(len(differences), timeout=TIMEOUT_MS)
    return rows


def test_an_interval_is_cut_only_where_it_would_flatten_the_others(page: Page, finished: str) -> None:
    rows = _show_differences(page, finished, [(0.5, -164.0, 75.0), (0.0, -1.0, 1.0), (0.0, 0.0, 0.0)])
    expect(rows.first.locator(".cut")).to_have_count(2)
    expect(rows.first).to_contain_text("\u2212164.00 to +75.00")
    expect(rows.first).to_contain_text("beyond the chart to the left and the right")
    axis = page.locator(".forest-axis").first
    expect(axis).to_have_attribute("aria-label", re.compile(r"to \+6\.60;"))

    rows = _show_differences(page, finished, [(0.38, -1.21, 1.97), (0.05, -0.39, 0.49), (0.0, 0.0, 0.0)])
    expect(axis).to_have_attribute("aria-label", re.compile(r"to \+2\.17;"))
    expect(rows.locator(".cut")).to_have_count(0)


def test_an_interval_that_ends_near_zero_shows_on_which_side(page: Page, finished: str) -> None:
    rows = _show_differences(page, finished, [(0.2, -0.004, 0.4), (-0.001, -0.4, 0.4), (0.0, 0.0, 0.0)])
    cells = rows.locator("td[data-label^='Test accuracy']")
    expect(cells).to_have_text(
        [
            "+0.200 \u22120.004 to +0.400 not called",
            "0.00 \u22120.40 to +0.40 not called",
            "0.00 0.00 to 0.00 not called",
        ]
    )


def test_pairs_of_every_part_of_the_training_data_are_drawn(page: Page, finished: str) -> None:
    def divide(route: Route) -> None:
        answer = route.fetch()
        report = answer.json()
        for variant in report["variants"]:
            variant["seeds"] = [item | {"part": part} for item in variant["seeds"] for part in (0, 1)]
        route.fulfill(response=answer, json=report)

    page.route("**/report?format=json", divide)
    page.goto(f"/experiments/{finished}")
    page.get_by_role("tab", name="Seeds").click()
    lines = [f"seed {seed}, part {part}" for seed in (0, 1) for part in (0, 1)]
    expect(page.locator("#seed-pairs .plot-legend button")).to_have_text(lines, timeout=TIMEOUT_MS)


def test_saved_tables_equal_the_displayed_ones(page: Page, finished: str, tmp_path: Path) -> None:
    page.goto(f"/experiments/{finished}")
    page.get_by_role("tab", name="Report and data").click()
    differences, variants = (_save(page, button, tmp_path) for button in ("differences", "variants"))
    rows = page.locator(".forest .contrast").all()
    assert [(row["variant"], row["Test loss, nats"]) for row in differences] == [
        (row.locator("th").inner_text(), _parse_number(row.locator("td").nth(1).locator("b"))) for row in rows
    ]
    # Two pairs have no interval, and neither have the means of two seeds.
    columns = [f"Test loss, {name}" for name in ("low", "high", "verdict")]
    assert all([row[name] for name in columns] == ["", "", "not called"] for row in differences)
    assert all(row["Test loss, nats, ±"] == "" for row in variants)
    table = page.get_by_role("region", name="Means of the variants").locator("tbody tr").all()
    assert [(row["seeds"], row["Test loss, nats"]) for row in variants] == [
        tuple(row.locator("td").nth(column).inner_text() for column in (0, 2)) for row in table
    ]


def _save(page: Page, button: str, folder: Path) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.locator(f"#save-{button}").click()
    download.value.save_as(folder / f"{button}.csv")
    return list(csv.DictReader((folder / f"{button}.csv").read_text().splitlines()))


def _parse_number(cell: Locator) -> str:
    """The number of a cell as in the file: without its interval, with an ASCII minus."""
    return cell.inner_text().splitlines()[0].replace("\u2212", "-").removeprefix("+")


def test_a_techniques_page_shows_a_pair_of_models(page: Page, finished: str) -> None:
    page.goto("/learn/l2")
    expect(page.locator("#verdict")).to_have_text(re.compile(r".+: .*pair"))
    # Of this experiment, or of another test's with more seeds.
    names = page.locator("#outcomes tbody th").all_inner_texts()
    assert len(names) >= 2
    assert names[0].endswith(" (without it)")
    charts = "[...document.querySelectorAll('#pair .chart')]"
    wait_until(page, f"{charts}.every(chart => chart.querySelectorAll('polyline.line').length === 2)")
    ticks = "text[text-anchor=end]:not(.mark)"
    texts = f"[...chart.querySelectorAll('{ticks}')].map(tick => tick.textContent)"
    axes = page.evaluate(f"{charts}.map(chart => {texts})")
    assert axes[0] == axes[1] != []
    check_accessibility(page, "/learn/l2")


def test_learn_shows_what_was_measured_and_answers_from_it(page: Page, client: Regbench) -> None:
    document = {
        "name": "widths to learn from",
        "base": job_spec(training={"epochs": 2}).model_dump(mode="json"),
        "variants": [{"name": "none"}, {"name": "L2", "changes": {"regularization": {"l2": {}}}}],
        "seeds": [*range(6)],
    }
    client.create_experiment(document, axes={"model.hidden_units": [[4], [16]]}).wait(DEADLINE_SECONDS)
    page.goto("/learn")
    study = page.locator(".study", has_text="widths to learn from")
    expect(study.locator(".readout")).to_contain_text("hidden units 16: training loss", timeout=TIMEOUT_MS)
    study.get_by_role("slider").press("Home")
    expect(study.locator(".readout")).to_contain_text("hidden units 4: training loss")
    expect(study.locator("polyline.line")).to_have_count(2)
    check_accessibility(page, "/learn")
    page.get_by_role("link", name="What should I use?").click()
    page.get_by_label("Parameters of the network").fill("12730")
    page.get_by_role("button", name="What should I use?").click()
    expect(page.locator("#answers")).to_contain_text("Chosen by validation", timeout=TIMEOUT_MS)
    expect(page.locator("#answers")).to_contain_text("12,730 parameters")
    page.get_by_label("Parameters of the network").fill("5000000")
    page.get_by_role("button", name="What should I use?").click()
    expect(page.locator("#answers")).to_contain_text("The nearest was measured with")
    expect(page.locator("#offer-text")).to_contain_text("none, L2, dropout; 24 jobs")
    expect(page.get_by_role("button", name="Start this experiment")).to_be_visible()
    check_accessibility(page, "/learn/what-to-use")


def test_a_techniques_page_starts_a_quick_experiment(page: Page, client: Regbench) -> None:
    page.goto("/learn/mixup")
    expect(page.locator("#quick-experiment-cost")).to_contain_text(
        "12 jobs of 5 epochs; time with the workers that run now:"
    )
    check_accessibility(page, "/learn/mixup")
    page.get_by_role("button", name="Run a small experiment").click()
    page.wait_for_url(re.compile(r"/experiments/exp_\w+$"))
    expect(page.locator("h1")).to_have_text("mixup, small")
    client.experiment(page.url.rpartition("/")[2]).cancel()


def test_an_error_is_shown_at_its_field_and_disables_the_button(page: Page) -> None:
    page.goto("/new")
    expect(page.locator("#cost dd").first).to_be_visible()
    rejected: list[int] = []
    page.on("response", lambda answer: rejected.append(answer.status) if not answer.ok else None)
    page.get_by_role("textbox", name="Batch size", exact=True).fill("5000")
    field = page.locator(".field[data-pointer='/training/batch_size']")
    expect(field.locator(".field-error")).to_contain_text("less than or equal to 4096")
    button = page.get_by_role("button", name="Start training")
    expect(button).to_have_attribute("aria-disabled", "true")
    expect(page.locator("#submit-reason")).to_have_text("Fix 1 field first.")
    page.locator("#form-errors").get_by_role("button", name="Batch size").click()
    expect(page.get_by_role("textbox", name="Batch size", exact=True)).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("64")
    expect(button).not_to_have_attribute("aria-disabled", "true")
    expect(field.locator(".field-error")).to_be_hidden()
    assert rejected == []


def test_the_address_contains_the_form_and_the_curl_command_submits_it(
    page: Page, client: Regbench, url: str
) -> None:
    page.goto("/new")
    page.get_by_role("textbox", name="Name", exact=True).fill("it's a name")
    page.get_by_label("Dataset").first.select_option("mnist_5k")
    page.get_by_role("textbox", name="Hidden units").fill("16")
    page.get_by_role("textbox", name="Epochs", exact=True).fill("1")
    page.locator("[data-technique=dropout] .switch").check()
    slider = page.get_by_role("slider", name="Rate, slider", exact=True).first
    slider.focus()
    page.keyboard.press("Home")
    rate = page.locator(".field[data-pointer='/regularization/dropout/rate'] .value")
    expect(rate).to_have_value("0")
    rate.fill("0.25")
    expect(page.locator("#curl")).to_contain_text('"rate":0.25')
    line = page.locator("#curl").inner_text()
    page.goto(page.url)
    expect(rate).to_have_value("0.25")
    expect(page.locator("#curl")).to_have_text(line)

    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)  # noqa: S607 (bash from PATH)
    submitted = re.search(r'"id":"(job_\w+)"', done.stdout)
    assert submitted is not None, done.stdout
    spec = client.job(submitted[1]).spec
    assert (spec["name"], spec["model"]["hidden_units"]) == ("it's a name", [16])
    assert spec["regularization"]["dropout"]["rate"] == 0.25


def test_a_changed_preset_is_sent_as_a_merge_patch(page: Page) -> None:
    page.goto("/new/experiment?preset=l1-vs-l2")
    expect(page.locator(".variant")).to_have_count(4)
    expect(page.locator(".preset[aria-pressed=true]")).to_contain_text(re.compile(r"l1-vs-l2: \d+ jobs"))
    page.locator("#base-settings > summary").click()
    page.get_by_label("Dataset").select_option("mnist_5k")
    page.get_by_role("textbox", name="Seeds").fill("0")
    expect(page.locator("#curl")).to_contain_text(
        '{"preset":"l1-vs-l2","base":{"dataset":{"name":"mnist_5k"}},"seeds":[0]}'
    )
    page.goto(page.url)
    expect(page.locator(".variant")).to_have_count(4)
    expect(page.get_by_role("textbox", name="Seeds")).to_have_value("0")


def test_a_form_starts_from_an_experiment_and_adds_a_stopping_rule(page: Page, finished: str) -> None:
    page.goto(f"/experiments/{finished}")
    page.get_by_role("link", name="Duplicate and edit").click()
    expect(page.locator(".variant")).to_have_count(4)
    expect(page.locator("#base-summary")).to_contain_text("mnist_5k · mlp 32 · adam 0.001 · 4 epochs")
    expect(page.locator("#cost")).to_contain_text("8, of which 8 have been trained before")
    page.get_by_role("switch", name="Add seeds automatically").check()
    expect(page.locator("#curl")).to_contain_text(
        '"stopping_rule":{"variant":"L2 0.0001","half_width":0.2,"max_jobs":40}'
    )
    expect(page.get_by_role("button", name="Start the experiment")).to_be_enabled()


def test_a_question_is_chosen_and_made_small(page: Page) -> None:
    page.goto("/new/experiment")
    expect(page.locator("#cost dd").first).to_have_text("6")
    page.get_by_role("button", name=re.compile("dropout-vs-none")).click()
    expect(page.locator("#preset-help")).to_contain_text("Expected result: Test accuracy may be equal")
    expect(page.locator("#variant-header span")).to_have_text(["Variant", "Dropout"])
    expect(page.locator("#base-summary")).to_contain_text("512-512 · adam 0.001 · 10 epochs")
    page.get_by_role("button", name="Small: mnist_5k, 5 epochs, 6 seeds").click()
    expect(page.locator("#base-summary")).to_have_text("mnist_5k · mlp 128 · adam 0.001 · 5 epochs")
    expect(page.locator("#cost dd").first).to_have_text("12")
    for viewport in ({"width": DESK, "height": 700}, {"width": PHONE, "height": 700}):
        page.set_viewport_size(viewport)
        expect(page.get_by_role("button", name="Start the experiment")).to_be_in_viewport()
    page.get_by_role("button", name="Full size").click()
    expect(page.locator("#base-summary")).to_contain_text("512-512 · adam 0.001 · 10 epochs")
    expect(page.get_by_role("textbox", name="Seeds")).to_have_value("0")


def test_a_duplicated_experiment_keeps_what_the_form_has_no_control_for(page: Page) -> None:
    tuned = {"parameters": {"/regularization/l2/factor": {"low": 1e-5, "high": 1e-2, "scale": "log"}}}
    document = {
        "name": "all of it",
        "base": {"dataset": {"name": "mnist_5k"}, "labels": {"course": "ml1"}},
        "variants": [
            {"name": "none"},
            {"name": "l2", "changes": {"regularization": {"l2": {}}}, "tune": tuned},
        ],
        "seeds": [0, 1],
        "parts": 2,
        "tune": {"parameters": {}, "trials": 3},
        "axes": [{"field": "/training/shuffle", "values": [None, True]}],
    }
    page.route("**/v1/experiments/exp_1", lambda route: route.fulfill(json={"spec": document}))
    page.goto("/new/experiment?from=exp_1")
    expect(page.locator(".variant")).to_have_count(2)
    wait_until(page, "new URLSearchParams(location.search).has('spec')")
    spec = json.loads(parse_qs(urlsplit(page.url).query)["spec"][0])
    assert [variant.get("tune") for variant in spec["variants"]] == [None, tuned]
    assert {name: spec.get(name) for name in ("parts", "tune", "axes")} == {
        name: document[name] for name in ("parts", "tune", "axes")
    }
    assert spec["base"]["labels"] == {"course": "ml1"}


def test_axes_are_chosen_in_the_form(page: Page) -> None:
    page.goto("/new/experiment")
    expect(page.locator("#cost dd").first).to_have_text("6")
    page.get_by_role("button", name="Add an axis").click()
    expect(page.get_by_label("Field of the axis")).to_be_focused()
    page.get_by_label("Field of the axis").select_option("/model/hidden_units")
    values = page.get_by_label("Values of the axis")
    expect(values).to_have_value("16, 64, 256")
    values.fill("16, 32-32, 64")
    expect(page.locator("#axes-total")).to_have_text("Each variant is trained at 3 points with each seed.")
    expect(page.locator("#cost dd").first).to_have_text("18")
    expect(page.locator("#curl")).to_contain_text(
        '"axes":[{"field":"/model/hidden_units","values":[[16],[32,32],[64]]}]'
    )
    page.get_by_role("button", name="Add an axis").click()
    second = page.locator(".axis").nth(1)
    second.get_by_label("Values of the axis").fill("250, 1000, 100000, all")
    expect(page.get_by_role("button", name="Add an axis")).to_be_disabled()
    expect(second.locator("[data-pointer='/values'] .field-error")).to_contain_text(
        "mnist_5k has 4000 training examples"
    )
    second.get_by_label("Values of the axis").fill("250, 1000, all")
    expect(page.locator("#cost dd").first).to_have_text("54")
    page.goto(page.url)
    expect(page.locator(".axis").nth(0).get_by_label("Values of the axis")).to_have_value("16, 32-32, 64")
    expect(page.locator(".axis").nth(1).get_by_label("Values of the axis")).to_have_value("250, 1000, all")
    page.locator(".axis").nth(1).get_by_label("Field of the axis").select_option("/regularization/l2/factor")
    expect(page.locator("#form-errors")).to_contain_text("Field of the axis: every variant needs this field")
    page.locator(".axis").nth(1).get_by_role("button", name="Remove this axis").click()
    expect(page.locator("#cost dd").first).to_have_text("18")
    check_accessibility(page, "/new/experiment")


def test_variants_are_compared_along_an_axis(page: Page, client: Regbench, tmp_path: Path) -> None:
    document = {
        "name": "widths",
        "base": job_spec(training={"epochs": 1}).model_dump(mode="json"),
        "variants": [{"name": "none"}, {"name": "dropout", "changes": {"regularization": {"dropout": {}}}}],
        "seeds": [5, 6],
    }
    experiment = client.create_experiment(document, axes={"model.hidden_units": [[8], [32, 32]]})
    page.goto(f"/experiments/{experiment.id}")
    expect(page.locator(".run-table .cell.succeeded")).to_have_count(8, timeout=TIMEOUT_MS)
    expect(page.locator(".run-table .point")).to_have_text(["hidden units 8", "hidden units 32-32"])
    page.get_by_role("tab", name="Parameter").click(timeout=TIMEOUT_MS)
    expect(page.locator("#gain .plot-legend span")).to_have_text(["dropout"], timeout=30_000)
    expect(page.locator("#along-axis .plot-legend span")).to_have_text(["none", "dropout"])
    # The baseline has the same colour as on the other charts.
    expect(page.locator("#along-axis .plot-legend li").first.locator(".series-baseline")).to_have_count(1)
    expect(page.locator(".forest .contrast td:nth-child(2)")).to_have_text(["8", "32-32"])
    expect(page.get_by_role("button", name="dropout, hidden units 32-32: verdict")).to_be_visible()
    page.get_by_role("tab", name="Report and data").click()
    with page.expect_download() as download:
        page.locator("#save-variants").click()
    download.value.save_as(tmp_path / "variants.csv")
    with (tmp_path / "variants.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [row[:3] for row in csv.reader(file)]
    assert rows[0] == ["variant", "hidden units", "seeds"]
    assert [row[1] for row in rows[1:]] == ["8", "8", "32-32", "32-32"]
    page.get_by_role("tab", name="Seeds").click()
    page.get_by_label("Runs and curves at").select_option("hidden units 32-32")
    expect(page.locator(".run-table .cell")).to_have_count(4)
    page.get_by_role("tab", name="Curves").click()
    expect(page.locator("#curves .plot-legend span")).to_have_text(
        ["none, hidden units 32-32", "dropout, hidden units 32-32"]
    )
    page.get_by_role("tab", name="Seeds").click()
    page.goto(page.url)
    expect(page.locator(".run-table .point")).to_have_text(["hidden units 32-32"])
    check_accessibility(page, "/experiments/ along an axis")
    page.locator(".run-table .cell a").first.click()
    expect(page.locator("h1")).to_have_text("none, seed 5, hidden units 32-32")
    expect(page.locator(".crumbs")).to_contain_text("widths / none, hidden units 32-32 / seed 5")
    # Learn draws the newest of such experiments, here over categories.
    page.goto("/learn")
    expect(page.locator(".study .mark").first).to_have_text("32-32", timeout=TIMEOUT_MS)
    assert page.locator(".study line.reference").first.get_attribute("x1") not in (None, "NaN")


def test_a_tuned_experiments_page_shows_what_was_tried_and_chosen(page: Page, client: Regbench) -> None:
    rate = {"low": 1e-3, "high": 1e-2, "scale": "log"}
    document = {
        "name": "tuned",
        "base": job_spec(training={"epochs": 1}, model={"hidden_units": [8]}).model_dump(mode="json"),
        "variants": [
            {"name": "none"},
            {
                "name": "dropout",
                "changes": {"regularization": {"dropout": {}}},
                "tune": {"parameters": {"/regularization/dropout/rate": {"low": 0.1, "high": 0.3}}},
            },
        ],
        "seeds": [5, 6],
        "tune": {
            "parameters": {"/training/optimizer/learning_rate": rate},
            "trials": 2,
            "seeds_per_trial": 1,
        },
    }
    experiment = client.create_experiment(document)
    page.goto(f"/experiments/{experiment.id}")
    rows = page.locator("#tuning tbody tr")
    expect(rows.locator("td:last-child")).to_have_text(["2 of 2", "2 of 2"], timeout=TIMEOUT_MS)
    expect(rows.first.locator("td").first).to_contain_text("learning rate 0.00", timeout=TIMEOUT_MS)
    # By the technique's title, as the server names it.
    expect(rows.last.locator("td").first).to_contain_text(", Dropout rate 0.", timeout=TIMEOUT_MS)
    expect(page.locator("#tuning img.report-chart")).to_have_count(2, timeout=TIMEOUT_MS)
    expect(page.locator(".trial-line")).to_have_count(2 * 2)
    page.locator(".trial-line.chosen").first.focus()
    expect(page.locator("#trial-lines").get_by_role("status")).to_contain_text(", chosen: learning rate 0.00")
    check_accessibility(page, "/experiments/ with tuning")
    page.get_by_label("More actions").click()
    page.get_by_role("link", name="Confirm on fresh seeds").click()
    page.get_by_role("button", name="Start the follow-up").click()
    page.wait_for_url(lambda address: not address.split("#")[0].endswith(experiment.id))
    expect(page.locator("#tuning")).to_contain_text("this follow-up judges the settings", timeout=TIMEOUT_MS)
    follow_up = client.experiment(page.url.rpartition("/")[2].partition("#")[0])
    assert follow_up.progress is not None
    assert follow_up.progress.total == 2 * 6, "no trials"


def test_a_follow_up_starts_from_the_experiments_page(page: Page, client: Regbench, finished: str) -> None:
    page.goto(f"/experiments/{finished}")
    page.get_by_label("More actions").click()
    page.get_by_role("link", name="Confirm on fresh seeds").click()
    page.get_by_role("checkbox", name="L2 0.0001", exact=True).uncheck()
    page.get_by_role("button", name="Start the follow-up").click()
    page.wait_for_url(lambda address: not address.endswith(finished))
    expect(page.locator("#related")).to_contain_text("Follows up a sweep on fresh seeds")
    follow_up = client.experiment(page.url.rpartition("/")[2])
    names = [variant["name"] for variant in follow_up.spec["variants"]]
    assert (names, follow_up.spec["seeds"]) == (["none", "L2 0.001", "L2 0.01"], [2, 3, 4, 5, 6, 7])
    check_accessibility(page, f"/experiments/{finished}")
    follow_up.cancel()


def test_a_report_is_frozen_on_the_experiments_page(page: Page, client: Regbench, finished: str) -> None:
    page.goto(f"/experiments/{finished}")
    page.get_by_role("tab", name="Report and data").click()
    page.get_by_role("button", name="Freeze the report").click()
    kept = page.locator("#frozen-reports li")
    # Every format is rendered, with all charts.
    expect(kept).to_have_count(1, timeout=60_000)
    expect(kept).to_contain_text("SHA-256")
    (report,) = client.frozen_reports(finished)
    expect(kept.get_by_role("link")).to_have_attribute("href", f"/v1/reports/{report.digest}?format=html")
    assert b"<html" in client.frozen_report(report.digest, "html")
    page.once("dialog", lambda dialog: dialog.accept())
    kept.get_by_role("button", name="Delete").click()
    expect(kept).to_have_count(0)
    assert client.frozen_reports(finished) == []
    drawn = sum(len(item.images) for item in client.mistakes(finished, limit=8))
    expect(page.locator("#mistakes figure img")).to_have_count(drawn, timeout=30_000)
    expect(page.locator("#bundle")).to_have_attribute("href", f"/v1/experiments/{finished}/bundle")


def test_two_models_predict_a_drawn_digit(
    page: Page, client: Regbench, finished: str, tmp_path: Path
) -> None:
    drawn = Image.new("RGB", (200, 200), "white")
    drawn.save(tmp_path / "blank.png")
    ImageDraw.Draw(drawn).line([(115, 30), (100, 170)], fill="navy", width=14)
    drawn.save(tmp_path / "one.png")
    jobs, one = {job.variant: job.id for job in client.jobs_of(finished)}, (tmp_path / "one.png").read_bytes()
    wait_for_predictor(client, jobs["none"], one)
    page.goto("/try")
    page.wait_for_url(re.compile(r"/try\?left=job_\w+&right=job_\w+$"))
    expect(page.locator("#left option:checked")).to_have_text(re.compile(r"seed \d+, .+: \d"))
    # Which pair that is depends on the experiments of other tests.
    page.goto(f"/try?left={jobs['none']}&right={jobs['L2 0.0001']}")
    expect(page.locator("#pad-about")).to_contain_text("Test image")
    # Both models are loaded and traced first.
    expect(page.locator(".digit")).to_have_text([re.compile(r"\d")] * 2, timeout=TIMEOUT_MS)
    expect(page.locator("#pad-hint")).to_be_visible()
    box = page.locator("#pad").bounding_box()
    assert box is not None
    middle, top, bottom = box["x"] + 0.5 * box["width"], box["y"] + 40, box["y"] + box["height"] - 40
    page.mouse.move(middle + 12, top)
    page.mouse.down()
    page.mouse.move(middle, bottom, steps=8)
    page.mouse.up()
    expect(page.locator(".digit")).to_have_text(["1", "1"], timeout=TIMEOUT_MS)
    expect(page.locator("#pad-hint")).to_be_hidden()
    expect(page.locator("#left option:checked")).to_contain_text("a sweep")
    for side in page.locator("[data-side]").all():
        texts = side.locator(".bars .value").all_inner_texts()
        shares = [float(text.removeprefix(">").removesuffix(" %")) for text in texts]
        assert (len(shares), shares.index(max(shares))) == (10, 1)
        assert sum(shares) == pytest.approx(100, abs=0.6)
        expect(side.locator(".confidence")).to_contain_text("confidence of")
    expect(page.locator("#agreement")).to_contain_text("Both predict 1")
    expect(page.get_by_label("What the models see")).to_be_visible()

    # With the keyboard only, and with another model.
    page.locator("#pad").focus()
    page.keyboard.press("Backspace")
    expect(page.locator(".digit")).to_have_text(["\u2013", "\u2013"])
    page.keyboard.press("0")
    expect(page.locator(".digit").first).to_have_text("0", timeout=TIMEOUT_MS)
    left = page.locator("#left")
    left.select_option(left.locator("option:not(:checked)").first.get_attribute("value"))
    expect(page.locator(".digit").first).to_have_text(re.compile(r"\d"), timeout=TIMEOUT_MS)
    assert "left=job_" in page.url
    # A file that is dark on white, as photographs are.
    page.locator("#upload").set_input_files(tmp_path / "one.png")
    expect(page.locator(".digit").nth(1)).to_have_text("1", timeout=TIMEOUT_MS)
    # A prediction for what was there before must not stand beside a file without ink.
    page.locator("#upload").set_input_files(tmp_path / "blank.png")
    expect(page.locator("#error")).to_contain_text("nothing is drawn")
    expect(page.locator(".digit")).to_have_text(["\u2013", "\u2013"])
    expect(page.locator(".warnings").first).to_be_hidden()
    twice = Image.new("RGB", (200, 200), "white")
    for left in (40, 150):
        ImageDraw.Draw(twice).line([(left + 15, 30), (left, 170)], fill="navy", width=14)
    twice.save(tmp_path / "twice.png")
    page.locator("#upload").set_input_files(tmp_path / "twice.png")
    expect(page.locator(".warnings").first).to_contain_text("Several figures are drawn")


def test_two_confidences_differ_by_what_is_said(page: Page, client: Regbench, finished: str) -> None:
    jobs = [job.id for job in client.jobs_of(finished)[:2]]
    confidences = [0.96662, 0.96239]

    def predict(route: Route) -> None:
        items = [
            {
                "job_id": job,
                "predictions": [
                    {
                        "label": 1,
                        "confidence": confidence,
                        "probabilities": [1 - confidence, confidence],
                        "warnings": [],
                    }
                ],
            }
            for job, confidence in zip(jobs, confidences, strict=True)
        ]
        route.fulfill(json={"items": items, "images": [[[0] * 28] * 28]})

    page.route("**/v1/predict?*", predict)
    page.goto(f"/try?left={jobs[0]}&right={jobs[1]}")
    page.locator("#pad").press("1")
    agreement = page.locator("#agreement")
    expect(agreement).to_have_text("Both predict 1; Model A is more confident by 0.5 points.")
    expect(page.locator(".confidence")).to_have_text(
        ["with a confidence of 96.7 %", "with a confidence of 96.2 %"]
    )
    expect(page.locator(".predicted .value")).to_have_text(["96.7 %", "96.2 %"])
    confidences[:] = 0.8, 0.9995
    page.locator("#pad").press("2")
    expect(agreement).to_have_text("Both predict 1; Model B is more confident.")
    expect(page.locator(".predicted .value")).to_have_text(["80.0 %", ">99.9 %"])
    confidences[:] = 0.8, 0.80001
    page.locator("#pad").press("3")
    expect(agreement).to_have_text("Both predict 1 with almost equal confidence.")


def test_only_a_model_with_dropout_keeps_it_active(page: Page, client: Regbench, finished: str) -> None:
    plain = client.jobs_of(finished)[0].id
    file = io.BytesIO()
    ImageDraw.Draw(drawn := Image.new("L", (200, 200), 255)).line([(115, 30), (100, 170)], width=14)
    drawn.save(file, "PNG")
    wait_for_predictor(client, plain, file.getvalue())
    spec = job_spec(model={"hidden_units": [32]}, regularization={"dropout": {}}, training={"epochs": 2})
    dropping = client.submit(spec).wait(timeout=DEADLINE_SECONDS)
    page.goto(f"/try?left={dropping.id}&right={plain}")
    page.locator("#pad").press("0")
    page.get_by_label("Keep dropout active").check()
    expect(page.locator(".confidence").first).to_contain_text("over 50 passes (sd", timeout=TIMEOUT_MS)
    expect(page.locator(".confidence").nth(1)).to_contain_text("with a confidence of")


def wait_for_predictor(client: Regbench, job_id: str, image: bytes) -> None:
    """Return when it answers; it may still be importing TensorFlow."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            client.predict(job_id, [image])
            return
        except ProblemError as error:
            if not error.temporary or time.monotonic() > deadline:
                raise
        time.sleep(0.5)


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_pages_are_accessible(browser: Any, url: str, finished: str, width: int) -> None:
    for path in ("/experiments", f"/experiments/{finished}", "/new", "/new/experiment", "/try"):
        with open_page(browser, url, path, "light", width) as page:
            page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
            page.evaluate(
                "document.querySelectorAll('.tab-panel').forEach(panel => { panel.hidden = false; })"
            )
            for switch in page.locator(".switch").all():
                switch.check()
            check_accessibility(page, path)
            if width == DESK:
                check_colours(page, "dark")
