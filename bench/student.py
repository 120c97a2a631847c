"""How long a student waits for an answer: from the overview of an empty installation, in a real browser.

    python -m bench student

"Does dropout help?" is clicked; the clock stops when the experiment's page says that it has finished. The
worker has trained nothing before.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import sync_playwright

from bench.harness import Row, parse_arguments, print_rows
from bench.server import run_own_stack
from tests.acceptance.browsing import CHROMIUM, DESK

_QUESTION = "Does dropout help?"
_MOST_CLICKS = 3
_MOST_SECONDS = 30.0
_WAIT_MILLISECONDS = 300_000


def main() -> int:
    """Print the clicks and the seconds; exit code 1 if they are too many."""
    parse_arguments(__doc__)
    if CHROMIUM is None:
        raise SystemExit("there is no Chromium; your system's packages have one: apt-get install chromium")
    return print_rows(_measure())


def _measure() -> Iterator[Row]:
    with (
        TemporaryDirectory(prefix="regbench-bench-") as folder,
        run_own_stack(Path(folder)) as (stack, _),
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]) as browser,
    ):
        page = browser.new_page(base_url=stack.url, viewport={"width": DESK, "height": 900})
        page.goto("/")
        started = time.perf_counter()
        page.get_by_role("button", name=_QUESTION).click()
        # The page's policy forbids the eval() of Playwright's `wait_for_function`.
        page.wait_for_url("**/experiments/exp_*", timeout=_WAIT_MILLISECONDS)
        while not page.title().startswith("✓") and time.perf_counter() < started + _WAIT_MILLISECONDS / 1000:
            page.wait_for_timeout(50)
        yield Row(f"clicks to the answer of {_QUESTION!r}", 1, "", _MOST_CLICKS)
        yield Row("seconds to it", time.perf_counter() - started, "s", _MOST_SECONDS)
