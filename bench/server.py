"""Servers to measure, as processes: the API, and the bare application beside it."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from models.settings import Settings
from regbench.cli.options import echo_message
from regbench.client import Regbench
from regbench.local.ports import find_free_port
from regbench.local.process import Child
from regbench.local.stack import API, Stack, run_stack
from tests.servers import redis

HOST = "127.0.0.1"
_START_SECONDS = 300.0
"""Of MLflow on a busy machine; our own takes two seconds."""


@contextmanager
def run_api(url: str, folder: str) -> Iterator[tuple[int, str]]:
    """An API process over the database `url`, with a broker of its own: its process id and its address."""
    with redis() as socket:
        environment = {
            "REGBENCH_DATABASE_URL": url,
            "REGBENCH_BROKER_URL": f"redis+socket://{socket}",
            "REGBENCH_HOME": folder,
            "REGBENCH_API_KEYS_REQUIRED": "false",
        }
        with run_server(API, folder, environment, "/healthz") as process:
            yield process


@contextmanager
def run_own_stack(home: Path) -> Iterator[tuple[Stack, Regbench]]:
    """What `regbench up` starts, ready, and a client of it; in `home`, whatever is configured."""
    own = {"home": home, "database_url": "", "broker_url": "", "artifacts_url": ""}
    settings = Settings().model_copy(update=own)
    with (
        run_stack(settings, HOST, find_free_port(HOST), echo=echo_message, throwaway=True) as stack,
        Regbench(stack.url) as client,
    ):
        stack.wait_until_ready(echo_message)
        yield stack, client


@contextmanager
def run_server(
    command: Sequence[str],
    folder: str,
    environment: dict[str, str],
    path: str,
    *,
    python: str = sys.executable,
) -> Iterator[tuple[int, str]]:
    """`PYTHON COMMAND --host --port`, once `path` answers: its process id and its address."""
    port = find_free_port(HOST)
    whole = [python, *command, "--host", HOST, "--port", str(port)]
    log = Path(folder) / f"{port}.log"
    process = Child("The server", whole, log=log, environment=os.environ | environment)
    address = f"http://{HOST}:{port}"
    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            process.check()
            try:
                if httpx.get(address + path).is_success:
                    break
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline:
                raise SystemExit(f"{' '.join(command)} does not answer")
            time.sleep(0.02)
        yield process.pid, address
    finally:
        process.stop(10.0)


def read_memory(pid: int, field: str) -> float:
    """A process's resident memory in MB, now (VmRSS) or at its peak (VmHWM); Linux only."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return float(line.split()[1]) / 1000
    raise SystemExit(f"this system does not report {field}")
