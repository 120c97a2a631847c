"""How soon the dashboard's pages show something in a real browser, over a database of 10,000 jobs.

    python -m bench.pages [--jobs 10000]

One API process over SQLite, and a Chromium of this machine that has kept nothing. "First paint" is the
browser's own `first-contentful-paint`, counted from when the page is asked for. Each page is opened a few
times anew, and the median is told.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, sync_playwright

from bench.api import Row
from bench.large_database import EPOCHS, fill
from bench.server import api_process, sqlite
from bench.workload import positive, warn_if_busy
from tests.acceptance.browsing import CHROMIUM, DESK

FIRST_PAINT_SECONDS = 1.0
_OPENED = 5
_WITH_HISTORY = 500
_PAINTED = "performance.getEntriesByName('first-contentful-paint').map(each => each.startTime)"


def main() -> int:
    """Print a line for each page; exit code 1 if one takes too long."""
    parser = argparse.ArgumentParser(description="First paint of the dashboard's pages.")
    parser.add_argument("--jobs", type=positive, default=10_000)
    arguments = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit("no Chromium is there; your system's packages have one: apt-get install chromium")
    warn_if_busy()
    missed = False
    with TemporaryDirectory(prefix="regbench-bench-") as folder:
        for row in _measured(folder, arguments.jobs, CHROMIUM):
            print(row, flush=True)
            missed |= row.missed
    return int(missed)


def _measured(folder: str, jobs: int, chromium: str) -> Iterator[Row]:
    url = sqlite(str(Path(folder)))
    crowd = fill(url, jobs=jobs, epochs=_WITH_HISTORY * EPOCHS)
    job, experiment = f"/jobs/{crowd.finished_job}", f"/experiments/{crowd.experiment}"
    lists = ["/jobs", "/jobs?state=failed&sort=created_at", "/experiments"]
    pages = [*lists, job, experiment, "/new", "/new/experiment", "/try", "/learn", "/learn/dropout"]
    with (
        api_process(url, folder) as (_, address),
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]) as browser,
    ):
        for page in pages:
            painted = [_first_paint(browser, address + page) for _ in range(_OPENED)]
            yield Row(page, statistics.median(painted), "s", FIRST_PAINT_SECONDS)


def _first_paint(browser: Browser, address: str) -> float:
    """Seconds; in a context of its own, whose cache is empty."""
    with browser.new_context(viewport={"width": DESK, "height": 800}) as context, context.new_page() as page:
        answer = page.goto(address, wait_until="load")
        assert answer is not None and answer.ok, address  # noqa: S101, PT018 (else this measures something else)
        while not (painted := page.evaluate(_PAINTED)):
            page.wait_for_timeout(20)
        return float(painted[0]) / 1000


if __name__ == "__main__":
    sys.exit(main())
