"""How soon the dashboard's pages show something in a real browser, over a database of 10,000 jobs.

    python -m bench pages [--jobs 10000]

One API process over SQLite, and this machine's Chromium with an empty cache. "First paint" is the browser's
own `first-contentful-paint`, from the request on. Each page is opened five times; the median is shown.
"""

import argparse
import statistics
from collections.abc import Iterator

from playwright.sync_api import Browser, sync_playwright

from bench.harness import Row, measure_on_databases, parse_arguments
from bench.large_database import EPOCHS, fill
from bench.server import run_api
from tests.acceptance.browsing import CHROMIUM, DESK

FIRST_PAINT_SECONDS = 1.0
_ROUNDS = 5
_JOBS_WITH_HISTORY = 500
_PAINTED = "performance.getEntriesByName('first-contentful-paint').map(entry => entry.startTime)"


def main() -> int:
    """Print a line for each page; exit code 1 if one takes too long."""
    return measure_on_databases(["sqlite"], _measure, parse_arguments(__doc__, jobs=10_000))


def _measure(url: str, folder: str, arguments: argparse.Namespace) -> Iterator[Row]:
    if CHROMIUM is None:
        raise SystemExit("there is no Chromium; your system's packages have one: apt-get install chromium")
    content = fill(url, jobs=arguments.jobs, epochs=_JOBS_WITH_HISTORY * EPOCHS)
    job, experiment = f"/jobs/{content.finished_job}", f"/experiments/{content.experiment}"
    lists = ["/jobs", "/jobs?state=failed&sort=created_at", "/experiments"]
    pages = [*lists, job, experiment, "/new", "/new/experiment", "/try", "/learn", "/learn/dropout"]
    with (
        run_api(url, folder) as (_, address),
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as browser,
    ):
        for page in pages:
            seconds = [_measure_first_paint(browser, address + page) for _ in range(_ROUNDS)]
            yield Row(page, statistics.median(seconds), "s", FIRST_PAINT_SECONDS)


def _measure_first_paint(browser: Browser, url: str) -> float:
    # In a context of its own, whose cache is empty.
    with browser.new_context(viewport={"width": DESK, "height": 800}) as context, context.new_page() as page:
        response = page.goto(url, wait_until="load")
        assert response is not None and response.ok, url  # noqa: S101, PT018 (else this measures something else)
        while not (painted := page.evaluate(_PAINTED)):
            page.wait_for_timeout(20)
        return float(painted[0]) / 1000
