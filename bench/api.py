"""The API under load, on a database of 100,000 jobs and 3,000,000 epochs, beside a bare FastAPI route.

    python -m bench.api [--jobs 100000] [--epochs 3000000] [--database sqlite postgresql] [--seconds 5]

One API process; wrk asks with sixteen connections. What is a ratio was measured in turns with the bare route
within the same minute. Pages and histories are asked for one at a time, and their median is told.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from bench.large_database import EPOCHS, Crowd, fill
from bench.load import median_milliseconds, posting, requests_per_second
from bench.server import api_process, megabytes, served, sqlite
from bench.workload import positive, warn_if_busy
from models.store.tables import SORTABLE_METRICS
from tests.servers import postgresql

BARE = ("-m", "uvicorn", "bench.bare:app", "--no-access-log")
ROUNDS = 3
PAGE_MILLISECONDS = 15.0
HISTORY_MILLISECONDS = 10.0
START_SECONDS = 2.0
MEMORY_MEGABYTES = 150.0
POSTS_PER_SECOND = 80.0
FAR_PAGE = 1_000
_ASKED_SECONDS = 1
_PAGE = 50


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    value: float
    unit: str
    target: float
    at_least: bool = False

    @property
    def missed(self) -> bool:
        """Whether the target is missed."""
        return self.value < self.target if self.at_least else self.value >= self.target

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<"
        line = f"  {self.what:44}{self.value:10.2f} {self.unit:7}{f'{sign} {self.target:.3g}':>9}"
        return line + ("   missed" if self.missed else "")


def main() -> int:
    """Print a table for each database; exit code 1 if a target is missed."""
    arguments = _arguments()
    warn_if_busy()
    missed = False
    for name in arguments.database:
        with TemporaryDirectory(prefix="regbench-bench-") as folder, ExitStack() as stack:
            url = stack.enter_context(postgresql()) if name == "postgresql" else sqlite(folder)
            began = time.perf_counter()
            crowd = fill(url, jobs=arguments.jobs, epochs=arguments.epochs)
            took = time.perf_counter() - began
            print(f"{name}: {arguments.jobs:,} jobs, {arguments.epochs:,} epochs, stored in {took:.0f} s")
            for row in _measured(url, folder, crowd, arguments):
                print(row, flush=True)
                missed |= row.missed
    return int(missed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The API under load.")
    parser.add_argument("--jobs", type=positive, default=100_000)
    parser.add_argument("--epochs", type=positive, default=3_000_000)
    parser.add_argument("--seconds", type=positive, default=5, help="of each load")
    parser.add_argument(
        "--database", nargs="+", choices=("sqlite", "postgresql"), default=["sqlite", "postgresql"]
    )
    return parser.parse_args()


def _measured(url: str, folder: str, crowd: Crowd, arguments: argparse.Namespace) -> Iterator[Row]:
    began = time.perf_counter()
    with (
        api_process(url, folder) as (pid, address),
        httpx.Client(base_url=address, timeout=60.0) as client,
    ):
        yield Row("start to first answer", time.perf_counter() - began, "s", START_SECONDS)
        yield Row("memory after the first answer", megabytes(pid, "VmRSS"), "MB", MEMORY_MEGABYTES)
        yield from _pages(client, crowd)
        with served(BARE, folder, {}, "/") as (_, bare):
            yield from _loads(client, bare, crowd, arguments.seconds)
        yield from _posts(client, Path(folder), crowd, arguments.seconds)
        yield Row("memory after all that", megabytes(pid, "VmRSS"), "MB", MEMORY_MEGABYTES)


def _loads(client: httpx.Client, bare: str, crowd: Crowd, seconds: int) -> Iterator[Row]:
    path = f"/v1/jobs/{crowd.finished_job}"
    job = f"{client.base_url}{path}"
    unchanged = {"If-None-Match": client.get(path).headers["ETag"]}
    assert client.get(path, headers=unchanged).status_code == httpx.codes.NOT_MODIFIED  # noqa: S101 (else this measures something else)
    contestants: dict[str, Callable[[], float]] = {
        "bare": lambda: requests_per_second(bare, seconds),
        "job": lambda: requests_per_second(job, seconds),
        "unchanged": lambda: requests_per_second(job, seconds, headers=unchanged),
    }
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, run in contestants.items():
            rates[name].append(run())
    for name, found in rates.items():
        print(f"  {name}: {', '.join(f'{rate:.0f}' for rate in found)} requests a second")
    for name, target in (("job", 1 / 4), ("unchanged", 1 / 3)):
        shares = [mine / bare for mine, bare in zip(rates[name], rates["bare"], strict=True)]
        what = "GET /v1/jobs/{id}" if name == "job" else "the same, 304"
        yield Row(what, statistics.median(shares), "of bare", target, at_least=True)


def _posts(client: httpx.Client, folder: Path, crowd: Crowd, seconds: int) -> Iterator[Row]:
    spec = client.get(f"/v1/jobs/{crowd.finished_job}").json()["spec"]
    # The one dataset that is on every machine.
    spec["dataset"]["name"] = "mnist_5k"
    document = json.dumps(spec)
    first = client.post("/v1/jobs", content=document, headers={"Content-Type": "application/json"})
    if not first.is_success:
        raise SystemExit(first.json()["detail"])
    rate = requests_per_second(f"{client.base_url}/v1/jobs", seconds, script=posting(document, folder))
    yield Row("POST /v1/jobs", rate, "a s", POSTS_PER_SECOND, at_least=True)


def _pages(client: httpx.Client, crowd: Crowd) -> Iterator[Row]:
    questions = {
        "newest": "",
        "state": "state=failed",
        "two states": "state=failed&state=cancelled",
        "technique": "technique=dropout",
        "a rare technique": "technique=mixup",
        "technique and state": "technique=dropout&state=failed",
        "dataset": "dataset=mnist_5k",
        "experiment": f"experiment={crowd.experiment}",
        "label": "label=case%3D3",
        "a rare label": f"label={crowd.rare_label.replace('=', '%3D')}",
        "a rare label and a state": f"label={crowd.rare_label.replace('=', '%3D')}&state=paused",
        "created before": "created_before=2026-01-10T00:00:00Z",
        "nothing fits": "technique=mixup&state=paused&label=case%3D7",
    }
    for what, question in questions.items():
        yield _asked(client, f"page: {what}", f"/v1/jobs?limit={_PAGE}&{question}", PAGE_MILLISECONDS)
    slowest = max(
        (
            _asked(client, f"page: slowest sort, {sign}{metric}", path, PAGE_MILLISECONDS)
            for metric in SORTABLE_METRICS
            for sign in ("", "-")
            for path in [f"/v1/jobs?limit={_PAGE}&sort={sign}{metric}"]
        ),
        key=lambda row: row.value,
    )
    yield slowest
    path = f"/v1/jobs?limit={_PAGE}&state=failed&sort=-test_accuracy"
    yield _asked(client, "page: a state without results, sorted", path, PAGE_MILLISECONDS)
    far = _far_page(client)
    yield _asked(client, f"page {FAR_PAGE:,}", far, PAGE_MILLISECONDS)
    yield _asked(client, "experiments", f"/v1/experiments?limit={_PAGE}", PAGE_MILLISECONDS)
    epochs = f"/v1/jobs/{crowd.finished_job}/epochs"
    assert len(client.get(epochs).json()["items"]) == EPOCHS  # noqa: S101 (else this measures something else)
    yield _asked(client, f"history of {EPOCHS} epochs", epochs, HISTORY_MILLISECONDS)


def _far_page(client: httpx.Client) -> str:
    """The path of the thousandth page, or of the last one where there are fewer."""
    path = f"/v1/jobs?limit={_PAGE}&fields=id"
    for _, _ in pairwise(range(FAR_PAGE + 1)):
        links = client.get(path).links
        if "next" not in links:
            break
        path = links["next"]["url"]
    return path.replace("&fields=id", "")


def _asked(client: httpx.Client, what: str, path: str, target: float) -> Row:
    """The median of a second's answers, in milliseconds: the service's time, without a client in Python."""
    client.get(path).raise_for_status()
    return Row(what, median_milliseconds(f"{client.base_url}{path}", _ASKED_SECONDS), "ms", target)


if __name__ == "__main__":
    sys.exit(main())
