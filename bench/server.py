"""Real processes to measure: databases, the API, and the bare application beside it."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.child import output_of
from regbench.local.ports import find_free_port
from regbench.local.process import Child
from regbench.local.stack import API
from tests.servers import redis

HOST = "127.0.0.1"
_START_SECONDS = 60.0


def sqlite(folder: str) -> str:
    """The address of a migrated, empty SQLite file in `folder`."""
    url = f"sqlite:///{folder}/regbench.db"
    output_of("-m", "migrations", environment={"REGBENCH_DATABASE_URL": url, "REGBENCH_HOME": folder})
    return url


@contextmanager
def api_process(url: str, folder: str) -> Iterator[tuple[int, str]]:
    """A real API process over the database `url`, with a broker of its own: its id and its address."""
    with redis() as socket:
        environment = {
            "REGBENCH_DATABASE_URL": url,
            "REGBENCH_BROKER_URL": f"redis+socket://{socket}",
            "REGBENCH_HOME": folder,
            "REGBENCH_API_KEYS_REQUIRED": "false",
        }
        with served(API, folder, environment, "/healthz") as running:
            yield running


@contextmanager
def served(
    command: Sequence[str], folder: str, environment: dict[str, str], path: str
) -> Iterator[tuple[int, str]]:
    """`python COMMAND --host --port`, until `path` answers: its id and its address."""
    port = find_free_port(HOST)
    whole = [sys.executable, *command, "--host", HOST, "--port", str(port)]
    log = Path(folder) / f"{port}.log"
    process = Child("The server", whole, log=log, environment=os.environ | environment)
    address = f"http://{HOST}:{port}"
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(address + path):
            process.check()
            if time.monotonic() > deadline:
                raise SystemExit(f"{' '.join(command)} does not answer")
            time.sleep(0.02)
        yield process.pid, address
    finally:
        process.stop(10.0)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


def megabytes(pid: int, field: str) -> float:
    """Of a process's resident memory, now (VmRSS) or at its peak (VmHWM); Linux only."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return float(line.split()[1]) / 1000
    raise SystemExit(f"this system does not tell {field}")
