"""Axes of an experiment: fields of the specification that vary together with every variant. Pure."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from models.documents import Document
from models.spec import bound_length

MOST_AXES, MOST_VALUES = 2, 50
TRAIN_SAMPLES = "/dataset/train_samples"
OF_RUNS = ("name", "seed", "labels", "priority")


class Axis(BaseModel):
    """A field, and the values at which every variant is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    field: str = Field(
        pattern=r"^(/[a-z0-9_]+)+$",
        max_length=100,
        description="JSON pointer into the specification, such as `/dataset/train_samples`",
    )
    values: Annotated[
        tuple[JsonValue, ...],
        Field(strict=False, max_length=MOST_VALUES, json_schema_extra={"minItems": 1}),
        bound_length(MOST_VALUES, if_empty="give at least one value"),
    ]


Axes = Annotated[
    Annotated[tuple[Axis, ...], Field(strict=False, max_length=MOST_AXES)],
    bound_length(MOST_AXES),
    Field(
        # Experiments without axes are written as before there were any.
        exclude_if=lambda axes: not axes,
        description="Train every variant at every combination of these fields' values; variants are compared "
        "at each of them",
    ),
]


def list_points(axes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every combination of the axes' values, given as in a document: each value by its axis's field."""
    fields = [axis["field"] for axis in axes]
    return [dict(zip(fields, values, strict=True)) for values in product(*(axis["values"] for axis in axes))]


def apply_point(document: Document, point: Mapping[str, Any]) -> None:
    """Set the point's values in a specification, written as JSON."""
    for field, value in point.items():
        *parents, name = field.split("/")[1:]
        target: Any = document
        for parent in parents:
            target = target.setdefault(parent, {})
        if isinstance(target, dict):
            target[name] = value


def parse_numbers(values: Sequence[JsonValue], *, default: float | None = None) -> list[float] | None:
    """An axis's values as numbers: layers of one width by that width, null as the `default`.

    None where they have no order.
    """
    depths = {len(value) if isinstance(value, list) else None for value in values}
    numbers: list[float] = []
    for value in values:
        widths = value if isinstance(value, list) else [default if value is None else value]
        if len(depths) > 1 or not widths or any(width != widths[0] for width in widths):
            return None
        if isinstance(widths[0], bool) or not isinstance(widths[0], int | float):
            return None
        numbers.append(widths[0])
    return numbers


def find_axis_errors(
    axes: Sequence[Axis], changes: Sequence[Document], specs: Sequence[Document], drawn: Sequence[str]
) -> list[tuple[str, str]]:
    """Pairs of (JSON pointer into the experiment, what is wrong) for axes that cannot be.

    `changes` and `specs` are the variants' patches and whole specifications; `drawn` are fields that the
    experiment sets itself.
    """
    errors: list[tuple[str, str]] = []
    for index, axis in enumerate(axes):
        pointer = f"/axes/{index}/field"
        parts = axis.field.split("/")[1:]
        if parts[0] in (*OF_RUNS, "evaluation") or axis.field in drawn:
            errors.append((pointer, "the experiment sets it for each run, or it changes no weights"))
        elif not all(has_field(spec, parts) for spec in specs):
            errors.append((pointer, "every variant needs this field; name one of the job specification"))
        elif axis.field in [other.field for other in axes[:index]]:
            errors.append((pointer, "another axis has this field"))
        errors += [
            (f"/axes/{index}/values/{position}", "the value is listed twice")
            for position, value in enumerate(axis.values)
            if value in axis.values[:position]
        ]
        errors += [
            (f"/variants/{number}/changes{axis.field}", "it is an axis; leave it out")
            for number, patch in enumerate(changes)
            if has_field(patch, parts)
        ]
    return errors


def has_field(document: Any, parts: Sequence[str]) -> bool:
    """Whether a document has the field at that path."""
    for part in parts:
        if not isinstance(document, dict) or part not in document:
            return False
        document = document[part]
    return True
