"""`regbench submit`."""

from typing import Annotated, Any

import typer

from regbench.cli.options import AsJson, Url, busy, connected, say, write_json
from regbench.cli.spec_files import read_document, seeds_of, with_settings
from regbench.cli.watch import watched
from regbench.client import Regbench, is_experiment
from regbench.resources import CostEstimate, Document, Experiment, Job


def setting(example: str) -> Any:
    """The option --set, with an example that fits what the command hands in."""
    return typer.Option(
        "--set", metavar="PATH=VALUE", help=f"Set a field, such as {example}; may be given again."
    )


Settings = Annotated[list[str] | None, setting("training.epochs=5")]
Seeds = Annotated[str | None, typer.Option(metavar="SEEDS", help="Such as 0-9 or 0,3,7.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only check it and say what it would cost.")]


def submit(
    file: Annotated[str, typer.Argument(help="A job or an experiment as YAML or JSON; `-` reads stdin.")],
    settings: Settings = None,
    seeds: Seeds = None,
    watch: Annotated[bool, typer.Option(help="Also show it until it ends.")] = False,
    dry_run: DryRun = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Hand in a job, or an experiment (a document with `preset` or `variants`), and print its id.

    With --seeds a job is handed in once for each seed: all of them, or none.

    \b
    Examples:
      regbench submit job.yaml --set regularization.dropout.rate=0.3
      regbench submit job.yaml --seeds 0-9 --watch
      echo '{"training": {"epochs": 5}}' | regbench submit - --json
    """
    document = with_settings(read_document(file), settings or [])
    with connected(url) as client:
        if dry_run:
            show_cost(_estimate_cost(client, document, seeds), as_json=as_json)
            return
        # A service that has to fetch a dataset first takes its time.
        with busy("Handing it in"):
            stored = _submit(client, document, seeds)
        ids = [each.id for each in stored]
        if as_json:
            documents = [each.model_dump(mode="json") for each in stored]
            # A list wherever there may be many, even where there is one.
            many = seeds is not None and not is_experiment(document)
            write_json(documents if many else documents[0])
        else:
            typer.echo("\n".join(ids))
        if not watch:
            say(f"Watch with: regbench watch {' '.join(ids)}")
            return
    raise typer.Exit(watched(url, ids))


def show_cost(cost: CostEstimate, *, as_json: bool) -> None:
    """What it would cost: on stdout."""
    if as_json:
        typer.echo(cost.to_json())
        return
    jobs = (cost.model_extra or {}).get("jobs")
    if jobs is not None:
        typer.echo(f"jobs                   {jobs}")
    typer.echo(f"floating-point ops     {cost.training_flops:.3g}")
    typer.echo(f"memory of a job        {cost.memory_bytes / 1e6:.0f} MB")
    seconds = cost.estimated_seconds
    typer.echo(f"training time          {'not known yet' if seconds is None else f'about {seconds:.0f} s'}")


def _submit(client: Regbench, document: Document, seeds: str | None) -> list[Job] | list[Experiment]:
    if is_experiment(document):
        return [client.create_experiment(_seeded(document, seeds))]
    if seeds is None:
        return [client.submit_job(document)]
    return client.submit_jobs([document | {"seed": seed} for seed in seeds_of(seeds)])


def _estimate_cost(client: Regbench, document: Document, seeds: str | None) -> CostEstimate:
    """Of all that would be handed in: jobs that differ in nothing but their seed cost the same."""
    cost = client.estimate_cost(_seeded(document, seeds))
    if is_experiment(document) or seeds is None:
        return cost
    jobs, seconds = len(seeds_of(seeds)), cost.estimated_seconds
    whole = {
        "jobs": jobs,
        "training_flops": jobs * cost.training_flops,
        "estimated_seconds": None if seconds is None else jobs * seconds,
    }
    return cost.model_copy(update=whole)


def _seeded(document: Document, seeds: str | None) -> Document:
    """An experiment with these seeds; a job with the first of them."""
    if seeds is None:
        return document
    if is_experiment(document):
        return document | {"seeds": seeds_of(seeds)}
    return document | {"seed": seeds_of(seeds)[0]}
