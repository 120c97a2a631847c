"""`regbench verify`, `regbench import` and `regbench experiment bundle`: results that others can check."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from math import sqrt
from pathlib import Path
from typing import Annotated, Any

import typer

from models.bundles import parse_document, unpack
from models.errors import InvalidSpec
from regbench.base import to_one_line
from regbench.cli.experiments import ExperimentId, experiment
from regbench.cli.options import AsJson, Url, connect, echo_message, show_status, write_json
from regbench.errors import ClientError

Bundle = Annotated[
    Path, typer.Argument(metavar="BUNDLE", exists=True, dir_okay=False, help="The ZIP file of a bundle.")
]
_MOST_BYTES = 1_000_000_000
_SAME_WEIGHTS = ("tensorflow", "keras", "device", "threads", "regbench")
"""What must be equal for equal weights bit for bit."""
_STANDARD_ERRORS = 4
"""Of a test accuracy: by how much a training on another processor may differ."""


@experiment.command("bundle")
def download_bundle(
    experiment_id: ExperimentId,
    output: Annotated[Path | None, typer.Option(help="File to write; default: ID.zip.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Write a finished experiment as one ZIP file that others can verify and import.

    \b
    Example:
      regbench experiment bundle exp_1 --output bundle.zip
    """
    with connect(url) as client, show_status("Preparing the bundle"):
        content = client.bundle(experiment_id)
    output = output or Path(f"{experiment_id}.zip")
    output.write_bytes(content)
    if as_json:
        write_json({"file": str(output), "bytes": len(content)})
    echo_message(f"Wrote {output}")


@experiment.command("mistakes")
def list_mistakes(
    experiment_id: ExperimentId,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Images of each variant.")] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List test images that a variant gets right and the baseline not, the nearest mistakes first.

    \b
    Example:
      regbench experiment mistakes exp_1 --limit 5
    """
    with connect(url) as client:
        items = client.mistakes(experiment_id, limit=limit)
    if as_json:
        write_json(items)
        return
    if not items:
        echo_message(
            "No mistakes to list: an experiment with axes or parts has none, nor has one without stored test "
            "predictions of a variant and the baseline."
        )
    for item in items:
        counts = f"{item.only_variant} images only it gets right, {item.only_baseline} only {item.baseline}"
        typer.echo(to_one_line(f"{item.variant}: {counts}"))
        for image in item.images:
            typer.echo(f"  image {image['index']:>5}: {image['label']}, not {image['answer']}")


@experiment.command("memorization")
def show_memorization(
    experiment_id: ExperimentId,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Images of each variant.")] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show how much each variant's models memorize training images, the largest estimates first.

    \b
    Example:
      regbench experiment memorization exp_1 --limit 5
    """
    with connect(url) as client:
        memorization = client.memorization(experiment_id, limit=limit)
    if as_json:
        write_json(memorization)
        return
    if memorization.reason:
        echo_message(memorization.reason)
        return
    for item in memorization.items:
        typer.echo(to_one_line(f"{item.name}: {item.text or f'No map: {item.reason}.'}"))
        for image in item.images:
            verdict = "memorized" if image["memorized"] else "may be chance"
            typer.echo(f"  image {image['index']:>5}, {image['caption']}: {verdict}")


def import_bundle(bundle: Bundle, url: Url = None, as_json: AsJson = False) -> None:
    """Bring a bundle's experiment into this installation, under its ids; its report comes out the same.

    \b
    Example:
      regbench import bundle.zip
    """
    with connect(url) as client, show_status("Importing"):
        imported = client.import_bundle(bundle.read_bytes())
    if as_json:
        write_json(imported)
    else:
        typer.echo(imported.id)
    echo_message(f"Page: {client.base_url}/experiments/{imported.id}")


def verify(
    bundle: Bundle,
    sample: Annotated[int, typer.Option(min=0, help="How many of its models to train again.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the draw of that sample.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Check a bundle's files by their digests, and train a sample of its models again on this machine.

    On the same processor, with the same versions, weights have to be equal bit for bit; on another one test
    accuracies within four standard errors. It says which was compared. Needs no service.

    \b
    Examples:
      regbench verify bundle.zip
      regbench verify bundle.zip --sample 10 --seed 7
    """
    try:
        files = unpack(bundle.read_bytes(), most_bytes=_MOST_BYTES)
        jobs = [job for job in parse_document(files, "jobs.json") if job["result"] is not None]
    except InvalidSpec as error:
        faults = "; ".join(f"{fault.pointer.removeprefix('/')}: {fault.detail}" for fault in error.errors)
        raise ClientError(f"The bundle was refused. {faults}.") from None
    # What stopped by the clock would stop elsewhere today.
    repeatable = [job for job in jobs if job["result"]["stop_reason"] != "max_seconds"]
    drawn = random.Random(seed).sample(repeatable, min(sample, len(repeatable)))  # noqa: S311 (no secret)
    echo_message(f"{len(files)} files are as the bundle's metadata describes them.")
    findings = []
    with show_status("Training again"):
        for job, outcome in zip(drawn, retrain([job["spec"] for job in drawn]), strict=True):
            findings.append({"job_id": job["id"], **compare_results(job["result"], outcome)})
    if as_json:
        write_json({"files": len(files), "models": findings})
    for finding in [] if as_json else findings:
        verdict = "reproduced" if finding["reproduced"] else "NOT reproduced"
        typer.echo(f"{finding['job_id']}: {verdict}, by {finding['compared']}: {finding['detail']}")
    if not all(finding["reproduced"] for finding in findings):
        raise typer.Exit(1)


def retrain(specs: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What training each specification gives on this machine; in a process of its own, which has TensorFlow.

    Raises:
        ClientError: it failed; the message has its last line.
    """
    if not specs:
        return
    done = subprocess.run(
        [sys.executable, "-m", "worker.repeat"],
        input=json.dumps(list(specs)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it ended without a word"]
        raise ClientError(f"Training again failed: {lines[-1]}")
    yield from map(json.loads, done.stdout.splitlines())


def compare_results(stored: dict[str, Any], outcome: dict[str, Any]) -> dict[str, Any]:
    """Whether a training came out as stored: bit for bit where it has to, else by its test accuracy."""
    differing = [name for name in _SAME_WEIGHTS if stored[name] != outcome[name]]
    if stored["dataset_sha256"] != outcome["dataset_sha256"]:
        return {"reproduced": False, "compared": "data", "detail": "the dataset has other images here"}
    if not differing:
        same = stored["weights_sha256"] == outcome["weights_sha256"]
        detail = "the same bytes" if same else "other bytes on the same processor and versions"
        return {"reproduced": same, "compared": "weights", "detail": detail}
    n = sum(map(sum, stored["confusion"] or [[1_000]]))
    before, after = stored["test_accuracy"], outcome["test_accuracy"]
    margin = max(_STANDARD_ERRORS * sqrt(before * (1 - before) / n), _STANDARD_ERRORS / n)
    detail = f"test accuracy {before:.4f} there, {after:.4f} here (another {', '.join(differing)})"
    return {"reproduced": abs(after - before) <= margin, "compared": "measures", "detail": detail}
