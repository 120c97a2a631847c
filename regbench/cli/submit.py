"""`regbench submit`."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from regbench.base import Document
from regbench.cli.completion import complete_ids
from regbench.cli.options import AsJson, Url, connect, echo_message, show_status, write_json
from regbench.cli.spec_files import apply_settings, parse_axes, parse_seeds, read_document
from regbench.cli.watch import watch_until_finished
from regbench.documents import is_experiment
from regbench.resources import CostEstimate, Experiment, Job


def make_set_option(example: str) -> Any:
    """The option --set, with an example that fits what the command submits."""
    return typer.Option("--set", metavar="PATH=VALUE", help=f"Set a field, such as {example}; repeatable.")


Settings = Annotated[list[str] | None, make_set_option("training.epochs=5")]
Seeds = Annotated[str | None, typer.Option(metavar="SEEDS", help="Seeds, such as 0-9 or 0,3,7.")]
AxisOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--axis",
        metavar="FIELD=VALUES",
        help="Train variants at each value, such as dataset.train_samples=250,1000; repeatable.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only validate it and estimate its cost.")]


def submit(
    file: Annotated[
        str | None, typer.Argument(help="A job or an experiment in YAML or JSON; `-` reads stdin.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="ID",
            help="Start from this job or experiment; FILE and --set say what is different.",
            autocompletion=complete_ids,
        ),
    ] = None,
    settings: Settings = None,
    seeds: Seeds = None,
    axes: AxisOptions = None,
    watch: Annotated[bool, typer.Option(help="Show its progress until it ends.")] = False,
    dry_run: DryRun = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job or an experiment (a document with `preset`, `confirms` or `variants`) and print its id.

    With --seeds, a job is submitted once per seed: all are accepted, or none.

    \b
    Examples:
      regbench submit job.yaml --set regularization.dropout.rate=0.3
      regbench submit job.yaml --seeds 0-9 --watch
      regbench submit --from job_1 --set training.epochs=20
      echo '{"training": {"epochs": 5}}' | regbench submit - --json
    """
    document = _read_submission(file, source, settings or [], axes or [])
    with connect(url) as client:
        if source is not None:
            [document["from"]] = client.expand_ids([source])
        if dry_run:
            if seeds is None or is_experiment(document):
                cost = client.estimate_cost(_set_seeds(document, seeds))
            else:
                specs = [document | {"seed": seed} for seed in parse_seeds(seeds)]
                cost = client.estimate_cost({"jobs": specs})
            show_cost(cost, as_json=as_json)
            return
        # The service may have to download a dataset first.
        with show_status("Submitting"):
            created: list[Job] | list[Experiment]
            if is_experiment(document):
                created = [client.create_experiment(_set_seeds(document, seeds))]
            elif seeds is None:
                created = [client.submit_job(document)]
            else:
                specs = [document | {"seed": seed} for seed in parse_seeds(seeds)]
                created = client.submit_jobs(specs)
        ids = [item.id for item in created]
        report_reused(created)
        if as_json:
            # A list wherever there may be many, even where there is one.
            is_batch = seeds is not None and not is_experiment(document)
            write_json(created if is_batch else created[0])
        else:
            typer.echo("\n".join(ids))
        if not watch:
            echo_message(f"Watch with: regbench watch {' '.join(ids)}")
            return
    raise typer.Exit(watch_until_finished(url, ids))


def _read_submission(file: str | None, source: str | None, settings: list[str], axes: list[str]) -> Document:
    if file is None and source is None:
        raise typer.BadParameter("specify a file, or --from with the id of a job or an experiment")
    changes = apply_settings({} if file is None else read_document(file), settings)
    document = changes if source is None else {"from": source} | changes
    if axes and not is_experiment(document):
        raise typer.BadParameter("--axis is for experiments; a job has one value of each field")
    return document | {"axes": parse_axes(axes)} if axes else document


def show_cost(cost: CostEstimate, *, as_json: bool) -> None:
    """Print what it would cost."""
    if as_json:
        write_json(cost)
        return
    extra = cost.model_extra or {}
    if (jobs := extra.get("jobs")) is not None:
        most, reused = extra.get("max_jobs", jobs), extra.get("reused", 0)
        facts = [f"{most:,} at most"] * (most > jobs) + [f"{reused:,} of them trained before"] * (reused > 0)
        typer.echo(f"jobs                   {', '.join([f'{jobs:,}', *facts])}")
    typer.echo(f"floating-point ops     {cost.training_flops:.3g}")
    if cost.robustness_flops:
        typer.echo(f"for damaged images     {cost.robustness_flops:.3g}")
    typer.echo(f"memory per job         {cost.memory_bytes / 1e6:.0f} MB")
    seconds = cost.estimated_seconds
    typer.echo(f"training time          {'unknown' if seconds is None else f'about {seconds:.0f} s'}")


def report_reused(created: Sequence[Job] | Sequence[Experiment]) -> None:
    """Say how many of an experiment's jobs another one has trained."""
    for item in created:
        if isinstance(item, Experiment) and item.progress and item.progress.reused:
            reused, total = item.progress.reused, item.progress.total
            echo_message(f"{reused:,} of {total:,} jobs were trained before and are linked.")


def _set_seeds(document: Document, seeds: str | None) -> Document:
    """An experiment with these seeds."""
    return document if seeds is None else document | {"seeds": parse_seeds(seeds)}
