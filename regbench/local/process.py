"""A child process of the embedded stack: started with a log file, watched, stopped with its descendants."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from models.settings import Settings
from regbench.errors import StackError

# -P: a user's models.py or worker.py in the current folder is not ours. uvicorn and Celery add that folder
# to the path themselves, so parts run in the folder of their logs.
PYTHON = (sys.executable, "-P")
MIGRATION = ("-m", "migrations")

_PR_SET_PDEATHSIG = 1


class Child:
    """One process and its descendants, in the folder of `log`, to whose end goes what they print."""

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str]
    ) -> None:
        self._name = name
        self._log = log
        prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None
        parent = os.getpid()

        def die_with_parent() -> None:
            # SIGTERM, even if this process is killed or dies before the child has asked for it.
            if prctl:
                prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
                if os.getppid() != parent:
                    os.kill(os.getpid(), signal.SIGTERM)

        with log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(  # noqa: S603 (our own commands, no shell)
                command,
                # Not the current folder, whose modules uvicorn and Celery would import before ours.
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                # A group of its own: Ctrl-C reaches us alone, and we stop the parts in order.
                process_group=0,
                preexec_fn=die_with_parent,  # noqa: PLW1509 (no threads run while parts are started)
            )

    @property
    def pid(self) -> int:
        """The process's id, which is also its group's."""
        return self._process.pid

    def check(self) -> None:
        """Raise StackError if the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise self._ended(code)

    def finish(self, seconds: float) -> None:
        """Wait until the process ends; StackError if it ends badly or not in time."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise StackError(f"{self._name} did not stop within {seconds:.0f} s; see {self._log}.") from None
        if code:
            raise self._ended(code)

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM, then SIGKILL after the grace; no descendant is left behind."""
        try:
            if self._process.poll() is None:
                self._process.terminate()
                self._process.wait(grace_seconds)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            # Ctrl-C again means: now.
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _ended(self, code: int) -> StackError:
        hint = f"Its log: {self._log}"
        if code < 0:
            # What is killed cannot say why: the last line of its log is about something else.
            return StackError(f"{self._name} was killed by {signal.Signals(-code).name}.", hint)
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").strip().splitlines()
        last_line = lines[-1].strip() if lines else "it printed nothing"
        return StackError(f"{self._name} has ended with exit code {code}: {last_line}", hint)


def run_module(settings: Settings, command: Sequence[str]) -> str:
    """Run `("-m", NAME, ...)`; returns its output. A StackError has the last line of a failure."""
    done = subprocess.run(  # noqa: S603 (our own command, no shell)
        [*PYTHON, *command], env=build_environment(settings), capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"{command[1]} failed: exit code {done.returncode}."]
        raise StackError(lines[-1])
    return done.stdout


def build_environment(settings: Settings) -> dict[str, str]:
    """All settings as this process sees them: a part runs in another folder, where there is no .env file."""
    values = settings.model_dump(mode="json", exclude_none=True)
    # Unbuffered, so that the last line that a part prints stands last in its log.
    return os.environ | {
        "PYTHONUNBUFFERED": "1",
        **{f"REGBENCH_{name.upper()}": str(value) for name, value in values.items()},
    }
