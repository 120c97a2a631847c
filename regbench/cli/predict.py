"""`regbench predict`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from regbench.cli.completion import complete_ids
from regbench.cli.options import AsJson, Url, connect, show_status, write_json
from regbench.cli.probability_bars import show_predictions
from regbench.client import Choice


def predict(
    job_id: Annotated[
        str,
        typer.Argument(metavar="ID", help="ID of a job that has succeeded.", autocompletion=complete_ids),
    ],
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", exists=True, dir_okay=False, help="PNG or JPEG files, up to 256."),
    ],
    url: Url = None,
    invert: Annotated[
        Choice, typer.Option(help="Whether the ink is dark; auto decides by the border.")
    ] = "auto",
    center: Annotated[
        Choice, typer.Option(help="Whether to crop and center the digit as in MNIST; auto: unless 28x28.")
    ] = "auto",
    as_json: AsJson = False,
) -> None:
    """Classify images with a trained model.

    \b
    Example:
      regbench predict job_1 seven.png
    """
    contents = [path.read_bytes() for path in images]
    with connect(url) as client, show_status("Predicting"):
        response = client.predict(job_id, contents, invert=invert, center=center)
    if as_json:
        write_json(response)
    else:
        show_predictions(Console(), [path.name for path in images], response.predictions)
