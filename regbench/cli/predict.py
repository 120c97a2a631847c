"""`regbench predict` and `regbench test-predictions`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

from regbench.base import Choice
from regbench.cli.completion import complete_ids
from regbench.cli.options import AsJson, Url, connect, echo_message, show_status, write_json

_BAR_WIDTH = 40


JobId = Annotated[
    str, typer.Argument(metavar="ID", help="ID of a job that has succeeded.", autocompletion=complete_ids)
]


def download_test_predictions(
    job_id: JobId,
    output: Annotated[Path, typer.Option(help="File to write: .npz (NumPy), or .csv.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Write what a trained model says of each test image: log-probabilities of the classes, and labels.

    \b
    Example:
      regbench test-predictions job_1 --output predictions.npz
    """
    with connect(url) as client, show_status("Downloading"):
        content = client.test_predictions(job_id, "csv" if output.suffix.lower() == ".csv" else "npz")
    output.write_bytes(content)
    if as_json:
        write_json({"file": str(output), "bytes": len(content)})
    else:
        echo_message(f"Wrote {output}")


def predict(
    job_id: JobId,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", exists=True, dir_okay=False, help="PNG or JPEG files, up to 256."),
    ],
    url: Url = None,
    invert: Annotated[Choice, typer.Option(help="Whether the ink is dark; auto detects it.")] = "auto",
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
        console = Console()
        for path, prediction in zip(images, response.predictions, strict=True):
            # Text: a file's name is no markup.
            console.print(
                Text(f"{path.name}: {prediction.label} ({prediction.confidence:.1%})"), soft_wrap=True
            )
            for warning in prediction.warnings:
                console.print(Text(f"warning: {warning}", "yellow"), soft_wrap=True)
            table = Table.grid(padding=(0, 1))
            for label, probability in enumerate(prediction.probabilities):
                style = "bold" if label == prediction.label else ""
                bar = (
                    Bar(1.0, 0.0, probability, width=_BAR_WIDTH)
                    if console.encoding.startswith("utf")
                    else Text("#" * round(_BAR_WIDTH * probability))
                )
                table.add_row(Text(str(label), style), bar, Text(f"{probability:6.1%}", style))
            console.print(table)
