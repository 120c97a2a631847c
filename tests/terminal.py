"""A real pseudo-terminal for the command line: what a user would see, as lines of characters."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pexpect
import pyte

DEADLINE_SECONDS = 60.0


class Terminal:
    """A program in a terminal of so many columns and rows; `raw` is all that it has written."""

    def __init__(
        self, command: Sequence[str], *, columns: int, rows: int, environment: Mapping[str, str]
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        self._program = pexpect.spawn(
            command[0],
            list(command[1:]),
            env=dict(os.environ) | {"TERM": "xterm-256color"} | environment,
            dimensions=(rows, columns),
            # As in a user's shell, even if the tests run in the background, where Ctrl-C is ignored.
            preexec_fn=_heed_ctrl_c,
        )

    @property
    def lines(self) -> list[str]:
        """The text on the screen, without trailing blanks."""
        return [line.rstrip() for line in self._screen.display if line.strip()]

    def wait_for(self, seen: Callable[[list[str]], bool]) -> list[str]:
        """The screen, as soon as `seen` accepts it."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not seen(self.lines):
            assert self._read() or seen(self.lines), f"it ended with {self.lines}"
            assert time.monotonic() < deadline, f"not seen: {self.lines}"
        return self.lines

    def resize(self, *, columns: int, rows: int) -> None:
        """Resize, as by dragging the window's corner."""
        self._screen.resize(rows, columns)
        self._program.setwinsize(rows, columns)

    def press_ctrl_c(self) -> None:
        """Type Ctrl-C, which the terminal turns into a signal."""
        self._program.sendintr()

    def end(self) -> int:
        """The exit code, once the program has ended."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self._read():
            assert time.monotonic() < deadline, self.lines
        self._program.close()
        assert self._program.exitstatus is not None, f"killed by {self._program.signalstatus}"
        return int(self._program.exitstatus)

    def close(self) -> None:
        """End the program, if it still runs."""
        self._program.close(force=True)

    def _read(self) -> bool:
        """Read the new output; False at its end."""
        try:
            written = self._program.read_nonblocking(65_536, timeout=0.1)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += written
        self._stream.feed(written)
        return True


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def terminal(
    *arguments: str, columns: int = 110, rows: int = 24, environment: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """`regbench` with these arguments in a terminal of its own."""
    command = [sys.executable, "-m", "regbench.cli.main", *arguments]
    opened = Terminal(command, columns=columns, rows=rows, environment=environment or {})
    try:
        yield opened
    finally:
        opened.close()
