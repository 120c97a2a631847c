"""The whole service on one machine: Redis, database, worker, predictor and API as children of this process.

Worker, predictor, API and migration run by the commands that docker-compose.yml runs; tests compare them
(tests/unit/test_compose.py).
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from models.settings import Settings
from regbench.client import Regbench
from regbench.connection import is_loopback
from regbench.errors import CommandRefused, StackError, Unreachable
from regbench.local.home_lock import check_installed, forget, held
from regbench.local.ports import check_port, url_of
from regbench.local.process import Child
from regbench.local.redis_server import find_redis_server, redis_command, usable_socket, wait_for_redis

# -P: a user's models.py or worker.py in the current folder is not ours. uvicorn and Celery add that folder
# to the path themselves, so parts run in the folder of their logs (process.py).
PYTHON = (sys.executable, "-P")
MIGRATION = ("-m", "migrations")
RETENTION = ("-m", "models.retention")
KEYS = ("-m", "models.keys")
SURVEY = ("-m", "worker.dataset_check")
# Gossip and mingling are for fleets that talk among themselves; mingling costs a second at every start.
WORKER = (
    *("-m", "celery", "-A", "worker.app:app", "worker"),
    *("--pool", "prefork", "--loglevel", "INFO", "--without-gossip", "--without-mingle"),
)
PREDICTOR = (
    *("-m", "celery", "-A", "worker.predictor:app", "worker", "--hostname", "predictor@%h"),
    # A heartbeat that finds no broker would keep it from stopping, and nobody listens to them.
    *("--loglevel", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"),
)
API = (
    *("-m", "uvicorn", "api.app:create_app", "--factory", "--http", "api.http.server_protocol:Guarded"),
    *("--no-access-log", "--no-server-header", "--timeout-graceful-shutdown", "5"),
)

MIGRATION_SECONDS = 120.0
API_SECONDS = 60.0
# TensorFlow's import takes most of it: 6 s on a fast machine, many times as long on a slow and busy one.
READY_SECONDS = 180.0
REDIS_GRACE_SECONDS = 5.0
# A worker that is asked to stop puts its jobs back at their next chunk, about a second away; while it
# imports TensorFlow or compiles it hears nothing.
WORKER_GRACE_SECONDS = 20.0
PREDICTOR_GRACE_SECONDS = 5.0
API_GRACE_SECONDS = 10.0
# Where nobody will miss a job that was cut off.
HURRIED_GRACE_SECONDS = 3.0

# With which argparse, and our modules as it does, end where the command line makes no sense.
_MAKES_NO_SENSE = 2

Say = Callable[[str], None]


class Stack:
    """A running stack. `url` is where it listens."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._parts: list[Child] = []

    def add(self, part: Child) -> None:
        """Look after this part too."""
        self._parts.append(part)

    def check(self) -> None:
        """Nothing, as long as every part runs.

        Raises:
            StackError: a part has died.
        """
        for part in self._parts:
            part.check()

    def wait_for_api(self) -> None:
        """Wait until the API answers, which it does before the worker is ready.

        Raises:
            StackError: a part has died, or the API does not answer in time.
        """
        deadline = time.monotonic() + API_SECONDS
        with Regbench(self.url, timeout=5.0) as client:
            while not client.alive():
                self.check()
                if time.monotonic() > deadline:
                    raise StackError(f"The API does not answer at {self.url} after {API_SECONDS:.0f} s.")
                time.sleep(0.1)

    def wait_until_ready(self, say: Say) -> None:
        """Wait until jobs can be trained, saying what is waited for.

        Raises:
            StackError: a part has died, or is not ready in time.
        """
        said: list[str] = []
        deadline = time.monotonic() + READY_SECONDS
        with Regbench(self.url) as client:
            while missing := _missing(client):
                self.check()
                if missing != said:
                    say(f"Waiting for the {' and the '.join(missing)} ...")
                    said = missing
                if time.monotonic() > deadline:
                    raise StackError(f"Not ready after {READY_SECONDS:.0f} s: {', '.join(missing)}.")
                time.sleep(0.3)


@contextmanager
def running_stack(
    settings: Settings, host: str, port: int, *, say: Say, throwaway: bool = False
) -> Iterator[Stack]:
    """Everything that `settings` do not place elsewhere, stopped in order when the block ends.

    The API answers when the block begins; the worker may still be starting (`Stack.wait_until_ready`).
    `throwaway` forgets what an earlier run left in the home folder, and is in a hurry at the end.

    Raises:
        StackError: one clear sentence.
    """
    _check_packages()
    home = settings.home
    with ExitStack() as running:
        running.enter_context(held(home))
        check_port(host, port)
        if throwaway:
            forget(home)
        start = _Starter(settings, running, "false" if throwaway else keys_required(settings, host))
        stack = Stack(url_of(host, port))
        if not settings.broker_url:
            stack.add(start.redis(settings))
        say("Bringing the database to its newest form ...")
        start.child("migration", MIGRATION, grace=0.0).finish(MIGRATION_SECONDS)
        if settings.api_keys_required == "auto" and not (throwaway or is_loopback(host)):
            _check_that_somebody_has_a_key(settings, host)
        say("Starting the worker and the API ...")
        # The worker goes first: it takes longest.
        grace = HURRIED_GRACE_SECONDS if throwaway else WORKER_GRACE_SECONDS
        stack.add(start.child("worker", WORKER, grace=grace))
        stack.add(start.child("API", (*API, "--host", host, "--port", str(port)), grace=API_GRACE_SECONDS))
        if not throwaway:
            # Last, since nobody waits for it.
            stack.add(start.child("predictor", PREDICTOR, grace=PREDICTOR_GRACE_SECONDS))
        stack.wait_for_api()
        try:
            yield stack
        finally:
            say("Stopping what was started ...")


def keys_required(settings: Settings, host: str) -> str:
    """`true` or `false`: whether an API that listens on `host` asks for keys.

    Only the stack knows where its API will listen, so it is the stack that says what `auto` means.
    """
    if settings.api_keys_required != "auto":
        return settings.api_keys_required
    return "false" if is_loopback(host) else "true"


def _check_that_somebody_has_a_key(settings: Settings, host: str) -> None:
    if open_keys(settings)[0]:
        return
    raise StackError(
        f"On {host} every request needs an API key, and there is none that opens anything.",
        "Make one with `regbench keys create NAME`, or set REGBENCH_API_KEYS_REQUIRED=true to start without.",
    )


def open_keys(settings: Settings) -> tuple[int, int]:
    """How many API keys open something, and how many there are.

    Raises:
        StackError: they cannot be read.
    """
    keys = json.loads(run_module(settings, (*KEYS, "list", "--json")))
    now = datetime.now(UTC)
    shut = sum(
        bool(key["revoked_at"] or (key["expires_at"] and datetime.fromisoformat(key["expires_at"]) <= now))
        for key in keys
    )
    return len(keys) - shut, len(keys)


def prune_files(settings: Settings, options: Sequence[str]) -> str:
    """Run the clearing up of models/retention.py; returns what it says.

    Raises:
        StackError: it could not be done, or there is no installation.
    """
    check_installed(settings)
    return run_module(settings, [*RETENTION, *options], "Nothing was removed")


def manage_keys(settings: Settings, arguments: Sequence[str]) -> str:
    """Run models/keys.py, on a database of the newest form; returns what it says.

    Raises:
        StackError: it could not be done, or there is no installation.
    """
    # The first key is made before the first start.
    if arguments[0] != "create":
        check_installed(settings)
    settings.home.mkdir(parents=True, exist_ok=True)
    run_module(settings, MIGRATION, "The database could not be brought to its newest form")
    return run_module(settings, [*KEYS, *arguments], "Nothing was changed")


def run_module(settings: Settings, command: Sequence[str], failure: str = "It ended badly") -> str:
    """Run a module of this installation, as `("-m", NAME, ...)`; returns what it says.

    Raises:
        CommandRefused: it found that what it was asked for makes no sense.
        StackError: it ended badly; the message is the last line that it said, else `failure`.
    """
    done = subprocess.run(  # noqa: S603 (our own command, no shell)
        [*PYTHON, *command],
        env=_build_environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()
        kind = CommandRefused if done.returncode == _MAKES_NO_SENSE else StackError
        raise kind(reason[-1] if reason else f"{failure}: exit code {done.returncode}.")
    return done.stdout


def _build_environment(settings: Settings) -> dict[str, str]:
    """All settings as this process sees them: a part runs in another folder, where there is no .env file."""
    values = settings.model_dump(mode="json", exclude_none=True)
    # Unbuffered, so that the last line that a part prints stands last in its log.
    return os.environ | {
        "PYTHONUNBUFFERED": "1",
        **{f"REGBENCH_{name.upper()}": str(value) for name, value in values.items()},
    }


class _Starter:
    """Starts parts with one environment, and puts their ends on one pile: the last started ends first."""

    def __init__(self, settings: Settings, running: ExitStack, keys_required: str) -> None:
        self._home = settings.home
        self._logs = self._home / "logs"
        self._logs.mkdir(exist_ok=True)
        self._running = running
        self._environment = _build_environment(settings) | {"REGBENCH_API_KEYS_REQUIRED": keys_required}

    def redis(self, settings: Settings) -> Child:
        """The embedded Redis, whose address the parts started after it get."""
        path = self._running.enter_context(usable_socket(settings.redis_socket))
        redis = self._start(
            "Redis", redis_command(find_redis_server(), path, self._home), REDIS_GRACE_SECONDS
        )
        wait_for_redis(redis, path)
        self._environment["REGBENCH_BROKER_URL"] = f"redis+socket://{path}"
        return redis

    def child(self, name: str, arguments: Sequence[str], *, grace: float) -> Child:
        """A part that is written in Python."""
        return self._start(f"The {name}", [*PYTHON, *arguments], grace)

    def _start(self, name: str, command: Sequence[str], grace: float) -> Child:
        log: Path = self._logs / f"{name.lower().removeprefix('the ')}.log"
        child = Child(name, command, log=log, environment=self._environment)
        self._running.callback(child.stop, grace)
        return child


def _check_packages() -> None:
    missing = [name for name in ("uvicorn", "celery", "tensorflow") if importlib.util.find_spec(name) is None]
    if missing:
        raise StackError(
            f"Serving needs packages that are not installed: {', '.join(missing)}.",
            "Install them with `pip install 'regbench[all]'`, or `make setup` in a checkout.",
        )


def _missing(client: Regbench) -> list[str]:
    try:
        return client.readiness().missing
    except Unreachable:
        return ["API"]
