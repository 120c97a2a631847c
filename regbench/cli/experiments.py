"""`regbench experiment` and `regbench presets`."""

from typing import Annotated

import typer

from regbench.cli.completion import experiment_ids, preset_names
from regbench.cli.jobs import show_experiment
from regbench.cli.options import AsJson, JsonLines, Url, busy, connected, experiment_id, say, write_json
from regbench.cli.spec_files import seeds_of, with_settings
from regbench.cli.submit import DryRun, Seeds, setting, show_cost
from regbench.cli.watch import watched
from regbench.resources import Document, Experiment

experiment = typer.Typer(no_args_is_help=True, help="Run, list, show and extend experiments.")

ExperimentId = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="An experiment.", autocompletion=experiment_ids, callback=experiment_id
    ),
]


@experiment.command()
def run(
    preset: Annotated[
        str, typer.Argument(help="As `regbench presets` lists them.", autocompletion=preset_names)
    ],
    settings: Annotated[list[str] | None, setting("base.training.epochs=5")] = None,
    seeds: Seeds = None,
    watch: Annotated[bool, typer.Option(help="Show its jobs until they end.")] = True,
    dry_run: DryRun = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Hand in a ready experiment, print its id, and show its jobs until they end. Ctrl-C leaves them running.

    \b
    Examples:
      regbench experiment run dropout-vs-none --seeds 0-4
      regbench experiment run lambda-path --set base.dataset.name=mnist_5k --set base.training.epochs=5
      regbench experiment run dropout-vs-none --dry-run
    """
    document = with_settings({"preset": preset}, settings or [])
    if seeds is not None:
        document["seeds"] = seeds_of(seeds)
    with connected(url) as client:
        if dry_run:
            show_cost(client.estimate_cost(document), as_json=as_json)
            return
        with busy("Handing it in"):
            stored = client.create_experiment(document)
    typer.echo(stored.to_json() if as_json else stored.id)
    code = watched(url, [stored.id]) if watch else 0
    say(f"Its report: regbench report {stored.id}")
    raise typer.Exit(code)


@experiment.command("list")
def list_experiments(
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    url: Url = None,
    as_json: JsonLines = False,
) -> None:
    """List experiments, newest first.

    \b
    Example:
      regbench experiment list --limit 5
    """
    with connected(url) as client:
        found = client.experiments(page_size=min(limit, 200))
        for _, each in zip(range(limit), found, strict=False):
            typer.echo(each.model_dump_json() if as_json else _row(each))


@experiment.command("show")
def show_one(given: ExperimentId, url: Url = None, as_json: AsJson = False) -> None:
    """Show an experiment and its jobs.

    \b
    Example:
      regbench experiment show exp_1
    """
    with connected(url) as client:
        found = client.experiment(given)
        if as_json:
            typer.echo(found.to_json())
        else:
            show_experiment(found, client.jobs_of(given))


@experiment.command()
def extend(
    given: ExperimentId,
    seeds: Seeds = None,
    settings: Annotated[list[str] | None, setting("variants=[...]")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Add seeds, or variants, to an experiment; only what is new is trained.

    \b
    Examples:
      regbench experiment extend exp_1 --seeds 5-9
      regbench experiment extend exp_1 --set 'variants=[{name: L1, changes: {regularization: {l1: {}}}}]'
    """
    extension: Document = with_settings({}, settings or [])
    if seeds is not None:
        extension["seeds"] = seeds_of(seeds)
    if not extension:
        raise typer.BadParameter("say what to add, with --seeds or --set variants=...")
    with connected(url) as client:
        extended = client.extend(given, extension)
    typer.echo(extended.to_json() if as_json else extended.id)
    say(f"Watch with: regbench watch {given}")


def presets(url: Url = None, as_json: AsJson = False) -> None:
    """List the ready experiments.

    \b
    Example:
      regbench presets
    """
    with connected(url) as client:
        found = client.presets()
    if as_json:
        write_json([each.model_dump(mode="json") for each in found])
        return
    width = max(len(each.name) for each in found)
    for each in found:
        typer.echo(f"{each.name:<{width}}  {each.jobs:>4} jobs  {each.title}")


def _row(each: Experiment) -> str:
    percent = f"{100 * each.progress.fraction:.0f} %" if each.progress else ""
    best = f"{each.best.test_accuracy:.4f}" if each.best else "-"
    return f"{each.id}  {percent:>5}  {best:>6}  {each.title}"
