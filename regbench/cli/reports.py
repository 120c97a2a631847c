"""`regbench report` and `regbench recommend`."""

import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from models.formatting import format_count, format_duration
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
    write_json,
)
from regbench.cli.report_view import print_report
from regbench.errors import CommandRefused

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


def recommend(
    examples: Annotated[
        int | None, typer.Option(min=1, help="Labelled examples, those held out for validation among them.")
    ] = None,
    parameters: Annotated[
        int | None, typer.Option(min=1, help="Trainable parameters of the network.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="How long one model may train, on the service's machine.")
    ] = None,
    need: Annotated[
        list[str] | None,
        typer.Option(
            help="What counts: accuracy (the default), calibration, sparsity or robustness; repeatable."
        ),
    ] = None,
    run: Annotated[
        bool, typer.Option("--run", help="Start the experiment that would answer; prints its id.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Say what the service's own experiments show for a task: what to use, from the nearest measured point.

    Where nothing like it was measured, it abstains and offers the experiment that would answer.

    \b
    Examples:
      regbench recommend --examples 1000 --parameters 200000
      regbench recommend --examples 4000 --need calibration --need accuracy
      regbench recommend --examples 500 --parameters 20000 --run
    """
    with connect(url) as client, show_status("Reading reports"):
        recommendation = client.recommend(
            train_examples=examples, parameters=parameters, seconds=seconds, needs=need or ["accuracy"]
        )
        offered, nearest = recommendation.experiment, recommendation.nearest
        if run:
            if not offered:
                raise CommandRefused("There is no experiment to start: this is answered, or out of reach.")
            started = client.create_experiment(offered["spec"])
            write_json(started) if as_json else typer.echo(started.id)
            return
    if as_json:
        write_json(recommendation)
        return
    for answer in recommendation.answers:
        typer.echo(f"- {answer['text']}")
    if recommendation.abstains:
        text = "No finished experiment with six seeds or more answers this for a task of this size."
        if nearest:
            size = f"{nearest['train_examples']:,} examples and {nearest['parameters']:,} parameters"
            text += f" The nearest was measured with {size}: {nearest['name']}."
        echo_message(text)
    if offered:
        jobs, duration = offered["cost"]["jobs"], offered["cost"]["estimated_seconds"]
        text = f"--run starts an experiment that would answer it: {format_count(jobs, 'job')}"
        text += f", {format_duration(duration)} of training." if duration else "."
        echo_message(text)


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
