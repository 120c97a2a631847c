"""API and worker as processes of their own, started by the commands that an installation uses."""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from models.settings import Settings
from models.states import JobState
from regbench.local.process import Child
from regbench.local.stack import API, WORKER
from tests.chaos.outcomes import wait_until

QUICK_WORKER = tuple(
    "tests.chaos.quick_worker:app" if argument == "worker.app:app" else argument for argument in WORKER
)


@contextmanager
def quick_worker(settings: Settings, log: Path) -> Iterator[Child]:
    """A worker, not yet ready, whose trainings take no time."""
    with _running("worker", QUICK_WORKER, settings, log) as process:
        yield process


@contextmanager
def contained_worker(settings: Settings, log: Path) -> Iterator[Child]:
    """A quick worker whose process number is 1, as in a container; its host name is this machine's."""
    container = ("unshare", "--fork", "--pid", "--mount-proc", sys.executable)
    with _running("worker", QUICK_WORKER, settings, log, container) as process:
        try:
            yield process
        finally:
            # `unshare` itself does not forward it.
            os.killpg(process.pid, signal.SIGTERM)


@contextmanager
def real_worker(settings: Settings, log: Path) -> Iterator[Child]:
    """A worker, not yet ready, as an installation runs it."""
    with _running("worker", WORKER, settings, log) as process:
        yield process


@contextmanager
def api(settings: Settings, log: Path, path: str | None = None) -> Iterator[tuple[Child, httpx.Client]]:
    """An API that answers on the unix socket `path`, and a client of it."""
    # Not pytest's own folder: a unix socket's path may have 107 bytes at most.
    with tempfile.TemporaryDirectory() as folder:
        path = path or str(Path(folder) / "api.sock")
        # The API may close a kept-alive connection just as it is reused.
        transport = httpx.HTTPTransport(uds=path, limits=httpx.Limits(max_keepalive_connections=0))
        with (
            _running("API", (*API, "--uds", path), settings, log) as process,
            httpx.Client(transport=transport, base_url="http://localhost", timeout=30.0) as client,
        ):
            wait_until(lambda: _listens(process, path))
            assert client.get("/healthz").status_code == 200
            yield process, client


def submit(client: httpx.Client, **changes: object) -> str:
    """Submit a small job; returns its id."""
    answer = client.post("/v1/jobs", json={"dataset": {"name": "mnist_5k"}, **changes})
    assert answer.status_code == 202, answer.text
    assert answer.json()["state"] == JobState.QUEUED
    job_id: str = answer.json()["id"]
    return job_id


def _listens(process: Child, path: str) -> bool:
    """Whether a connection is accepted; checked without httpx, which leaves a socket open if none is."""
    process.check()
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


@contextmanager
def _running(
    name: str,
    arguments: tuple[str, ...],
    settings: Settings,
    log: Path,
    python: tuple[str, ...] = (sys.executable,),
) -> Iterator[Child]:
    values = {key: value for key, value in settings.model_dump().items() if value is not None}
    environment = os.environ | {f"REGBENCH_{key.upper()}": str(value) for key, value in values.items()}
    process = Child(name, [*python, *arguments], log=log, environment=environment)
    try:
        yield process
    finally:
        process.stop(grace_seconds=30.0)
