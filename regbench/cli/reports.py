"""`regbench report`."""

import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from regbench.base import ReportFormat
from regbench.cli.options import (
    AsJson,
    Ids,
    Url,
    connect,
    echo_message,
    is_experiment_id,
    show_status,
    write,
)
from regbench.cli.report_view import print_report

_FORMATS: dict[str, ReportFormat] = {
    ".md": "md",
    ".markdown": "md",
    ".html": "html",
    ".htm": "html",
    ".json": "json",
    ".csv": "csv",
    ".tex": "tex",
}


def report(
    ids: Ids,
    form: Annotated[
        ReportFormat | None, typer.Option("--format", help="Default: from the suffix of --output, else md.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Variant to compare the others with, instead of the planned one.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of stdout.")] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Print a report that compares an experiment's variants, or any jobs that have succeeded.

    A terminal shows it in short; a pipe or file gets all of it, as Markdown by default.

    \b
    Examples:
      regbench report exp_1
      regbench report exp_1 --open
      regbench report exp_1 --baseline 'L2 1e-3' --output table.tex
      regbench report job_1 job_2 --output report.csv
    """
    if any(map(is_experiment_id, ids)) and len(ids) > 1:
        raise typer.BadParameter("specify one experiment, or any number of jobs")
    if baseline is not None and not is_experiment_id(ids[0]):
        raise typer.BadParameter("--baseline names a variant of an experiment; jobs have none")
    if form is None and output is None and not (open_it or as_json) and sys.stdout.isatty():
        _show_on_terminal(url, ids, baseline)
        return
    form = _choose_format(form, output, open_it=open_it, as_json=as_json)
    with connect(url) as client, show_status("Preparing the report"):
        content = (
            client.report(ids[0], form, baseline=baseline)
            if is_experiment_id(ids[0])
            else client.report_of_jobs(ids, form)
        )
    if output is None and not open_it:
        write(content)
        return
    if output is None:
        # Not deleted: the browser reads it after this command has ended.
        with tempfile.NamedTemporaryFile(prefix="regbench-", suffix=f".{form}", delete=False) as file:
            output = Path(file.name)
    output.write_bytes(content)
    echo_message(f"Wrote {output}")
    # Not typer.launch, which starts xdg-open and does not notice that it found no browser.
    if open_it and not webbrowser.open(output.absolute().as_uri()):
        echo_message("Could not start a browser; open the file yourself.")


def _show_on_terminal(url: str | None, ids: list[str], baseline: str | None) -> None:
    with connect(url) as client, show_status("Preparing the report"):
        ids = client.expand_ids(ids)
        if is_experiment_id(ids[0]):
            compared = client.comparison(ids[0], baseline=baseline)
            address = f"{client.base_url}/experiments/{ids[0]}"
        else:
            compared, address = client.comparison_of_jobs(ids), f"{client.base_url}/jobs"
    print_report(compared, Console(), address)


def _choose_format(
    form: ReportFormat | None, output: Path | None, *, open_it: bool, as_json: bool
) -> ReportFormat:
    if as_json and form not in (None, "json"):
        raise typer.BadParameter(f"--json contradicts --format {form}; omit one of them")
    if form is not None:
        return form
    suffix = output.suffix.lower() if output else ""
    if suffix and not as_json and suffix not in _FORMATS:
        raise typer.BadParameter(
            f"no report format has the suffix {suffix}; use {', '.join(_FORMATS)}, or add --format"
        )
    return "json" if as_json else _FORMATS.get(suffix, "html" if open_it else "md")
