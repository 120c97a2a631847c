"""docs/reference agrees with the code: each table contains exactly the rows that are generated here."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.settings import Settings
from models.spec import JobSpec
from models.states import TRANSITIONS, JobState
from models.techniques import CATALOGUE

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minItems": "{} or more",
    "maxItems": "{} at most",
    "maxLength": "{} characters at most",
    "maxProperties": "{} at most",
}


def row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def rows_of(page: str, heading: str) -> list[str]:
    """The rows of the first table under a heading."""
    text = (REFERENCE / page).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [line for line in text.splitlines() if line.startswith("| ")][1:]


def settings_rows() -> list[str]:
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in ("", None) else f"`{field.default}`"
        rows.append(row(f"`REGBENCH_{name.upper()}`", default, field.description or ""))
    return rows


def state_rows() -> list[str]:
    return [
        row(f"`{state}`", ", ".join(f"`{after}`" for after in JobState if after in TRANSITIONS[state]) or "-")
        for state in JobState
    ]


def field_rows(
    schema: dict[str, Any], definitions: dict[str, Any], pointer: str = "", family: str = ""
) -> list[str]:
    """One row for each scalar or list field of a specification, including those of nested objects."""
    rows = []
    for name, part in schema["properties"].items():
        inner = [option for option in part.get("anyOf", [part]) if option.get("type") != "null"]
        objects = [definitions[option["$ref"].rpartition("/")[2]] for option in inner if "$ref" in option]
        for properties in objects:
            of_family = f" ({properties['properties']['family']['const']})" if len(objects) > 1 else ""
            rows += field_rows(properties, definitions, f"{pointer}/{name}", of_family)
        if not objects:
            [value] = inner
            default = f"`{json.dumps(part['default'])}`" if "default" in part else "-"
            rows.append(row(f"`{pointer}/{name}`{family}", _values(value), default, part["description"]))
    return rows


def _values(schema: dict[str, Any]) -> str:
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    bounds = [text.format(schema[name]) for name, text in BOUNDS.items() if name in schema]
    return ", ".join([schema["type"], *bounds])


def job_rows() -> list[str]:
    schema = JobSpec.model_json_schema()
    return field_rows(schema, schema["$defs"])


def technique_rows() -> list[str]:
    return [
        row(f"`{name}`", technique.about.title, f"`{technique.about.formula}`", technique.about.source)
        for name, technique in CATALOGUE.items()
    ]


def explanation(name: str) -> str:
    about = CATALOGUE[name].about
    lines = {
        "In training": about.in_training,
        "At inference": about.at_inference,
        "When to use it": about.when_to_use,
        "Cost": about.cost,
        "Pitfall": about.pitfall,
    }
    return "".join(f"\n**{title}.** {text}\n" for title, text in lines.items())


@pytest.mark.parametrize(
    ("page", "heading", "rows"),
    [
        ("settings.md", "Every setting", settings_rows()),
        ("states.md", "Transitions", state_rows()),
        ("job-specification.md", "Every field", job_rows()),
        ("techniques.md", "The catalogue", technique_rows()),
    ],
)
def test_a_table_agrees_with_the_code(page: str, heading: str, rows: list[str]) -> None:
    assert rows_of(page, heading) == rows


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_technique_is_explained_in_its_own_words(name: str) -> None:
    section = (REFERENCE / "techniques.md").read_text().partition(f"\n## {CATALOGUE[name].about.title}\n")[2]
    assert section.startswith(explanation(name))


def test_the_state_diagram_shows_exactly_the_transitions() -> None:
    drawing = (REFERENCE / "states.md").read_text().partition("```mermaid\n")[2].partition("```")[0]
    drawn = {
        tuple(line.partition(":")[0].replace(" ", "").split("-->"))
        for line in drawing.splitlines()
        if "-->" in line
    }
    ends = {(str(state), "[*]") for state in JobState if state.terminal}
    moves = {(str(before), str(after)) for before, all_after in TRANSITIONS.items() for after in all_after}
    assert drawn == moves | ends | {("[*]", "queued")}
