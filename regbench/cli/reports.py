"""`regbench report`."""

import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from regbench.cli.options import AsJson, Ids, Url, busy, connected, is_experiment, say, write
from regbench.resources import ReportFormat

# Shown in a browser by --open; the others are for a terminal or a program.
_PAGE: ReportFormat = "html"


def report(
    ids: Ids,
    form: Annotated[
        ReportFormat | None, typer.Option("--format", help="md unless --open, --json or --output say more.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of stdout.")] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Show it in a browser.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Print the comparison of an experiment's variants, or of any jobs that have succeeded.

    \b
    Examples:
      regbench report exp_1
      regbench report exp_1 --open
      regbench report job_1 job_2 --output report.csv
    """
    if any(map(is_experiment, ids)) and len(ids) > 1:
        raise typer.BadParameter("a report is of one experiment, or of jobs")
    if as_json and form not in (None, "json"):
        raise typer.BadParameter(
            f"--json asks for another report than --format {form}; leave one of them out"
        )
    wanted = _form(form, output, open_it=open_it, as_json=as_json)
    with connected(url) as client, busy("Comparing"):
        content = (
            client.report(ids[0], wanted) if is_experiment(ids[0]) else client.report_of_jobs(ids, wanted)
        )
    if open_it:
        _open(content, wanted, output)
    elif output is None:
        write(content)
    else:
        output.write_bytes(content)
        say(f"Written: {output}")


def _form(form: ReportFormat | None, output: Path | None, *, open_it: bool, as_json: bool) -> ReportFormat:
    """What was asked for in words, else by a flag, else by the file's name."""
    if form is not None:
        return form
    if as_json:
        return "json"
    if open_it:
        return _PAGE
    by_name: dict[str, ReportFormat] = {".md": "md", ".html": "html", ".json": "json", ".csv": "csv"}
    return by_name.get(output.suffix, "md") if output else "md"


def _open(content: bytes, form: ReportFormat, output: Path | None) -> None:
    if output is None:
        # It stays: the browser reads it after this command has ended.
        with tempfile.NamedTemporaryFile(prefix="regbench-", suffix=f".{form}", delete=False) as file:
            output = Path(file.name)
    output.write_bytes(content)
    say(f"Written: {output}")
    # Not typer.launch, which starts xdg-open and does not hear that it found no browser.
    if not webbrowser.open(output.absolute().as_uri()):
        say("No browser could be started; open the file yourself.")
