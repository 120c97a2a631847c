"""`regbench datasets`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from regbench.cli.options import AsJson, Url, connect, echo_message, show_status, write_json
from regbench.resources import Dataset

datasets = typer.Typer(
    no_args_is_help=True, help="Upload, list and remove datasets of your own; jobs name them as dataset.name."
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The dataset's name.")]
Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        help="IDX, npz, npy or CSV files, gzipped or not; a zip of IDX files or of folders of PNGs or "
        "JPEGs; Parquet.",
    ),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="OPTION=VALUE",
        help="How to read the files: resize=true, scale=16, split=letters, class_names=cat,dog.",
    ),
]


@datasets.command("add")
def add_dataset(
    name: Name, files: Files, options: Options = None, url: Url = None, as_json: AsJson = False
) -> None:
    """Upload a dataset, and show what was decided about its files.

    \b
    Examples:
      regbench datasets add letters gzip.zip --set split=letters
      regbench datasets add mine photos.zip --set resize=true
    """
    parsed = _parse_options(options)
    with connect(url) as client, show_status("Uploading"):
        dataset = client.add_dataset(name, files, **parsed)
    _show(dataset, as_json=as_json)


@datasets.command("preview")
def preview_dataset(files: Files, options: Options = None, url: Url = None, as_json: AsJson = False) -> None:
    """Show what the service reads in files, and store nothing; the page /new/dataset shows the images, too.

    \b
    Example:
      regbench datasets preview train.csv test.csv
    """
    parsed = _parse_options(options)
    with connect(url) as client, show_status("Uploading"):
        dataset = client.preview_dataset(files, **parsed)
    _show(dataset, as_json=as_json)


@datasets.command("list")
def list_datasets(url: Url = None, as_json: AsJson = False) -> None:
    """List the built-in datasets and your own: name, classes, training and test images, title.

    \b
    Example:
      regbench datasets list
    """
    with connect(url) as client:
        items = client.datasets()
    if as_json:
        write_json(items)
        return
    width = max(len(item.name) for item in items)
    for item in items:
        sizes = f"{item.classes:>3}  {item.train_examples:>7,}  {item.test_examples:>7,}"
        typer.echo(f"{item.name:<{width}}  {sizes}  {item.title}")


@datasets.command("show")
def show_dataset(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Show a dataset: digest, classes, and what was decided when it was uploaded.

    \b
    Example:
      regbench datasets show letters
    """
    with connect(url) as client:
        _show(client.dataset(name), as_json=as_json)


@datasets.command("rm")
def remove_dataset(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Remove a dataset of your own; refused while a job waits for it or trains on it.

    \b
    Example:
      regbench datasets rm letters
    """
    with connect(url) as client:
        client.delete_dataset(name)
    if as_json:
        write_json({"name": name})
    echo_message(f"{name} was removed; results and models on it stay.")


def _parse_options(options: list[str] | None) -> dict[str, Any]:
    parsed = {}
    for option in options or []:
        name, separator, value = option.partition("=")
        if not separator:
            raise typer.BadParameter(f"{option} is not of the form OPTION=VALUE")
        try:
            parsed[name] = json.loads(value)
        except ValueError:
            parsed[name] = value.split(",") if name == "class_names" else value
    return parsed


def _show(dataset: Dataset, *, as_json: bool) -> None:
    if as_json:
        write_json(dataset)
        return
    sizes = f"{dataset.train_examples:,} training and {dataset.test_examples:,} test images"
    typer.echo(f"{dataset.name}: {dataset.classes} classes, {sizes}")
    typer.echo(f"digest: {dataset.digest}")
    for count in dataset.counts:
        typer.echo(f"  {count['name']}: {count['train']:,} + {count['test']:,}")
    for decision in dataset.decisions:
        typer.echo(f"{decision['name']}: {decision['detail']}")
    for warning in dataset.warnings:
        echo_message(f"Warning: {warning}")
