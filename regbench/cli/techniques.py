"""`regbench techniques`."""

import json
from typing import Annotated, Any

import typer

from regbench.cli.completion import complete_techniques
from regbench.cli.options import AsJson, Url, connect, write_json


def techniques(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Technique to explain.", autocompletion=complete_techniques),
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
    with connect(url) as client:
        if name is not None:
            card = client.technique(name)
            if as_json:
                write_json(card)
                return
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
            return
        cards = client.techniques()
    if as_json:
        write_json(cards)
        return
    width = max(len(card.name) for card in cards)
    for card in cards:
        typer.echo(f"{card.name:<{width}}  {card.title}")


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
