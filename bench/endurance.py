"""An API process over time: its memory after 100,000 requests and 10,000 event streams, opened and closed.

python -m bench endurance [--requests 100000] [--streams 10000] [--database sqlite postgresql]
"""

import argparse
import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx

from bench.api import BUSY_MEMORY_MEGABYTES
from bench.harness import DATABASES, Row, measure_on_databases, parse_arguments
from bench.large_database import EPOCHS, fill
from bench.load import count_requests, write_get_script
from bench.server import HOST, read_memory, run_api

GROWTH_MEGABYTES = 10.0
_SECONDS_A_LOAD = 10
_CONCURRENT_STREAMS = 200
_WARM_UP = 5
"""The first one in so many fills what is never released: pools, caches, compiled statements."""
_JOBS = 2_000


def main() -> int:
    """Print a table for each database; exit code 1 if a target is missed."""
    arguments = parse_arguments(__doc__, requests=100_000, streams=10_000, database=DATABASES)
    return measure_on_databases(arguments.database, _measure, arguments)


def _measure(url: str, folder: str, arguments: argparse.Namespace) -> Iterator[Row]:
    content = fill(url, jobs=_JOBS, epochs=EPOCHS * _JOBS)
    # Polling mostly, as clients do; among twenty requests a page, a history and an experiment.
    job = f"/v1/jobs/{content.finished_job}"
    others = ["/v1/jobs?state=failed&limit=20", f"{job}/epochs", f"/v1/experiments/{content.experiment}"]
    script = write_get_script([job] * 17 + others, Path(folder))
    with run_api(url, folder) as (pid, address):
        # It stays queued, since no worker runs: its streams end when their client leaves.
        queued = httpx.post(f"{address}/v1/jobs", json={"dataset": {"name": "mnist_5k"}}).json()["id"]
        before = 0.0
        for part in (_WARM_UP, 1):
            requests, streams = 0, arguments.streams // part
            while requests < arguments.requests // part:
                requests += count_requests(address, _SECONDS_A_LOAD, script=script)
            asyncio.run(_open_and_close(address, queued, streams))
            now = read_memory(pid, "VmRSS")
            yield Row(f"after {requests:,} requests, {streams:,} streams", now, "MB", BUSY_MEMORY_MEGABYTES)
            if before:
                yield Row("growth", now - before, "MB", GROWTH_MEGABYTES)
            before = now


async def _open_and_close(address: str, job_id: str, streams: int) -> None:
    semaphore = asyncio.Semaphore(_CONCURRENT_STREAMS)
    port = int(address.rpartition(":")[2])
    head = f"GET /v1/jobs/{job_id}/events HTTP/1.1", f"Host: {HOST}:{port}", "Accept: text/event-stream"

    async def open_once() -> None:
        """Open a stream, read its first message, and leave."""
        async with semaphore:
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write("\r\n".join((*head, "", "")).encode())
                await reader.readuntil(b"event: change")
            finally:
                writer.close()
                await writer.wait_closed()

    await asyncio.gather(*(open_once() for _ in range(streams)))
