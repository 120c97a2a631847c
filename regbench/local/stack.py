"""The whole service on one machine: Redis, database, worker, predictor and API as children of this process.

Worker, predictor, API and migration run by the commands that docker-compose.yml runs; tests compare them
(tests/unit/test_compose.py).
"""

import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from models.settings import Settings
from regbench.client import Regbench
from regbench.connection import is_loopback
from regbench.errors import StackError, Unreachable
from regbench.local.home_lock import clear_home, lock_home
from regbench.local.ports import check_port, format_url
from regbench.local.process import MIGRATION, PYTHON, Child, build_environment
from regbench.local.redis_server import (
    build_redis_command,
    find_redis_server,
    make_usable_socket,
    wait_for_redis,
)

DATASET_CHECK = ("-m", "worker.dataset_check")
# Gossip and mingling synchronize many workers, which these need not; mingling costs a second at every start.
WORKER = (
    *("-m", "celery", "-A", "worker.app:app", "worker"),
    *("--pool", "prefork", "--loglevel", "INFO", "--without-gossip", "--without-mingle"),
)
PREDICTOR = (
    *("-m", "celery", "-A", "worker.predictor:app", "worker", "--hostname", "predictor@%h"),
    # A heartbeat without a broker would prevent it from stopping, and heartbeats have no listener.
    *("--loglevel", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"),
)
API = (
    *("-m", "uvicorn", "api.app:create_app", "--factory"),
    *("--http", "api.http.server_protocol:BoundedHttpProtocol"),
    *("--no-access-log", "--no-server-header", "--timeout-graceful-shutdown", "5"),
)

# Of a million jobs it takes minutes; its log has a line for each migration.
MIGRATION_SECONDS = 3_600.0
API_SECONDS = 60.0
# TensorFlow's import takes most of it: 6 s on a fast machine, many times as long on a slow and busy one.
READY_SECONDS = 180.0
REDIS_GRACE_SECONDS = 5.0
# A worker that gets SIGTERM requeues its jobs after their current chunk, about a second; while it
# imports TensorFlow or compiles it notices no signal.
WORKER_GRACE_SECONDS = 20.0
PREDICTOR_GRACE_SECONDS = 5.0
API_GRACE_SECONDS = 10.0
# For throwaway stacks, whose interrupted jobs are not needed.
HURRIED_GRACE_SECONDS = 3.0

Echo = Callable[[str], None]


class Stack:
    """The running parts, which `cleanup` stops, the last one first; `url` is where the API listens."""

    def __init__(self, settings: Settings, url: str, cleanup: ExitStack, *, keys_required: bool) -> None:
        self.url = url
        self._parts: list[Child] = []
        self._logs = settings.home / "logs"
        self._logs.mkdir(exist_ok=True)
        self._cleanup = cleanup
        self._environment = build_environment(settings) | {
            "REGBENCH_API_KEYS_REQUIRED": str(keys_required).lower()
        }

    def start(
        self, name: str, command: Sequence[str], *, grace: float, finish_seconds: float | None = None
    ) -> Child:
        """Start a part, which has `grace` seconds to stop; with `finish_seconds`, wait for its end."""
        log = self._logs / f"{name.lower().removeprefix('the ')}.log"
        child = Child(name, command, log=log, environment=self._environment)
        self._cleanup.callback(child.stop, grace)
        if finish_seconds is None:
            self._parts.append(child)
        else:
            child.finish(finish_seconds)
        return child

    def start_redis(self, settings: Settings) -> None:
        """Start the embedded Redis, whose address the parts started after it get."""
        path = self._cleanup.enter_context(make_usable_socket(settings.redis_socket))
        command = build_redis_command(find_redis_server(), path, settings.home)
        wait_for_redis(self.start("Redis", command, grace=REDIS_GRACE_SECONDS), path)
        self._environment["REGBENCH_BROKER_URL"] = f"redis+socket://{path}"

    def check(self) -> None:
        """Raise StackError if a part has died."""
        for part in self._parts:
            part.check()

    def wait_for_api(self) -> None:
        """Wait until the API answers, which it does before the worker is ready, or raise StackError."""
        deadline = time.monotonic() + API_SECONDS
        with Regbench(self.url, timeout=5.0) as client:
            while not client.is_alive():
                self.check()
                if time.monotonic() > deadline:
                    raise StackError(f"The API does not respond at {self.url} after {API_SECONDS:.0f} s.")
                time.sleep(0.1)

    def wait_until_ready(self, echo: Echo) -> None:
        """Wait until jobs can be trained, and echo what is missing; StackError if that takes too long."""
        announced: list[str] = []
        deadline = time.monotonic() + READY_SECONDS
        with Regbench(self.url) as client:
            while True:
                try:
                    missing = client.readiness().missing
                except Unreachable:
                    missing = ["API"]
                if not missing:
                    return
                self.check()
                if missing != announced:
                    echo(f"Waiting for the {' and the '.join(missing)} ...")
                    announced = missing
                if time.monotonic() > deadline:
                    raise StackError(f"Not ready after {READY_SECONDS:.0f} s: {', '.join(missing)}.")
                time.sleep(0.3)


@contextmanager
def run_stack(
    settings: Settings, host: str, port: int, *, echo: Echo, throwaway: bool = False
) -> Iterator[Stack]:
    """Everything that `settings` do not place elsewhere, stopped in order when the block ends.

    The API answers when the block begins; the worker may still be starting (`Stack.wait_until_ready`).
    `throwaway` removes what an earlier run left in the home folder, and is in a hurry at the end.

    Raises:
        StackError: a part cannot be started.
    """
    missing = [name for name in ("uvicorn", "celery", "tensorflow") if importlib.util.find_spec(name) is None]
    if missing:
        raise StackError(
            f"Serving needs packages that are not installed: {', '.join(missing)}.",
            "Install them with `pip install 'regbench[all]'`, or `make setup` in a checkout.",
        )
    keys_required = not throwaway and are_keys_required(settings, host)
    with ExitStack() as cleanup:
        cleanup.enter_context(lock_home(settings.home))
        check_port(host, port)
        if throwaway:
            clear_home(settings.home)
        stack = Stack(settings, format_url(host, port), cleanup, keys_required=keys_required)
        if not settings.broker_url:
            stack.start_redis(settings)
        echo("Migrating the database ...")
        stack.start("The migration", (*PYTHON, *MIGRATION), grace=0.0, finish_seconds=MIGRATION_SECONDS)
        if keys_required:
            from regbench.local.installation import count_keys  # noqa: PLC0415 (needs the service's packages)

            if count_keys(settings)[0]:
                echo("Requests need an API key.")
            elif settings.api_keys_required == "true":
                echo("Requests need an API key; create one with: regbench keys create NAME")
            else:
                raise StackError(
                    f"On {host} every request needs an API key, and there is no usable one.",
                    "Create one with `regbench keys create NAME`, or set REGBENCH_API_KEYS_REQUIRED=true to "
                    "start without.",
                )
        echo("Starting the worker and the API ...")
        # The worker goes first: it takes longest.
        grace = HURRIED_GRACE_SECONDS if throwaway else WORKER_GRACE_SECONDS
        stack.start("The worker", (*PYTHON, *WORKER), grace=grace)
        api = (*PYTHON, *API, "--host", host, "--port", str(port))
        stack.start("The API", api, grace=API_GRACE_SECONDS)
        if not throwaway:
            # Last, because it is not waited for.
            stack.start("The predictor", (*PYTHON, *PREDICTOR), grace=PREDICTOR_GRACE_SECONDS)
        stack.wait_for_api()
        try:
            yield stack
        finally:
            echo("Stopping all processes ...")


def are_keys_required(settings: Settings, host: str) -> bool:
    """Whether an API that listens on `host` asks for keys.

    Only the stack knows where its API will listen, so it is the stack that decides what `auto` means.
    """
    if settings.api_keys_required == "auto":
        return not is_loopback(host)
    return settings.api_keys_required == "true"
