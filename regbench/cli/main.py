"""The `regbench` command. Progress goes to stderr, data to stdout.

Exit codes: 0 succeeded, 1 failed, 2 cancelled, 4 refused (the service refused, cannot be reached, or the
command line makes no sense), 130 interrupted.
"""

import io
import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from regbench.cli.bundles import import_bundle, verify
from regbench.cli.datasets import datasets
from regbench.cli.edits import delete, edit
from regbench.cli.experiments import experiment, presets
from regbench.cli.jobs import cancel, jobs, pause, resume, retry, show
from regbench.cli.keys import keys
from regbench.cli.local import backup, demo, doctor, prune, restore, up
from regbench.cli.mcp_server import mcp
from regbench.cli.options import report_errors
from regbench.cli.predict import download_model, download_test_predictions, predict
from regbench.cli.reports import recommend, report
from regbench.cli.submit import submit
from regbench.cli.techniques import techniques
from regbench.cli.watch import watch


class Commands(TyperGroup):
    """Regbench's commands, which report every error in a sentence."""

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """As usual, with errors reported."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A name may have characters that the terminal's encoding lacks.
                stream.reconfigure(errors="replace")
        with report_errors():
            return super().make_context(*arguments, **named)

    def invoke(self, ctx: Any) -> Any:
        """As usual, with errors reported."""
        with report_errors():
            return super().invoke(ctx)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Train regularized and unregularized MNIST models, and see which regularization helps.",
    epilog="Exit codes: 0 succeeded, 1 failed, 2 cancelled, 4 refused, 130 interrupted.",
)


@app.callback(invoke_without_command=True)
def handle_global_options(
    version_only: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Options before every command."""
    if version_only:
        typer.echo(f"regbench {version('regbench')}")
        raise typer.Exit


for command in (
    *(up, demo, submit, watch, jobs, show),
    *(cancel, pause, resume, retry, edit, delete),
    *(report, recommend, predict, presets, techniques, doctor, prune, backup, restore, mcp),
):
    app.command()(command)
app.command("import")(import_bundle)
app.command("verify")(verify)
app.command("model")(download_model)
app.command("test-predictions")(download_test_predictions)
app.add_typer(experiment, name="experiment")
app.add_typer(datasets, name="datasets")
app.add_typer(keys, name="keys")


if __name__ == "__main__":
    app()
