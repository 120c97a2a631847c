"""The API under load, on a database of 100,000 jobs and 3,000,000 epochs, beside a bare FastAPI route.

    python -m bench api [--jobs 100000] [--epochs 3000000] [--database sqlite postgresql] [--seconds 5]

One API process; wrk sends requests over sixteen connections. A ratio is measured in turns with the bare route
within the same minute. Pages and histories are requested one at a time; their median is shown.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from bench.harness import DATABASES, Row, measure_on_databases, parse_arguments
from bench.large_database import EPOCHS, LargeDatabase, fill
from bench.load import measure_latency, measure_rate, write_post_script
from bench.server import read_memory, run_api, run_server
from models.metrics import METRICS

BARE = ("-m", "uvicorn", "bench.bare:app", "--no-access-log")
ROUNDS = 3
PAGE_MILLISECONDS = 15.0
HISTORY_MILLISECONDS = 10.0
MEMORY_MEGABYTES = 150.0
# Lists read by all threads at once take 47 MB, and the import of Celery for the first message 26 MB.
BUSY_MEMORY_MEGABYTES = 200.0
FAR_PAGE = 1_000
_PAGE = 50


def main() -> int:
    """Print a table for each database; exit code 1 if a target is missed."""
    arguments = parse_arguments(__doc__, jobs=100_000, epochs=3_000_000, seconds=5, database=DATABASES)
    return measure_on_databases(arguments.database, _measure, arguments)


def _measure(url: str, folder: str, arguments: argparse.Namespace) -> Iterator[Row]:
    started = time.perf_counter()
    content = fill(url, jobs=arguments.jobs, epochs=arguments.epochs)
    yield Row(
        f"stored {arguments.jobs:,} jobs, {arguments.epochs:,} epochs", time.perf_counter() - started, "s"
    )
    started = time.perf_counter()
    with run_api(url, folder) as (pid, address), httpx.Client(base_url=address, timeout=60.0) as client:
        yield Row("start to first response", time.perf_counter() - started, "s", 2.0)
        yield Row("memory after the first response", read_memory(pid, "VmRSS"), "MB", MEMORY_MEGABYTES)
        yield from _measure_pages(client, content)
        with run_server(BARE, folder, {}, "/") as (_, bare):
            yield from _measure_reads(client, bare, content, arguments.seconds)
        spec = client.get(f"/v1/jobs/{content.finished_job}").json()["spec"]
        # The one dataset that is on every machine.
        spec["dataset"]["name"] = "mnist_5k"
        client.post("/v1/jobs", json=spec).raise_for_status()
        script = write_post_script(json.dumps(spec), Path(folder))
        rate = measure_rate(f"{address}/v1/jobs", arguments.seconds, script=script)
        yield Row("POST /v1/jobs", rate, "a s", 80.0, at_least=True)
        yield Row("memory after all that", read_memory(pid, "VmRSS"), "MB", BUSY_MEMORY_MEGABYTES)


def _measure_reads(client: httpx.Client, bare: str, content: LargeDatabase, seconds: int) -> Iterator[Row]:
    path = f"/v1/jobs/{content.finished_job}"
    unchanged = {"If-None-Match": client.get(path).headers["ETag"]}
    assert client.get(path, headers=unchanged).status_code == httpx.codes.NOT_MODIFIED  # noqa: S101 (else this measures something else)
    job = f"{client.base_url}{path}"
    contestants = {"bare": (bare, {}), "job": (job, {}), "unchanged": (job, unchanged)}
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, (url, headers) in contestants.items():
            rates[name].append(measure_rate(url, seconds, headers=headers))
    for name, measured in rates.items():
        print(f"  {name}: {', '.join(f'{rate:.0f}' for rate in measured)} requests a second")
    for name, title, target in (("job", "GET /v1/jobs/{id}", 1 / 4), ("unchanged", "the same, 304", 1 / 3)):
        shares = [rate / bare_rate for rate, bare_rate in zip(rates[name], rates["bare"], strict=True)]
        yield Row(title, statistics.median(shares), "of bare", target, at_least=True)


def _measure_pages(client: httpx.Client, content: LargeDatabase) -> Iterator[Row]:
    rare = f"label={content.rare_label.replace('=', '%3D')}"
    queries = {
        "newest": "",
        "state": "state=failed",
        "two states": "state=failed&state=cancelled",
        "technique": "technique=dropout",
        "a rare technique": "technique=mixup",
        "technique and state": "technique=dropout&state=failed",
        "dataset": "dataset=mnist_5k",
        "experiment": f"experiment={content.experiment}",
        "label": "label=case%3D3",
        "a rare label": rare,
        "a rare label and a state": f"{rare}&state=paused",
        "created before": "created_before=2026-01-10T00:00:00Z",
        "nothing matches": "technique=mixup&state=paused&label=case%3D7",
        "a state without results, sorted": "state=failed&sort=-test_accuracy",
    }
    for title, query in queries.items():
        yield _measure_page(client, f"page: {title}", f"/v1/jobs?limit={_PAGE}&{query}")
    yield max(
        (
            _measure_page(client, f"page: slowest sort, {sort}", f"/v1/jobs?limit={_PAGE}&sort={sort}")
            for metric in METRICS
            for sort in (metric, f"-{metric}")
        ),
        key=lambda row: row.value,
    )
    # The thousandth page, or the last one where there are fewer.
    far = f"/v1/jobs?limit={_PAGE}&fields=id"
    for _ in range(FAR_PAGE):
        if "next" not in (links := client.get(far).links):
            break
        far = links["next"]["url"]
    yield _measure_page(client, f"page {FAR_PAGE:,}", far.replace("&fields=id", ""))
    yield _measure_page(client, "experiments", f"/v1/experiments?limit={_PAGE}")
    epochs = f"/v1/jobs/{content.finished_job}/epochs"
    assert len(client.get(epochs).json()["items"]) == EPOCHS  # noqa: S101 (else this measures something else)
    yield _measure_page(client, f"history of {EPOCHS} epochs", epochs, HISTORY_MILLISECONDS)


def _measure_page(client: httpx.Client, title: str, path: str, target: float = PAGE_MILLISECONDS) -> Row:
    client.get(path).raise_for_status()
    return Row(title, measure_latency(f"{client.base_url}{path}", 1), "ms", target)
