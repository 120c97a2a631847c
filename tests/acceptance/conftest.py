"""A whole stack, started once by `regbench up` for all tests of a session."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from regbench.client import Regbench
from tests.acceptance.browsing import CHROMIUM, DESK, INSECURE_HOST, REJECTED

# The command that is installed with the Python that runs the tests.
REGBENCH = (str(Path(sys.executable).with_name("regbench")),)
# TensorFlow's import takes many times its usual seconds on a slow and busy machine.
DEADLINE_SECONDS = 300
READY = re.compile(r"^Ready in \d+ s: (http://\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Up:
    """A running `regbench up`."""

    process: subprocess.Popen[bytes]
    home: Path
    log: Path

    def url(self) -> str:
        """Where it listens, once it is ready."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (match := READY.search(self.log.read_text())) is None:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)
        return match[1]


@contextmanager
def regbench_up(
    home: Path, *, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Up]:
    """`regbench up` on a free port and on a home of its own."""
    home.mkdir(parents=True)
    log = home.parent / "log.txt"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [*REGBENCH, "up", "--port", "0"],
            cwd=cwd,
            env=os.environ | {"REGBENCH_HOME": str(home)} | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        yield Up(process, home, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    # A path that is too long for a Unix socket and contains characters that are special in URLs.
    home = tmp_path_factory.mktemp("acceptance") / f"a home, {'very ' * 20}deep"
    with regbench_up(home) as stack:
        stack.url()
        yield stack
    assert stack.process.returncode == 0, stack.log.read_text()
    assert list_processes(home) == {}


@pytest.fixture
def url(up: Up) -> str:
    return up.url()


# Not session-scoped: while it is open, nothing else in this thread can run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", f"--host-resolver-rules=MAP {INSECURE_HOST} 127.0.0.1"]
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Page]:
    context = browser.new_context(base_url=url, viewport={"width": DESK, "height": 900})
    opened = context.new_page()
    errors: list[str] = []
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert [error for error in errors if REJECTED not in error] == []


@pytest.fixture
def client(url: str) -> Iterator[Regbench]:
    with Regbench(url) as client:
        yield client


def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The `regbench` command, to its end."""
    return subprocess.run(
        [*REGBENCH, *arguments],
        env=os.environ | environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )


def list_processes(home: Path) -> dict[int, str]:
    """Command lines of the running processes whose home folder this is, by process id (Linux)."""
    processes = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            working_folder = (folder / "cwd").readlink()
        except OSError:
            continue  # it has ended, or is another user's
        # Redis writes its title over its environment, but works inside the home folder.
        if f"REGBENCH_HOME={home}".encode() in environment or working_folder == home:
            processes[int(folder.name)] = command
    return processes


def wait_for_no_process_of(home: Path) -> None:
    """Wait until every process of a home folder has ended."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while remaining := list_processes(home):
        assert time.monotonic() < deadline, remaining
        time.sleep(0.2)
