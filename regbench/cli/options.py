"""What the commands share: exit codes, options, and how they speak.

Progress and remarks go to stderr, data to stdout.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.status import Status

from models.errors import NotFound, RegbenchError
from models.settings import Settings
from regbench.cli.completion import job_or_experiment_ids
from regbench.cli.spec_files import NoDocument
from regbench.client import Regbench
from regbench.connection import DEFAULT_URL
from regbench.errors import ClientError, CommandRefused, ProblemError, Unreachable

SUCCEEDED, FAILED, CANCELLED, REFUSED, INTERRUPTED = 0, 1, 2, 4, 130

Url = Annotated[
    str | None,
    typer.Option(envvar="REGBENCH_URL", help="Address of the service.", show_default=DEFAULT_URL),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, one document a line.")]
Ids = Annotated[
    list[str],
    typer.Argument(metavar="ID...", help="Jobs or experiments.", autocompletion=job_or_experiment_ids),
]


def say(message: str) -> None:
    """One line on stderr, as it is: no markup, no wrapping."""
    stderr_console().print(message, markup=False, highlight=False, soft_wrap=True)


def stderr_console() -> Console:
    """Where people read what goes on."""
    # Made anew each time: a test, or a shell, may have moved stderr since.
    return Console(stderr=True)


def connected(url: str | None) -> Regbench:
    """A client that tries little: a person waits."""
    return Regbench(url, retries=2)


def busy(what: str) -> Status:
    """A moving sign on a terminal's stderr while the block runs."""
    return stderr_console().status(f"{what} ...")


def write(content: bytes) -> None:
    """Data, as it is, on stdout."""
    sys.stdout.buffer.write(content)
    sys.stdout.flush()


def write_json(document: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def is_experiment(given: str) -> bool:
    """Whether this id names an experiment."""
    return given.startswith("exp_")


def experiment_id(given: str) -> str:
    """It, for an argument's check.

    Raises:
        typer.BadParameter: it names no experiment.
    """
    if not is_experiment(given):
        raise typer.BadParameter(f"{given} is no experiment; an experiment's id begins with exp_")
    return given


@contextmanager
def one_sentence() -> Iterator[None]:
    """Every error as one sentence on stderr and an exit code; no traceback reaches a user."""
    try:
        yield
    except (typer.Exit, typer.Abort, BrokenPipeError):
        # The last: a reader that has seen enough, as in `regbench jobs | head`; typer ends quietly.
        raise
    except typer.TyperException as error:
        # The command line's own errors would be 2, which is taken.
        error.exit_code = REFUSED
        raise
    except Exception as error:
        sentence, hint = _in_words(error)
        say(f"regbench: {sentence}")
        if hint:
            say(hint)
        refused = isinstance(error, ProblemError | Unreachable | NoDocument | CommandRefused | NotFound)
        raise typer.Exit(REFUSED if refused else FAILED) from None


def _in_words(error: Exception) -> tuple[str, str]:
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
        fault = error.errors()[0]
        name = f"REGBENCH_{'_'.join(str(part) for part in fault['loc']).upper()}"
        return f"{name} is not right: {fault['msg']}.", ""
    if isinstance(error, OSError):
        return f"{error.filename or 'the system says'}: {error.strerror or error}.", ""
    if os.environ.get("REGBENCH_DEBUG"):
        raise error
    return f"a fault of its own: {type(error).__name__}: {error}", "REGBENCH_DEBUG=1 shows where it is."


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that what was started is stopped."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
