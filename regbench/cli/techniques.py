"""`regbench techniques`."""

import json
from typing import Annotated, Any

import typer

from regbench.cli.completion import technique_names
from regbench.cli.options import AsJson, Url, connected, write_json
from regbench.resources import Technique


def techniques(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Explain this one.", autocompletion=technique_names)
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the regularization techniques, or explain one: what it does, when to use it, its parameters.

    \b
    Examples:
      regbench techniques
      regbench techniques dropout
    """
    with connected(url) as client:
        if name is not None:
            card = client.technique(name)
            typer.echo(card.to_json()) if as_json else _explain(card)
            return
        cards = client.techniques()
    if as_json:
        write_json([each.model_dump(mode="json") for each in cards])
        return
    width = max(len(each.name) for each in cards)
    for each in cards:
        typer.echo(f"{each.name:<{width}}  {each.title}")


def _explain(card: Technique) -> None:
    typer.echo(f"{card.title} ({card.name})\n")
    for heading, text in (
        ("Formula", card.formula),
        ("In training", card.in_training),
        ("At inference", card.at_inference),
        ("When to use it", card.when_to_use),
        ("Cost", card.cost),
        ("Pitfall", card.pitfall),
        ("Source", card.source),
    ):
        typer.echo(f"{heading}: {text}\n")
    for parameter in card.parameters:
        typer.echo(f"  {_parameter(parameter)}")
    example = json.dumps({"regularization": {card.name: {}}})
    typer.echo(f"\nTry it: echo '{example}' | regbench submit -")


def _parameter(parameter: dict[str, Any]) -> str:
    bounds = []
    if parameter.get("minimum") is not None:
        bounds.append(f"from {parameter['minimum']:g}")
    if parameter.get("maximum") is not None:
        bounds.append(f"to {parameter['maximum']:g}")
    if parameter.get("choices"):
        bounds.append("one of " + ", ".join(parameter["choices"]))
    facts = [parameter["type"], *([" ".join(bounds)] if bounds else []), f"default {parameter['default']}"]
    described = f": {parameter['description']}" if parameter.get("description") else ""
    return f"{parameter['name']} ({', '.join(facts)}){described}"
