"""What the commands share: exit codes, options, and output.

Progress and remarks go to stderr, data to stdout.
"""

import json
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import httpx
import typer
from pydantic import ValidationError
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.status import Status

from models.errors import NotFound, RegbenchError
from models.settings import Settings
from regbench.cli.completion import complete_ids
from regbench.cli.spec_files import InvalidSpecFile
from regbench.client import Regbench
from regbench.connection import DEFAULT_URL, Connection
from regbench.errors import ClientError, CommandRefused, ProblemError, Unreachable

SUCCEEDED, FAILED, CANCELLED, REFUSED, INTERRUPTED = 0, 1, 2, 4, 130

SHORT_ID = 12
"""Characters of an id that a terminal shows."""
_SHORT = re.compile(r"\b(job|exp)_[0-9a-f]{8,23}\b")
_NEWEST = 200

Url = Annotated[
    str | None, typer.Option(envvar="REGBENCH_URL", help="URL of the service.", show_default=DEFAULT_URL)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print only JSON to stdout.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print JSON to stdout, one document per line.")]
Ids = Annotated[
    list[str],
    typer.Argument(metavar="ID...", help="IDs of jobs or experiments.", autocompletion=complete_ids),
]


def echo_message(message: str) -> None:
    """One line on stderr, as it is: no markup, no wrapping."""
    make_stderr_console().print(message, markup=False, highlight=False, soft_wrap=True)


def make_stderr_console() -> Console:
    """A console for messages."""
    # A new one each time: a test may have replaced stderr since.
    return Console(stderr=True)


class _ShortIdConnection(Connection):
    """Puts whole ids in place of short ones, as `regbench jobs` prints them, among the newest."""

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        params = request.get("params") or {}
        if "job" in params:
            request["params"] = params | {"job": list(map(self.expand_ids, params["job"]))}
        return super().request(method, self.expand_ids(path), **request)

    def expand_ids(self, text: str) -> str:
        """The text with whole ids."""
        return _SHORT.sub(lambda match: self._find(match[0]), text)

    def _find(self, value: str) -> str:
        path = "/v1/experiments" if is_experiment_id(value) else "/v1/jobs"
        newest = super().request("GET", path, params={"limit": _NEWEST, "fields": "id"}).json()["items"]
        matches = [item["id"] for item in newest if item["id"].startswith(value)]
        if len(matches) != 1:
            reason = "several of the newest have" if matches else "none of the newest has"
            raise typer.BadParameter(f"{reason} an id that begins with {value}; give the whole id")
        return str(matches[0])


class CommandClient(Regbench):
    """A client to which short ids may be given."""

    _connect = _ShortIdConnection
    _http: _ShortIdConnection

    def expand_ids(self, ids: Sequence[str]) -> list[str]:
        """The whole ids of short ones, where they are not just sent in a request's address."""
        return list(map(self._http.expand_ids, ids))


def connect(url: str | None) -> CommandClient:
    """A client that retries little: a person waits."""
    return CommandClient(url, retries=2)


def show_status(activity: str) -> Status:
    """A spinner on a terminal's stderr while the block runs."""
    return make_stderr_console().status(f"{activity} ...", spinner="line")


def write(content: bytes) -> None:
    """Data, as it is, on stdout."""
    sys.stdout.buffer.write(content)
    sys.stdout.flush()


def write_json(document: Any, *, indent: int | None = 2) -> None:
    """One JSON document on stdout, made from whatever pydantic can serialize."""
    # Escapes keep it JSON where the terminal's encoding lacks a character.
    has_unicode = sys.stdout.encoding.lower().startswith("utf")
    document = to_jsonable_python(document)
    typer.echo(json.dumps(document, indent=indent, ensure_ascii=not has_unicode))


def is_experiment_id(value: str) -> bool:
    """Whether this id names an experiment."""
    return value.startswith("exp_")


def check_experiment_id(value: str) -> str:
    """Refuse what is not the id of an experiment; a callback of typer."""
    if not is_experiment_id(value):
        raise typer.BadParameter(f"{value} is not an experiment; the id of one begins with exp_")
    return value


@contextmanager
def report_errors() -> Iterator[None]:
    """Every error as one sentence on stderr and an exit code; no traceback reaches a user."""
    try:
        yield
    except (typer.Exit, typer.Abort, BrokenPipeError):
        # BrokenPipeError: the reader has gone, as in `regbench jobs | head`; typer ends quietly.
        raise
    except typer.TyperException as error:
        # The command line's own errors would be 2, which is taken.
        error.exit_code = REFUSED
        raise
    except Exception as error:
        message, hint = _describe_error(error)
        echo_message(f"regbench: {message}")
        if hint:
            echo_message(hint)
        refused = isinstance(error, ProblemError | Unreachable | InvalidSpecFile | CommandRefused | NotFound)
        raise typer.Exit(REFUSED if refused else FAILED) from None


def _describe_error(error: Exception) -> tuple[str, str]:
    """What went wrong, and what to do about it."""
    if isinstance(error, ClientError):
        return error.message, error.hint
    if isinstance(error, RegbenchError):
        return error.message, ""
    if isinstance(error, ModuleNotFoundError):
        return (
            f"This needs {error.name}, which is not installed.",
            "Install it with `pip install 'regbench[all]'`.",
        )
    if isinstance(error, ValidationError) and error.title == Settings.__name__:
        invalid = error.errors()[0]
        name = f"REGBENCH_{'_'.join(map(str, invalid['loc'])).upper()}"
        return f"{name} is invalid: {invalid['msg']}.", ""
    if isinstance(error, OSError):
        return f"{error.filename or 'operating system'}: {error.strerror or error}.", ""
    if os.environ.get("REGBENCH_DEBUG"):
        raise error
    return f"internal error: {type(error).__name__}: {error}", "REGBENCH_DEBUG=1 shows the traceback."


@contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that what was started is stopped."""

    def interrupt(signal_number: int, frame: object) -> None:
        raise KeyboardInterrupt

    handlers = {code: signal.signal(code, interrupt) for code in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for code, handler in handlers.items():
            signal.signal(code, handler)
