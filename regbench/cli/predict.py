"""`regbench model`, `regbench test-predictions` and `regbench predict`."""

import io
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

from regbench.base import Choice
from regbench.cli.completion import complete_ids
from regbench.cli.options import AsJson, Url, connect, echo_message, show_status, write_json
from regbench.client import Regbench
from regbench.errors import ClientError

_BAR_WIDTH = 40
_CHECKED_IMAGES = 10
_TOLERANCE = 1e-4
"""Between two sums in float32 that add in another order, on another processor."""


JobId = Annotated[
    str, typer.Argument(metavar="ID", help="ID of a job that has succeeded.", autocompletion=complete_ids)
]


def download_model(
    job_id: JobId,
    output: Annotated[Path | None, typer.Option(help="File to write; default: ID.keras.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Load it with Keras alone and predict ten test images.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Write a trained model as a `.keras` file: images (n, 784) scaled to 0..1 in, probabilities out.

    With --check also load it with stock Keras, and compare its predictions for ten test images with those
    that were stored when it was trained.

    \b
    Example:
      regbench model job_1 --output model.keras --check
    """
    with connect(url) as client, show_status("Downloading"):
        content = client.model(job_id)
        document: dict[str, Any] = {}
        if check:
            document = _check_model(client, job_id, content)
    output = output or Path(f"{job_id}.keras")
    output.write_bytes(content)
    if as_json:
        write_json({"file": str(output), "bytes": len(content)} | document)
        return
    echo_message(f"Wrote {output}")
    for row in document.get("images", []):
        typer.echo("image {index:>5}: {label} is predicted as {predicted} ({probability:.1%})".format(**row))
    if document:
        typer.echo(
            f"Keras {document['keras']} alone predicts what was stored, to "
            f"{document['largest_difference']:.0e}; loss {document['loss']:.4f} and accuracy "
            f"{document['accuracy']:.2f} on these images."
        )


def _check_model(client: Regbench, job_id: str, content: bytes) -> dict[str, Any]:
    """What stock Keras makes of a model's file on ten test images, of as many classes as there are.

    Raises:
        ClientError: its predictions differ from the stored ones.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras  # noqa: PLC0415 (which the command needs for nothing else, and takes seconds)
    import numpy as np  # noqa: PLC0415 (the same)

    with np.load(io.BytesIO(client.test_predictions(job_id)), allow_pickle=False) as arrays:
        labels, stored = arrays["labels"], np.exp(arrays["log_probabilities"])
    firsts = np.unique(labels, return_index=True)[1][:_CHECKED_IMAGES]
    rest = np.setdiff1d(np.arange(len(labels)), firsts)[: _CHECKED_IMAGES - len(firsts)]
    images = client.test_images(job_id, [*map(int, firsts), *map(int, rest)])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(content)
        model = keras.saving.load_model(path, safe_mode=True)
    pixels = np.array([image.pixels for image in images], np.float32) / 255
    chosen = np.array([image.label for image in images])
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    loss, accuracy = model.evaluate(pixels, chosen, verbose=0)
    probabilities = model.predict(pixels, verbose=0)
    difference = float(np.abs(probabilities - stored[[image.index for image in images]]).max())
    if difference > _TOLERANCE:
        raise ClientError(f"The model of {job_id} predicts otherwise than was stored: by {difference:.2g}.")
    return {
        "keras": keras.__version__,
        "largest_difference": difference,
        "loss": loss,
        "accuracy": accuracy,
        "images": [
            {
                "index": image.index,
                "label": image.label,
                "predicted": int(row.argmax()),
                "probability": float(row.max()),
            }
            for image, row in zip(images, probabilities, strict=True)
        ],
    }


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
    dropout_samples: Annotated[
        int | None,
        typer.Option(min=2, max=100, help="Passes with active dropout; says how far they are apart."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Classify images with a trained model.

    \b
    Example:
      regbench predict job_1 seven.png
      regbench predict job_1 seven.png --dropout-samples 50
    """
    contents = [path.read_bytes() for path in images]
    with connect(url) as client, show_status("Predicting"):
        response = client.predict(
            job_id, contents, invert=invert, center=center, dropout_samples=dropout_samples
        )
    if as_json:
        write_json(response)
    else:
        console = Console()
        for path, prediction in zip(images, response.predictions, strict=True):
            # Text: a file's name is no markup.
            console.print(
                Text(
                    f"{path.name}: {response.get_class_name(prediction.label)} ({prediction.confidence:.1%})"
                ),
                soft_wrap=True,
            )
            for warning in prediction.warnings:
                console.print(Text(f"warning: {warning}", "yellow"), soft_wrap=True)
            spread = prediction.dropout
            if spread:
                console.print(
                    f"mean of {spread.samples} passes with dropout, with their sd: entropy "
                    f"{spread.predictive_entropy:.3f} nats, of which {spread.mutual_information:.3f} are the "
                    "model's own uncertainty",
                    soft_wrap=True,
                )
            table = Table.grid(padding=(0, 1))
            for label, probability in enumerate(prediction.probabilities):
                style = "bold" if label == prediction.label else ""
                bar = (
                    Bar(1.0, 0.0, probability, width=_BAR_WIDTH)
                    if console.encoding.startswith("utf")
                    else Text("#" * round(_BAR_WIDTH * probability))
                )
                value = f"{probability:6.1%}" + (f" (sd {spread.sd[label]:.1%})" if spread else "")
                table.add_row(Text(response.get_class_name(label), style), bar, Text(value, style))
            console.print(table)
