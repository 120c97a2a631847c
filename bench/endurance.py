"""An API process over time: its memory after 100,000 requests and 10,000 streams that were opened and closed.

python -m bench.endurance [--requests 100000] [--streams 10000] [--database sqlite postgresql]
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from bench.api import MEMORY_MEGABYTES, Row
from bench.large_database import Crowd, fill
from bench.load import reading, requests_answered
from bench.server import HOST, api_process, megabytes, sqlite
from bench.workload import positive
from tests.servers import postgresql

GROWTH_MEGABYTES = 10.0
_SECONDS_A_LOAD = 10
_STREAMS_AT_ONCE = 200
_WARM_UP = 5
"""The first part in so many fills what is kept for good: pools, caches, compiled statements."""
_JOBS = 2_000


def main() -> int:
    """Print a table for each database; exit code 1 if a target is missed."""
    arguments = _arguments()
    missed = False
    for name in arguments.database:
        with TemporaryDirectory(prefix="regbench-bench-") as folder, ExitStack() as stack:
            url = stack.enter_context(postgresql()) if name == "postgresql" else sqlite(folder)
            crowd = fill(url, jobs=_JOBS, epochs=100 * _JOBS)
            print(name)
            for row in _measured(url, Path(folder), crowd, arguments):
                print(row, flush=True)
                missed |= row.missed
    return int(missed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The API's memory over time.")
    parser.add_argument("--requests", type=positive, default=100_000)
    parser.add_argument("--streams", type=positive, default=10_000)
    parser.add_argument(
        "--database", nargs="+", choices=("sqlite", "postgresql"), default=["sqlite", "postgresql"]
    )
    return parser.parse_args()


def _measured(url: str, folder: Path, crowd: Crowd, arguments: argparse.Namespace) -> Iterator[Row]:
    with api_process(url, str(folder)) as (pid, address):
        script = reading(_paths(crowd), folder)
        waiting = _waiting_job(address)
        before = 0.0
        for part in (_WARM_UP, 1):
            answered = 0
            while answered < arguments.requests // part:
                answered += requests_answered(address, _SECONDS_A_LOAD, script=script)
            asyncio.run(_open_and_close(address, waiting, arguments.streams // part))
            now = megabytes(pid, "VmRSS")
            what = f"after {answered:,} requests, {arguments.streams // part:,} streams"
            yield Row(what, now, "MB", MEMORY_MEGABYTES)
            if before:
                yield Row("grown by", now - before, "MB", GROWTH_MEGABYTES)
            before = now


def _paths(crowd: Crowd) -> list[str]:
    """Polling mostly, as clients do; among twenty requests a page, a history and an experiment."""
    job = f"/v1/jobs/{crowd.finished_job}"
    others = ["/v1/jobs?state=failed&limit=20", f"{job}/epochs", f"/v1/experiments/{crowd.experiment}"]
    return [job] * 17 + others


def _waiting_job(address: str) -> str:
    """A job that stays queued, since no worker runs: streams about it end when their client leaves."""
    spec = {"dataset": {"name": "mnist_5k"}}
    posted = httpx.post(f"{address}/v1/jobs", json=spec).raise_for_status()
    return str(posted.json()["id"])


async def _open_and_close(address: str, job_id: str, streams: int) -> None:
    places = asyncio.Semaphore(_STREAMS_AT_ONCE)

    async def one() -> None:
        async with places:
            await _hear_once(address, job_id)

    await asyncio.gather(*(one() for _ in range(streams)))


async def _hear_once(address: str, job_id: str) -> None:
    """Open a stream, read its first message, and leave."""
    port = int(address.rpartition(":")[2])
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        asked = f"GET /v1/jobs/{job_id}/events HTTP/1.1", f"Host: {HOST}:{port}", "Accept: text/event-stream"
        writer.write("\r\n".join((*asked, "", "")).encode())
        await reader.readuntil(b"event: change")
    finally:
        writer.close()
        await writer.wait_closed()


if __name__ == "__main__":
    sys.exit(main())
