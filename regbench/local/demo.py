"""`regbench demo`: the seed experiment, with and without dropout, on a whole stack of its own."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from models.settings import Settings
from models.spec import DATASET_ROWS, DatasetName
from regbench.cli.polling import follow
from regbench.cli.progress import display_on
from regbench.client import Regbench
from regbench.errors import ClientError, ProblemError, StackError
from regbench.local.ports import check_port, free_port
from regbench.local.stack import Say, running_stack
from regbench.resources import Document, Experiment, Job, JobState, ReportFormat

PRESET = "dropout-vs-none"
# Needs no download, so the demo works on a machine without network.
FALLBACK: DatasetName = "mnist_5k"
REPORTS: tuple[ReportFormat, ...] = ("json", "md", "html")

HOST = "127.0.0.1"
# Where `make up` listens: with it, the line by which the report says how to repeat it works there too.
USUAL_PORT = 8000
# A first demo may have to download MNIST before the service can accept it.
DOWNLOAD_SECONDS = 600.0


class DemoFailed(ClientError):
    """The stack ran, and a job did not succeed."""


def run_demo(
    settings: Settings,
    console: Console,
    say: Say,
    *,
    dataset: DatasetName | None = None,
    epochs: int | None = None,
) -> str:
    """Train, compare, and leave the reports in HOME/demo; returns the report in Markdown.

    Without `dataset`: MNIST in full where it can be had, else `mnist_5k`.

    Raises:
        ClientError: a step failed.
    """
    home = settings.home / "demo"
    # A stack of its own, even where another is configured: a demo leaves nothing in anyone's database.
    own = settings.model_copy(
        update={"home": home, "database_url": "", "broker_url": "", "artifacts_url": ""}
    )
    with (
        running_stack(own, HOST, _port(), say=say, throwaway=True) as stack,
        Regbench(stack.url) as client,
    ):
        experiment = _submit(client, say, dataset, epochs)
        stack.wait_until_ready(say)
        _train(client, experiment, console, stack.check)
        return _write_reports(client, experiment, home)


def _port() -> int:
    try:
        check_port(HOST, USUAL_PORT)
    except StackError:
        return free_port(HOST)
    return USUAL_PORT


def _submit(client: Regbench, say: Say, dataset: DatasetName | None, epochs: int | None) -> Experiment:
    wanted = dataset or "mnist"
    try:
        experiment = client.create_experiment(_document(wanted, epochs), timeout=DOWNLOAD_SECONDS)
    except ProblemError as problem:
        if dataset is not None or not _dataset_is_missing(problem):
            raise
        say(f"Full MNIST cannot be had: {problem.errors[0].detail}.")
        wanted = FALLBACK
        experiment = client.create_experiment(_document(wanted, epochs))
    rows = DATASET_ROWS[wanted]
    say(f"Dataset: {wanted} ({rows.train:,} images to train and validate on, {rows.test:,} to test on).")
    return experiment


def _document(dataset: DatasetName, epochs: int | None) -> Document:
    base: Document = {"dataset": {"name": dataset}}
    if epochs is not None:
        base["training"] = {"epochs": epochs}
    # A demo shows training, the second time too.
    return {"preset": PRESET, "base": base, "reuse": False}


def _dataset_is_missing(problem: ProblemError) -> bool:
    return problem.status == 422 and any(fault.pointer.endswith("/dataset/name") for fault in problem.errors)


def _train(client: Regbench, experiment: Experiment, console: Console, check: Callable[[], None]) -> None:
    with display_on(console) as display:
        ended = follow(client, client.jobs_of(experiment.id), display, check=check)
    for job in ended:
        if job.state is not JobState.SUCCEEDED:
            raise DemoFailed(f"{job.title} ended as {job.state}: {_reason(job)}")


def _reason(job: Job) -> str:
    return job.error.message if job.error else "nobody says why; see the worker's log"


def _write_reports(client: Regbench, experiment: Experiment, folder: Path) -> str:
    """Returns the one in Markdown."""
    reports = {form: client.report(experiment.id, form) for form in REPORTS}
    for form, content in reports.items():
        (folder / f"report.{form}").write_bytes(content)
    return reports["md"].decode()
