"""How soon the dashboard's pages show something in a real browser, over a database of 10,000 jobs.

    python -m bench pages [--jobs 10000]

One API process over SQLite, and this machine's Chromium with an empty cache. "First paint" is the browser's
own `first-contentful-paint`, from the request on. Each page is opened five times; the median is shown.
The other figures are taken once as Lighthouse takes them, on a slow phone: a quarter of the processor,
1.6 Mbit/s and 150 ms a round trip, beside the limits of what Lighthouse calls good.
"""

import argparse
import statistics
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from bench.harness import Row, measure_on_databases, parse_arguments
from bench.large_database import EPOCHS, fill
from bench.server import run_api
from tests.acceptance.browsing import CHROMIUM, DESK, PHONE

FIRST_PAINT_SECONDS = 1.0
_ROUNDS = 5
_JOBS_WITH_HISTORY = 500
_SLOW_PROCESSOR, _SLOW_NETWORK = (
    4,
    {"latency": 150, "downloadThroughput": 204_800, "uploadThroughput": 93_750},
)
_TARGETS = {"transferred": 200.0, "largest paint": 2.5, "blocked": 0.2, "layout shift": 0.1}
_UNITS = {"transferred": "kB", "largest paint": "s", "blocked": "s", "layout shift": ""}
_OBSERVE = """
window.seen = { paint: 0, blocked: 0, shift: 0 };
const observe = (type, add) =>
  new PerformanceObserver(list => list.getEntries().forEach(add)).observe({ type, buffered: true });
observe('largest-contentful-paint', entry => { window.seen.paint = entry.startTime; });
observe('longtask', entry => { window.seen.blocked += Math.max(entry.duration - 50, 0); });
observe('layout-shift', entry => { if (!entry.hadRecentInput) window.seen.shift += entry.value; });
"""
_PAINTED = "performance.getEntriesByName('first-contentful-paint').map(entry => entry.startTime)"


def main() -> int:
    """Print a line for each page; exit code 1 if one takes too long."""
    return measure_on_databases(["sqlite"], _measure, parse_arguments(__doc__, jobs=10_000))


def _measure(url: str, folder: str, arguments: argparse.Namespace) -> Iterator[Row]:
    if CHROMIUM is None:
        raise SystemExit("there is no Chromium; your system's packages have one: apt-get install chromium")
    content = fill(url, jobs=arguments.jobs, epochs=_JOBS_WITH_HISTORY * EPOCHS)
    job, experiment = f"/jobs/{content.finished_job}", f"/experiments/{content.experiment}"
    lists = ["/", "/jobs", "/jobs?state=failed&sort=created_at", "/experiments"]
    pages = [*lists, job, experiment, "/new", "/new/experiment", "/try", "/learn", "/learn/dropout"]
    with (
        run_api(url, folder) as (_, address),
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as browser,
    ):
        for page in pages:
            seconds = [_measure_first_paint(browser, address + page) for _ in range(_ROUNDS)]
            yield Row(page, statistics.median(seconds), "s", FIRST_PAINT_SECONDS)
            for title, value in _measure_slowly(browser, address + page).items():
                yield Row(f"    {title}", value, _UNITS[title], _TARGETS[title])


def _measure_first_paint(browser: Browser, url: str) -> float:
    # In a context of its own, whose cache is empty.
    with browser.new_context(viewport={"width": DESK, "height": 800}) as context, context.new_page() as page:
        response = page.goto(url, wait_until="load")
        assert response is not None and response.ok, url  # noqa: S101, PT018 (else this measures something else)
        while not (painted := page.evaluate(_PAINTED)):
            page.wait_for_timeout(20)
        return float(painted[0]) / 1000


def _measure_slowly(browser: Browser, url: str) -> dict[str, float]:
    """Each figure of `_TARGETS`, once the network is idle."""
    with browser.new_context(viewport={"width": PHONE, "height": 800}) as context, context.new_page() as page:
        session = context.new_cdp_session(page)
        transferred: list[float] = []
        session.on("Network.loadingFinished", lambda event: transferred.append(event["encodedDataLength"]))
        session.send("Network.enable")
        session.send("Network.emulateNetworkConditions", {"offline": False, **_SLOW_NETWORK})
        session.send("Emulation.setCPUThrottlingRate", {"rate": _SLOW_PROCESSOR})
        page.add_init_script(_OBSERVE)
        page.goto(url, wait_until="networkidle")
        seen: dict[str, Any] = page.evaluate("window.seen")
    figures = [sum(transferred), seen["paint"], seen["blocked"]]
    return dict(zip(_TARGETS, [*(figure / 1000 for figure in figures), seen["shift"]], strict=True))
