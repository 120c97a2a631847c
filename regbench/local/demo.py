"""`regbench demo`: the seed experiment, with and without dropout, on a whole stack of its own."""

from rich.console import Console

from models.dataset_cards import DATASETS, DatasetName
from models.settings import Settings
from regbench.base import Document, ReportFormat
from regbench.cli.polling import poll_until_finished
from regbench.cli.progress import make_display
from regbench.client import Regbench
from regbench.errors import ClientError, ProblemError, StackError
from regbench.local.ports import check_port, find_free_port
from regbench.local.stack import Echo, Stack, run_stack
from regbench.resources import Job, JobState

PRESET = "dropout-vs-none"
# Needs no download, so the demo works on a machine without network.
FALLBACK: DatasetName = "mnist_5k"
REPORTS: tuple[ReportFormat, ...] = ("json", "md", "html")

HOST = "127.0.0.1"
# Where `make up` listens, so that the command in the report that repeats it works there too.
USUAL_PORT = 8000
# A first demo may have to download MNIST before the service can accept it.
DOWNLOAD_SECONDS = 600.0


class DemoFailed(ClientError):
    """The stack ran, and a job did not succeed; `code` and `reason` are its error's."""

    def __init__(self, job: Job) -> None:
        self.code = job.error.code if job.error else None
        self.reason = job.error.message if job.error else "see the worker's log for the reason"
        super().__init__(f"{job.title} ended as {job.state}: {self.reason}")


def run_demo(
    settings: Settings,
    console: Console,
    echo: Echo,
    *,
    dataset: DatasetName | None = None,
    epochs: int | None = None,
) -> str:
    """Train, compare, and write the reports into HOME/demo; returns the report in Markdown.

    Without `dataset`: MNIST in full where it is available, else `mnist_5k`. A ClientError says what failed.
    """
    home = settings.home / "demo"
    # A stack of its own, even where another is configured: a demo leaves nothing in anyone's database.
    own = settings.model_copy(
        update={"home": home, "database_url": "", "broker_url": "", "artifacts_url": ""}
    )
    try:
        check_port(HOST, USUAL_PORT)
        port = USUAL_PORT
    except StackError:
        port = find_free_port(HOST)
    with run_stack(own, HOST, port, echo=echo, throwaway=True) as stack, Regbench(stack.url) as client:
        names: list[DatasetName] = [dataset] if dataset else ["mnist", FALLBACK]
        for name in names:
            try:
                experiment_id = _train(stack, client, echo, console, name, epochs)
                break
            except (ProblemError, DemoFailed) as error:
                # Missing when it is submitted, or found to be damaged when it is read.
                if name == names[-1] or error.code != "dataset_unavailable":
                    raise
                reason = error.reason if isinstance(error, DemoFailed) else error.errors[0].detail
                echo(f"Full MNIST is not available: {reason}.")
        reports = {form: client.report(experiment_id, form) for form in REPORTS}
        for form, content in reports.items():
            (home / f"report.{form}").write_bytes(content)
        return reports["md"].decode()


def _train(
    stack: Stack, client: Regbench, echo: Echo, console: Console, name: DatasetName, epochs: int | None
) -> str:
    """Train the experiment on one dataset; returns its id."""
    base: Document = {"dataset": {"name": name}}
    if epochs is not None:
        base["training"] = {"epochs": epochs}
    # Without reuse a demo shows training the second time too.
    document = {"preset": PRESET, "base": base, "reuse": False}
    experiment = client.create_experiment(document, timeout=DOWNLOAD_SECONDS)
    card = DATASETS[name]
    echo(
        f"Dataset: {name} ({card.train_examples:,} images for training and validation, "
        f"{card.test_examples:,} for testing)."
    )
    stack.wait_until_ready(echo)
    with make_display(console) as display:
        jobs = poll_until_finished(client, client.jobs_of(experiment.id), display, check=stack.check)
    for job in jobs:
        if job.state is not JobState.SUCCEEDED:
            raise DemoFailed(job)
    return experiment.id
