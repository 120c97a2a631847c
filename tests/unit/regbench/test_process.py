"""regbench.local.process: children are stopped with their descendants, and do not outlive their parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from regbench.errors import StackError
from regbench.local.process import Child

DEADLINE_SECONDS = 60
FOREVER = "import time; print('up', flush=True); time.sleep(600)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + FOREVER
# Prints the id of a grandchild that ignores SIGTERM as well.
PARENT = (
    "import subprocess, sys, time; "
    f"child = subprocess.Popen([sys.executable, '-c', {DEAF!r}]); "
    "print(child.pid, flush=True); time.sleep(600)"
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "part.log"


def start(code: str, log: Path) -> Child:
    return Child("The part", [sys.executable, "-c", code], log=log, environment=os.environ)


@pytest.fixture
def running(request: pytest.FixtureRequest, log: Path) -> Iterator[Child]:
    child = start(request.param, log)
    yield child
    child.stop(grace_seconds=0)


def line_of(log: Path) -> str:
    """The first line of a log, once it is whole."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (text := log.read_text()).endswith("\n"):
        assert time.monotonic() < deadline, "it printed nothing"
        time.sleep(0.05)
    return text.splitlines()[0]


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while runs(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.mark.parametrize("running", [FOREVER], indirect=True)
def test_a_child_that_runs_passes_its_check(running: Child, log: Path) -> None:
    assert line_of(log) == "up"
    running.check()


def test_a_failed_child_is_reported_with_its_last_line_of_this_run(log: Path) -> None:
    log.write_text("a line of an earlier run\n")
    child = start("import sys; print('first', flush=True); sys.exit('no such database')", log)
    with pytest.raises(
        StackError, match=r"^The part has ended with exit code 1: no such database$"
    ) as caught:
        child.finish(DEADLINE_SECONDS)
    assert str(log) in caught.value.hint
    with pytest.raises(StackError):
        child.check()
    silent = start("raise SystemExit(3)", log)
    with pytest.raises(StackError, match="with exit code 3: it printed nothing"):
        silent.finish(DEADLINE_SECONDS)


def test_a_killed_child_is_reported_with_the_signal(log: Path) -> None:
    child = start("import os; os.kill(os.getpid(), 9)", log)
    with pytest.raises(StackError, match="by SIGKILL"):
        child.finish(DEADLINE_SECONDS)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV"])
def test_c10_old_output_is_not_the_reason_of_a_kill(log: Path, name: str) -> None:
    kill = f"import os, signal; print('WARNING: hm', flush=True); os.kill(os.getpid(), signal.{name})"
    with pytest.raises(StackError) as caught:
        start(kill, log).finish(DEADLINE_SECONDS)
    assert caught.value.message == f"The part was killed by {name}."
    assert str(log) in caught.value.hint


@pytest.mark.parametrize("running", [FOREVER], indirect=True)
def test_a_child_that_times_out_is_reported(running: Child) -> None:
    with pytest.raises(StackError, match="did not stop within 0 s"):
        running.finish(0.01)


def test_a_child_that_exits_successfully_is_not_an_error(log: Path) -> None:
    start("print('done')", log).finish(DEADLINE_SECONDS)
    assert log.read_text() == "done\n"


def test_stopping_ends_descendants_that_ignore_signals(log: Path) -> None:
    child = start(PARENT, log)
    grandchild = int(line_of(log))
    child.stop(grace_seconds=DEADLINE_SECONDS)
    wait_until_gone(grandchild)


@pytest.mark.parametrize("running", [DEAF], indirect=True)
def test_a_child_that_ignores_sigterm_is_killed(running: Child, log: Path) -> None:
    line_of(log)
    running.stop(grace_seconds=0.01)
    with pytest.raises(StackError, match="by SIGKILL"):
        running.check()


@pytest.mark.skipif(
    sys.platform != "linux", reason="the kernel tells children of a parent's death on Linux only"
)
def test_a_child_does_not_outlive_a_parent_that_is_killed(log: Path) -> None:
    tells_its_id = f"import os; print(os.getpid(), flush=True); {FOREVER}"
    code = (
        "import os, sys, time; from pathlib import Path; from regbench.local.process import Child; "
        f"child = Child('part', [sys.executable, '-c', {tells_its_id!r}], "
        f"log=Path({str(log)!r}), environment=os.environ); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    while not log.exists():
        assert parent.poll() is None
        time.sleep(0.05)
    child = int(line_of(log))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until_gone(child)
