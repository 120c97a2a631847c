"""`regbench predict`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from regbench.cli.completion import job_or_experiment_ids
from regbench.cli.options import AsJson, Url, busy, connected
from regbench.cli.probability_bars import show_predictions
from regbench.client import Choice


def predict(
    job_id: Annotated[
        str,
        typer.Argument(metavar="ID", help="A job that has succeeded.", autocompletion=job_or_experiment_ids),
    ],
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", exists=True, dir_okay=False, help="PNG or JPEG files, up to 256."),
    ],
    url: Url = None,
    invert: Annotated[Choice, typer.Option(help="Whether ink is dark; auto: by the border.")] = "auto",
    center: Annotated[
        Choice, typer.Option(help="Whether to box and centre the digit as MNIST does; auto: unless 28x28.")
    ] = "auto",
    as_json: AsJson = False,
) -> None:
    """Ask a trained model what it sees on images.

    \b
    Example:
      regbench predict job_1 seven.png
    """
    contents = [path.read_bytes() for path in images]
    with connected(url) as client, busy("Asking"):
        found = client.predict(job_id, contents, invert=invert, center=center)
    if as_json:
        typer.echo(found.to_json())
    else:
        show_predictions(Console(), [path.name for path in images], found.predictions)
