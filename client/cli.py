"""The `regbench` command. Progress goes to stderr, data to stdout.

Exit codes: 0 succeeded, 1 failed, 2 cancelled, 4 refused (the service said no, cannot be reached, or the
command line makes no sense), 130 interrupted.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from typer.core import TyperGroup

from client.address import free_port
from client.client import DEFAULT_URL, Choice, Regbench, ReportFormat
from client.demo import run_demo
from client.errors import ClientError, ProblemError, Unreachable
from client.following import follow
from client.predictions import show_predictions
from client.progress import display_on
from client.resources import Job
from client.stack import keys_required, manage_keys, prune_files, running_stack
from models.addresses import loopback_only
from models.experiments import Document
from models.scopes import Scope
from models.settings import Settings
from models.spec import DatasetName
from models.states import JobState

SUCCEEDED, FAILED, CANCELLED, REFUSED, INTERRUPTED = 0, 1, 2, 4, 130


def say(message: str) -> None:
    """One line on stderr, as it is: no markup, no wrapping."""
    _stderr().print(message, markup=False, highlight=False, soft_wrap=True)


def _stderr() -> Console:
    # Made anew each time: a test, or a shell, may have moved stderr since.
    return Console(stderr=True)


@contextmanager
def _one_sentence() -> Iterator[None]:
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
        refused = isinstance(error, ProblemError | Unreachable)
        raise typer.Exit(REFUSED if refused else FAILED) from None


def _in_words(error: Exception) -> tuple[str, str]:
    """What went wrong, and what to do about it."""
    if isinstance(error, ClientError):
        return error.message, error.hint
    if isinstance(error, ValidationError) and error.title == Settings.__name__:
        fault = error.errors()[0]
        name = f"REGBENCH_{'_'.join(str(part) for part in fault['loc']).upper()}"
        return f"{name} is not right: {fault['msg']}.", ""
    if isinstance(error, OSError):
        return f"{error.filename or 'the system says'}: {error.strerror or error}.", ""
    if os.environ.get("REGBENCH_DEBUG"):
        raise error
    return f"a fault of its own: {type(error).__name__}: {error}", "REGBENCH_DEBUG=1 shows where it is."


class Commands(TyperGroup):
    """Regbench's commands, with their errors put into words."""

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """As usual, with errors put into words."""
        with _one_sentence():
            return super().make_context(*arguments, **named)

    def invoke(self, ctx: Any) -> Any:
        """As usual, with errors put into words."""
        with _one_sentence():
            return super().invoke(ctx)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Train regularized and unregularized MNIST models, and see which regularization helps.",
    epilog="Exit codes: 0 succeeded, 1 failed, 2 cancelled, 4 refused, 130 interrupted.",
)

keys = typer.Typer(
    no_args_is_help=True, help="Make, list and revoke the API keys of this machine's installation."
)
app.add_typer(keys, name="keys")

Url = Annotated[str, typer.Option(envvar="REGBENCH_URL", help="Address of the service.")]


@app.command()
def up(
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; on others than loopback every request needs an API key."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = 8000,
) -> None:
    """Serve the API and train jobs, until Ctrl-C."""
    settings = Settings()
    if keys_required(settings, host) == "true":
        say("Requests need an API key; make one with: regbench keys create NAME")
    elif not loopback_only(host):
        say(f"Warning: API keys are turned off, so whoever can reach {host} can use this service.")
    started = time.monotonic()
    try:
        with _stopped_by_signals(), running_stack(settings, host, port or free_port(host), say=say) as stack:
            stack.wait_until_ready(say)
            say(f"Ready in {time.monotonic() - started:.0f} s: {stack.url} (Ctrl-C stops it; twice, at once)")
            say(f"Logs: {settings.home.absolute() / 'logs'}")
            while True:
                stack.check()
                time.sleep(0.5)
    except KeyboardInterrupt:
        say("Stopped. Jobs that were running go on at the next start.")


@app.command()
def demo(
    dataset: Annotated[
        DatasetName | None, typer.Option(help="Default: mnist where it can be had, else mnist_5k.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Default: 10, as the preset has it.")
    ] = None,
) -> None:
    """Train the dropout comparison on a stack of its own and print the report."""
    settings = Settings()
    started = time.monotonic()
    with _stopped_by_signals():
        report = run_demo(settings, _stderr(), say, dataset=dataset, epochs=epochs)
    _write(report.encode())
    folder = settings.home / "demo"
    say(f"Done in {time.monotonic() - started:.0f} s: {folder / 'report.html'}, report.md and report.json.")


@app.command()
def prune(
    days: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=36_500,
            help="Also remove models and predictions of jobs that finished so many days ago; 0: none. "
            "Default: REGBENCH_KEEP_ARTIFACTS_DAYS.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be removed.")] = False,
) -> None:
    """Clear up this machine's installation: checkpoints of ended jobs, and models past an age."""
    settings = Settings()
    options = ["--dry-run"] if dry_run else []
    options += [] if days is None else ["--days", str(days)]
    _write(prune_files(settings, options).encode())


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="For people to know the key by.")],
    owner: Annotated[str | None, typer.Option(help="Whose jobs it opens; default: local.")] = None,
    scope: Annotated[
        Scope, typer.Option(help="read: look; write: also change; admin: also see everybody's, and keys.")
    ] = Scope.WRITE,
    expires_days: Annotated[
        float | None, typer.Option(min=0, max=36_500, help="Days until it expires; default: never.")
    ] = None,
) -> None:
    """Make a key and print it, this once."""
    options = ["--scope", str(scope)]
    options += [] if owner is None else [f"--owner={owner}"]
    options += [] if expires_days is None else ["--expires-days", str(expires_days)]
    key, _, about = manage_keys(Settings(), ["create", *options, "--", name]).partition("\n")
    typer.echo(key)
    say(about.strip())


@keys.command("list")
def list_keys() -> None:
    """Show all keys: id, first letters, scope, owner, whether it is open, last use, name."""
    _write(manage_keys(Settings(), ["list"]).encode())


@keys.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")]) -> None:
    """Close a key for good."""
    say(manage_keys(Settings(), ["revoke", "--", key_id]).strip())


@app.command()
def submit(
    file: Annotated[str, typer.Argument(help="A job or an experiment as JSON; `-` reads stdin.")],
    url: Url = DEFAULT_URL,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole answer, not only the id.")] = False,
) -> None:
    """Hand in a job, or an experiment (a document with `preset` or `variants`)."""
    document = _document(file)
    with Regbench(url) as client:
        experimental = bool({"preset", "variants"} & document.keys())
        stored = client.create_experiment(document) if experimental else client.submit_job(document)
    typer.echo(stored.json_text() if as_json else stored.id)
    say(f"Watch it with: regbench watch {stored.id}")


@app.command()
def watch(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Jobs or experiments.")],
    url: Url = DEFAULT_URL,
) -> None:
    """Show jobs until they end. Ctrl-C ends the watching, not the jobs."""
    try:
        with Regbench(url) as client, display_on(_stderr()) as display:
            ended = follow(client, _jobs_named(client, ids), display)
    except KeyboardInterrupt:
        say(f"No longer watching; the jobs go on. Watch again with: regbench watch {' '.join(ids)}")
        raise typer.Exit(INTERRUPTED) from None
    for job in ended:
        if job.error:
            say(f"{job.title} ({job.id}) failed: {job.error.message}")
    raise typer.Exit(_code(ended))


@app.command()
def jobs(
    url: Url = DEFAULT_URL,
    state: Annotated[list[JobState] | None, typer.Option(help="Only these; may be given again.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Only this experiment's.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
) -> None:
    """List jobs."""
    with Regbench(url) as client:
        found = client.jobs(states=state or (), experiment=experiment, page_size=min(limit, 200))
        for _, job in zip(range(limit), found, strict=False):
            typer.echo(job.model_dump_json() if as_json else _row(job))


@app.command()
def cancel(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Jobs or experiments.")],
    url: Url = DEFAULT_URL,
) -> None:
    """Ask for the end of jobs, or of whole experiments; one that is running stops within about a second."""
    with Regbench(url) as client:
        for each in ids:
            client.cancel_experiment(each) if _is_experiment(each) else client.cancel(each)


@app.command()
def pause(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Jobs.")], url: Url = DEFAULT_URL
) -> None:
    """Set jobs aside; one that is running stops within about a second."""
    with Regbench(url) as client:
        for each in _job_ids(ids):
            client.pause(each)


@app.command()
def resume(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Paused jobs.")], url: Url = DEFAULT_URL
) -> None:
    """Let paused jobs go on."""
    with Regbench(url) as client:
        for each in _job_ids(ids):
            client.resume(each)


@app.command()
def retry(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Failed or cancelled jobs.")],
    url: Url = DEFAULT_URL,
) -> None:
    """Train failed or cancelled jobs again, as new jobs, and print their ids."""
    with Regbench(url) as client:
        for each in _job_ids(ids):
            typer.echo(client.retry(each).id)


@app.command()
def report(
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="One experiment, or jobs that have succeeded.")
    ],
    url: Url = DEFAULT_URL,
    form: Annotated[ReportFormat, typer.Option("--format", help="Of what is printed or written.")] = "md",
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of stdout.")] = None,
) -> None:
    """Print the comparison of an experiment's variants, or of any finished jobs."""
    with Regbench(url) as client:
        of_jobs = len(ids) > 1 or ids[0].startswith("job_")
        content = client.report_of_jobs(ids, form) if of_jobs else client.report(ids[0], form)
    if output is None:
        _write(content)
    else:
        output.write_bytes(content)
        say(f"Written: {output}")


@app.command()
def predict(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="A job that has succeeded.")],
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", exists=True, dir_okay=False, help="PNG or JPEG files, up to 256."),
    ],
    url: Url = DEFAULT_URL,
    invert: Annotated[Choice, typer.Option(help="Whether ink is dark; auto: by the border.")] = "auto",
    center: Annotated[
        Choice, typer.Option(help="Whether to box and centre the digit as MNIST does; auto: unless 28x28.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole answer.")] = False,
) -> None:
    """Ask a trained model what it sees on images."""
    contents = [path.read_bytes() for path in images]
    with Regbench(url) as client:
        found = client.predict(job_id, contents, invert=invert, center=center)
    if as_json:
        typer.echo(found.json_text())
    else:
        show_predictions(Console(), [path.name for path in images], found.predictions)


def _document(file: str) -> Document:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"{file} is not JSON: {error}") from None
    except RecursionError:
        raise typer.BadParameter(f"{file} is nested too deeply for a job or an experiment") from None
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"cannot read {file}: {error}") from None
    if not isinstance(document, dict):
        raise typer.BadParameter(f"{file} holds no JSON object, which a job or an experiment is")
    return document


def _is_experiment(given: str) -> bool:
    return given.startswith("exp_")


def _job_ids(given: Sequence[str]) -> Sequence[str]:
    """All of them, or none: nothing is done for the first where the second makes no sense."""
    for each in filter(_is_experiment, given):
        raise typer.BadParameter(f"{each} is an experiment; its jobs: regbench jobs --experiment {each}")
    return given


def _jobs_named(client: Regbench, ids: Sequence[str]) -> list[Job]:
    """The jobs of these ids, and of these experiments."""
    found: list[Job] = []
    for each in ids:
        if _is_experiment(each):
            client.experiment(each)  # says so if there is none
            found += client.jobs_of(each)
        else:
            found.append(client.job(each))
    return found


def _code(ended: Sequence[Job]) -> int:
    states = {job.state for job in ended}
    if JobState.FAILED in states:
        return FAILED
    return CANCELLED if JobState.CANCELLED in states else SUCCEEDED


def _row(job: Job) -> str:
    accuracy = f"{job.result.test_accuracy:.4f}" if job.result else "-"
    done = f"{job.progress.epoch}/{job.progress.epochs}"
    return f"{job.id}  {job.state:<9}  {done:>9}  {accuracy:>6}  {job.title}"


def _write(content: bytes) -> None:
    sys.stdout.buffer.write(content)
    sys.stdout.flush()


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that what was started is stopped."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    app()
