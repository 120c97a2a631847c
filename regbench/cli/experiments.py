"""`regbench experiment` and `regbench presets`."""

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from models.run_key import format_tuned_value, name_variant
from regbench.base import Document, to_one_line
from regbench.cli.completion import complete_experiments, complete_presets
from regbench.cli.jobs import Archived, Dataset, Label, Technique, show
from regbench.cli.options import (
    AsJson,
    JsonLines,
    Url,
    check_experiment_id,
    connect,
    echo_message,
    show_status,
    write_json,
)
from regbench.cli.spec_files import apply_settings, parse_axes, parse_seeds
from regbench.cli.submit import AxisOptions, DryRun, Seeds, make_set_option, report_reused, show_cost
from regbench.cli.watch import watch_until_finished

experiment = typer.Typer(no_args_is_help=True, help="Run, list, show and extend experiments.")

ExperimentId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="ID of an experiment.",
        autocompletion=complete_experiments,
        callback=check_experiment_id,
    ),
]


@experiment.command()
def run(
    preset: Annotated[
        str, typer.Argument(help="One that `regbench presets` lists.", autocompletion=complete_presets)
    ],
    settings: Annotated[list[str] | None, make_set_option("base.training.epochs=5")] = None,
    seeds: Seeds = None,
    axes: AxisOptions = None,
    watch: Annotated[bool, typer.Option(help="Show its progress until it ends.")] = True,
    dry_run: DryRun = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Submit a preset experiment, print its id and show its progress. Ctrl-C leaves the jobs running.

    \b
    Examples:
      regbench experiment run dropout-vs-none --seeds 0-4
      regbench experiment run lambda-path --set base.dataset.name=mnist_5k --set base.training.epochs=5
      regbench experiment run dropout-vs-none --dry-run
      regbench experiment run dropout-vs-none --seeds 0-5 --axis dataset.train_samples=250,1000,4000
      regbench experiment run l1-vs-l2 --set stopping_rule.kind=decide --set stopping_rule.max_jobs=200
    """
    if Path(preset).is_file():
        raise typer.BadParameter(f"{preset} is a file; submit it with: regbench submit {preset} --watch")
    document = apply_settings({"preset": preset}, settings or [])
    if seeds is not None:
        document["seeds"] = parse_seeds(seeds)
    if axes:
        document["axes"] = parse_axes(axes)
    _submit(document, watch=watch, dry_run=dry_run, url=url, as_json=as_json)


def _submit(document: Document, *, watch: bool, dry_run: bool, url: str | None, as_json: bool) -> None:
    with connect(url) as client:
        if "confirms" in document:
            [document["confirms"]] = client.expand_ids([document["confirms"]])
        if dry_run:
            show_cost(client.estimate_cost(document), as_json=as_json)
            return
        with show_status("Submitting"):
            created = client.create_experiment(document)
    if as_json:
        write_json(created)
    else:
        typer.echo(created.id)
    report_reused([created])
    code = watch_until_finished(url, [created.id]) if watch else 0
    if watch:
        with connect(url) as client:
            sentences = [client.experiment(created.id).headline, *client.bias_variance(created.id).answers]
        for sentence in filter(None, sentences):
            echo_message(to_one_line(sentence))
    echo_message(f"Report: regbench report {created.id}")
    echo_message(f"Page:   {client.base_url}/experiments/{created.id}")
    raise typer.Exit(code)


@experiment.command("list")
def list_experiments(
    search: Annotated[str | None, typer.Option(help="Words of the name, notes, preset or a variant.")] = None,
    label: Label = None,
    technique: Technique = None,
    dataset: Dataset = None,
    finished: Annotated[
        bool | None, typer.Option("--finished/--unfinished", help="Only those in which all jobs have ended.")
    ] = None,
    archived: Archived = False,
    sort: Annotated[str, typer.Option(help="-created_at, created_at, name or -name.")] = "-created_at",
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of experiments to list.")] = 50,
    url: Url = None,
    as_json: JsonLines = False,
) -> None:
    """List experiments, newest first.

    \b
    Examples:
      regbench experiment list --limit 5
      regbench experiment list --search dropout --finished --label course=ml1
    """
    filters = {
        "q": search,
        "label": label,
        "technique": technique,
        "dataset": dataset,
        "finished": finished,
        "archived": archived or None,
        "sort": None if sort == "-created_at" else sort,
    }
    query = {name: value for name, value in filters.items() if value is not None}
    with connect(url) as client:
        newest = client.experiments(page_size=min(limit, 200), **query)
        for item in islice(newest, limit):
            if as_json:
                write_json(item, indent=None)
                continue
            percent = f"{100 * item.progress.fraction:.0f}%" if item.progress else ""
            typer.echo(f"{item.id}  {percent:>4}  {item.title}")
            if item.headline:
                typer.echo(f"  {to_one_line(item.headline)}")


@experiment.command("show")
def show_experiment(experiment_id: ExperimentId, url: Url = None, as_json: AsJson = False) -> None:
    """Show an experiment and its jobs.

    \b
    Example:
      regbench experiment show exp_1
    """
    show(experiment_id, url, as_json)


@experiment.command()
def extend(
    experiment_id: ExperimentId,
    seeds: Seeds = None,
    settings: Annotated[list[str] | None, make_set_option("variants=[...]")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Add seeds or variants to an experiment; only the new jobs are trained.

    \b
    Examples:
      regbench experiment extend exp_1 --seeds 5-9
      regbench experiment extend exp_1 --set 'variants=[{name: L1, changes: {regularization: {l1: {}}}}]'
    """
    extension: Document = apply_settings({}, settings or [])
    if seeds is not None:
        extension["seeds"] = parse_seeds(seeds)
    if not extension:
        raise typer.BadParameter("specify what to add, with --seeds or --set variants=...")
    with connect(url) as client:
        extended = client.extend(experiment_id, extension)
    if as_json:
        write_json(extended)
    else:
        typer.echo(extended.id)
    echo_message(f"Watch with: regbench watch {experiment_id}")


@experiment.command()
def confirm(
    experiment_id: ExperimentId,
    variants: Annotated[
        list[str] | None, typer.Option("--variant", help="A variant to test again; repeatable. All, if none.")
    ] = None,
    seeds: Seeds = None,
    watch: Annotated[bool, typer.Option(help="Show its progress until it ends.")] = False,
    dry_run: DryRun = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Test variants of an experiment again, on seeds that it has not used, and print the follow-up's id.

    The report of the follow-up tests its own runs only; without --seeds there are as many as before.

    \b
    Examples:
      regbench experiment confirm exp_1 --variant dropout
      regbench experiment confirm exp_1 --variant dropout --variant L2 --seeds 10-29
    """
    document: Document = {"confirms": experiment_id}
    if variants:
        document["variants"] = [{"name": name} for name in variants]
    if seeds is not None:
        document["seeds"] = parse_seeds(seeds)
    _submit(document, watch=watch, dry_run=dry_run, url=url, as_json=as_json)


@experiment.command("bias-variance")
def show_bias_variance(experiment_id: ExperimentId, url: Url = None, as_json: AsJson = False) -> None:
    """Show bias and variance of each variant over the parts of the training data, in nats of cross-entropy.

    \b
    Example:
      regbench experiment bias-variance exp_1
    """
    with connect(url) as client:
        answer = client.bias_variance(experiment_id)
    if as_json:
        write_json(answer)
        return
    if answer.items is None:
        echo_message(f"No bias and variance: {answer.reason}")
        raise typer.Exit(1)
    parts = ("mean_loss", "bias", "variance")
    table = Table("variant", *(Column(part.replace("_", " "), justify="right") for part in parts))
    for item in answer.items:
        loss = item["cross_entropy"]
        cells = [f"{loss[part]['value']:.4f}" if loss else "-" for part in parts]
        # Text: a variant's name is no markup.
        table.add_row(
            Text(to_one_line(name_variant(item["variant"], item["point"]))),
            *cells,
        )
    Console().print(table)
    for sentence in filter(None, (*answer.answers, answer.intervals)):
        typer.echo(to_one_line(sentence))


@experiment.command("trials")
def list_trials(experiment_id: ExperimentId, url: Url = None, as_json: AsJson = False) -> None:
    """List the settings that an experiment's tuning has tried, with their mean validation loss in nats.

    \b
    Example:
      regbench experiment trials exp_1
    """
    with connect(url) as client:
        trials = client.trials(experiment_id)
    if as_json:
        write_json(trials)
        return
    if not trials:
        echo_message("The experiment tunes nothing.")
        return
    fields = list(dict.fromkeys(field for trial in trials for field in trial.parameters))
    numbers = ("epochs", "validation loss", "sd")
    table = Table(
        "variant",
        "trial",
        *(field.lstrip("/") for field in fields),
        *(Column(name, justify="right") for name in numbers),
        "state",
    )
    for trial in trials:
        loss = trial.validation_loss
        measured = ["-" if loss[name] is None else f"{loss[name]:.4f}" for name in ("mean", "sd")]
        settings = [
            format_tuned_value(field, trial.parameters[field]) if field in trial.parameters else "-"
            for field in fields
        ]
        # Text: a variant's name is no markup.
        cells = [to_one_line(trial.variant), str(trial.trial), *settings, str(trial.epochs), *measured]
        table.add_row(*map(Text, cells), Text("chosen" if trial.chosen else trial.state))
    Console().print(table)


@experiment.command()
def freeze(
    experiment_id: ExperimentId,
    only_list: Annotated[bool, typer.Option("--list", help="List those that were kept before.")] = False,
    delete: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Remove the report with this SHA-256 for ever.")
    ] = None,
    url: Url = None,
    as_json: JsonLines = False,
) -> None:
    """Keep an experiment's report as it is now, and print how to cite it.

    Its address names its SHA-256: the same bytes for ever, also after the experiment was extended.

    \b
    Examples:
      regbench experiment freeze exp_1
      regbench experiment freeze exp_1 --list
    """
    if delete is not None:
        with connect(url) as client:
            client.delete_frozen_report(delete)
        return
    with connect(url) as client, show_status("Preparing the report"):
        reports = client.frozen_reports(experiment_id) if only_list else [client.freeze_report(experiment_id)]
    for report in reports:
        if as_json:
            write_json(report, indent=None)
        else:
            typer.echo(to_one_line(report.citation))


def presets(url: Url = None, as_json: AsJson = False) -> None:
    """List the preset experiments.

    \b
    Example:
      regbench presets
    """
    with connect(url) as client:
        cards = client.presets()
    if as_json:
        write_json(cards)
        return
    width = max(len(card.name) for card in cards)
    for card in cards:
        typer.echo(f"{card.name:<{width}}  {card.jobs:>4} jobs  {card.title}")
