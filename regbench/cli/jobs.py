"""`regbench jobs`, `show`, `cancel`, `pause`, `resume` and `retry`."""

import sys
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.formatting import format_duration, format_techniques
from models.metrics import VARIANT_METRICS
from regbench.cli.completion import complete_datasets, complete_experiments, complete_ids, complete_techniques
from regbench.cli.options import (
    SHORT_ID,
    AsJson,
    Ids,
    JsonLines,
    Url,
    connect,
    echo_message,
    is_experiment_id,
    write_json,
)
from regbench.cli.progress import STYLES, format_trials, render_sparkline
from regbench.client import Regbench
from regbench.resources import Epoch, Experiment, Job, JobState

_SPARKLINE_WIDTH = 40


def check_labels(labels: list[str] | None) -> list[str] | None:
    """Refuse what is not a label; a callback of typer."""
    for label in labels or []:
        name, equals, _ = label.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"a label is NAME=VALUE, such as sweep=7, not {label}")
    return labels


Label = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Only those with this label; repeatable.", callback=check_labels),
]
Technique = Annotated[
    list[str] | None,
    typer.Option(help="Only those that use this technique; repeatable.", autocompletion=complete_techniques),
]
Dataset = Annotated[
    list[str] | None,
    typer.Option(help="Only those on this dataset; repeatable.", autocompletion=complete_datasets),
]
Archived = Annotated[
    bool, typer.Option("--archived", help="Only archived ones, which are left out otherwise.")
]
Time = Annotated[str | None, typer.Option(metavar="TIME", help="Such as 2026-01-31T12:00:00Z.")]


def jobs(
    state: Annotated[list[JobState] | None, typer.Option(help="Only jobs in this state; repeatable.")] = None,
    technique: Technique = None,
    dataset: Dataset = None,
    experiment: Annotated[
        list[str] | None,
        typer.Option(help="Only jobs of this experiment; repeatable.", autocompletion=complete_experiments),
    ] = None,
    label: Label = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="RANGE", help="Only jobs in it, such as 'test_accuracy>=0.98'; repeatable."),
    ] = None,
    archived: Archived = False,
    created_after: Time = None,
    created_before: Time = None,
    sort: Annotated[
        str,
        typer.Option(
            help="created_at, or a metric such as test_accuracy; a leading - sorts in descending order."
        ),
    ] = "-created_at",
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of jobs to list.")] = 50,
    url: Url = None,
    as_json: JsonLines = False,
) -> None:
    """List jobs, newest first. Values of the same filter are alternatives; different filters must all match.

    \b
    Examples:
      regbench jobs --state running --state queued
      regbench jobs --technique dropout --sort validation_loss --limit 5
      regbench jobs --metric 'test_accuracy>=0.98' --metric 'test_loss<0.1'
      regbench jobs --label sweep=7 --json | jq .result.test_accuracy
    """
    filters: dict[str, Any] = {
        "technique": technique,
        "dataset": dataset,
        "experiment": experiment,
        "label": label,
        "metric": metric,
        "archived": archived,
        "created_after": created_after,
        "created_before": created_before,
        "sort": None if sort == "-created_at" else sort,
    }
    query = {name: value for name, value in filters.items() if value}
    with connect(url) as client:
        matches = islice(client.jobs(states=state or (), page_size=min(limit, 200), **query), limit)
        if not as_json and sys.stdout.isatty():
            print_jobs(list(matches), Console())
            return
        for job in matches:
            if as_json:
                write_json(job, indent=None)
            else:
                typer.echo(_format_row(job))


def print_jobs(listed: Sequence[Job], console: Console) -> None:
    """A table to the terminal's width; commands accept the short ids."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    for heading in ("id", "state"):
        table.add_column(heading, no_wrap=True)
    for heading in ("epoch", "accuracy"):
        table.add_column(heading, no_wrap=True, justify="right")
    table.add_column("job", no_wrap=True, overflow="ellipsis", ratio=1)
    for job in listed:
        accuracy = "-"
        if job.result and job.result.test_accuracy is not None:
            accuracy = f"{100 * job.result.test_accuracy:.2f} %"
        epoch = f"{job.progress.epoch}/{job.progress.epochs}"
        state = Text(str(job.state), style=STYLES.get(job.state, ""))
        table.add_row(Text(job.id[:SHORT_ID]), state, epoch, accuracy, Text(job.title))
    console.print(table)


def show(
    resource_id: Annotated[
        str, typer.Argument(metavar="ID", help="ID of a job or an experiment.", autocompletion=complete_ids)
    ],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show a job or an experiment in detail.

    \b
    Examples:
      regbench show job_1
      regbench show job_1 --json | jq .spec
    """
    with connect(url) as client:
        if is_experiment_id(resource_id):
            resource: Job | Experiment = client.experiment(resource_id)
        else:
            resource = client.job(resource_id)
        if as_json:
            write_json(resource)
        elif isinstance(resource, Experiment):
            best, planned = resource.best, resource.planned_trials
            _print_lines(
                {
                    "id": resource.id,
                    "name": resource.title,
                    "preset": resource.preset,
                    "baseline": resource.baseline,
                    "confirms": resource.spec.get("confirms"),
                    "jobs": _format_counts(resource),
                    "tuning": format_trials(client.trials(resource.id), planned) if planned else None,
                    "headline": resource.headline,
                    "best": best
                    and f"{best['variant']} by validation loss (test accuracy {best['test_accuracy']:.4f})",
                }
            )
            for job in client.jobs_of(resource.id):
                typer.echo(_format_row(job))
        else:
            _show_job(resource, client.epochs(resource.id))


def cancel(ids: Ids, url: Url = None, as_json: JsonLines = False) -> None:
    """Cancel jobs or whole experiments. Running jobs stop within about a second.

    \b
    Example:
      regbench cancel job_1 exp_2
    """
    _apply(url, ids, Regbench.cancel, Regbench.cancel_experiment, as_json=as_json)


def pause(ids: Ids, url: Url = None, as_json: JsonLines = False) -> None:
    """Pause jobs or whole experiments. Running jobs stop within about a second.

    \b
    Example:
      regbench pause exp_2
    """
    _apply(url, ids, Regbench.pause, Regbench.pause_experiment, as_json=as_json)


def resume(ids: Ids, url: Url = None, as_json: JsonLines = False) -> None:
    """Resume paused jobs, or all paused jobs of an experiment.

    \b
    Example:
      regbench resume exp_2
    """
    _apply(url, ids, Regbench.resume, Regbench.resume_experiment, as_json=as_json)


def retry(ids: Ids, url: Url = None, as_json: JsonLines = False) -> None:
    """Train failed or cancelled jobs again as new jobs, and print their ids.

    Of an experiment, all failed and cancelled jobs are replaced; its own id is printed.

    \b
    Example:
      regbench retry job_1
    """
    _apply(url, ids, Regbench.retry, Regbench.retry_failed, as_json=as_json, echo_ids=True)


def _apply(
    url: str | None,
    ids: Sequence[str],
    apply_to_job: Callable[[Regbench, str], Job],
    apply_to_experiment: Callable[[Regbench, str], Experiment],
    *,
    as_json: bool,
    echo_ids: bool = False,
) -> None:
    with connect(url) as client:
        for name in ids:
            resource: Job | Experiment
            if is_experiment_id(name):
                resource = apply_to_experiment(client, name)
                state = _format_counts(resource)
            else:
                resource = apply_to_job(client, name)
                state = _format_state(resource)
            if as_json:
                write_json(resource, indent=None)
            elif echo_ids:
                typer.echo(resource.id)
            else:
                echo_message(f"{resource.title} ({resource.id}): {state}")


def _format_state(job: Job) -> str:
    action = (job.model_extra or {}).get("requested_action")
    return f"{job.state}, {action} requested" if action else str(job.state)


def _format_row(job: Job) -> str:
    measured = job.result and job.result.test_accuracy
    accuracy = "-" if measured is None else f"{measured:.4f}"
    epoch = f"{job.progress.epoch}/{job.progress.epochs}"
    return f"{job.id}  {job.state:<9}  {epoch:>9}  {accuracy:>6}  {job.title}"


def _show_job(job: Job, history: Sequence[Epoch]) -> None:
    extra = job.model_extra or {}
    seconds = job.progress.eta_seconds if job.state is JobState.RUNNING else None
    lines = {
        "id": job.id,
        "name": job.title,
        "state": _format_state(job),
        "experiment": job.experiment_id,
        "dataset": (job.spec.get("dataset") or {}).get("name"),
        "seed": job.spec.get("seed"),
        "regularization": format_techniques(job.spec.get("regularization") or {}),
        "epoch": f"{job.progress.epoch} of {job.progress.epochs}",
        "time left": None if seconds is None else f"about {format_duration(seconds)}",
        "created": extra.get("created_at"),
        "finished": extra.get("finished_at"),
        "stop reason": extra.get("stop_reason"),
        "error": job.error and job.error.message,
    }
    if job.result:
        lines |= {
            metric.title.lower(): f"{metric.format_value(value)} {metric.format.unit}".rstrip()
            for metric in VARIANT_METRICS
            if (value := getattr(job.result, metric.name, None)) is not None
        }
    losses = [epoch.validation_loss for epoch in history if epoch.validation_loss is not None]
    if losses:
        sparkline = render_sparkline(losses, _SPARKLINE_WIDTH, encoding=sys.stdout.encoding)
        lines["validation loss"] = f"{losses[0]:.4f} {sparkline} {losses[-1]:.4f}"
    _print_lines(lines)


def _format_counts(experiment: Experiment) -> str:
    if experiment.progress is None:
        return ""
    progress = experiment.progress
    counts = [f"{count} {state}" for state, count in progress.counts.items() if count]
    return f"{progress.total} in total: {', '.join(counts)}"


def _print_lines(lines: dict[str, Any]) -> None:
    width = max(map(len, lines)) + 2
    for name, value in lines.items():
        if value not in (None, ""):
            typer.echo(f"{name:<{width}}{value}")
