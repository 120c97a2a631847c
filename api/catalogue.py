"""What there is to choose from: techniques and presets."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path
from pydantic import Field

from api.experiments.presets import PRESETS
from api.experiments.presets.base import Preset
from api.http import problem_types
from api.http.openapi import documented
from api.http.routing import StrictQueryRoute
from api.http.schemas import ResponseModel
from models.errors import NotFound
from models.techniques import CATALOGUE, Technique

Entry = TypeVar("Entry")


class TechniqueParameter(ResponseModel):
    """A number or choice that a technique takes."""

    name: str
    type: str
    default: Any
    minimum: float | None
    maximum: float | None
    choices: list[str] | None
    description: str | None


class TechniqueCard(ResponseModel):
    """What a technique is."""

    name: str
    title: str
    formula: str
    in_training: str
    at_inference: str
    when_to_use: str
    cost: str
    pitfall: str
    source: str
    parameters: list[TechniqueParameter]


class TechniqueList(ResponseModel):
    """The catalogue."""

    items: list[TechniqueCard]


class PresetCard(ResponseModel):
    """A ready experiment."""

    name: str
    title: str
    expect: str = Field(description="The expected results")
    jobs: int
    document: dict[str, Any]


class PresetList(ResponseModel):
    """All presets."""

    items: list[PresetCard]


@cache
def serialize_technique(name: str, technique: type[Technique]) -> TechniqueCard:
    """A technique's class as the API explains it; ranges come from the very fields that check a job."""
    about = technique.about
    properties: dict[str, dict[str, Any]] = technique.model_json_schema()["properties"]
    return TechniqueCard(
        name=name,
        **{field: getattr(about, field) for field in TechniqueCard.model_fields.keys() & vars(about).keys()},
        parameters=[
            TechniqueParameter(
                name=parameter,
                type=schema["type"],
                default=schema.get("default"),
                minimum=schema.get("minimum"),
                maximum=schema.get("maximum"),
                choices=schema.get("enum"),
                description=schema.get("description"),
            )
            for parameter, schema in properties.items()
        ],
    )


router = APIRouter(prefix="/v1", tags=["catalogue"], route_class=StrictQueryRoute)


@router.get("/techniques")
def list_techniques() -> TechniqueList:
    """Every regularization technique: formula, effect in training and at inference, parameters, source."""
    return TechniqueList(
        items=[serialize_technique(name, technique) for name, technique in CATALOGUE.items()]
    )


@router.get("/techniques/{name}")
@documented(problem_types.NOT_FOUND)
def show_technique(
    name: Annotated[str, Path(description="As in a specification: `dropout`, `l2`")],
) -> TechniqueCard:
    """One technique."""
    return build_technique_card(name)


def build_technique_card(name: str) -> TechniqueCard:
    """What a technique is.

    Raises:
        NotFound: there is none of that name.
    """
    return serialize_technique(name, _get_entry("technique", name, CATALOGUE))


def _get_entry(kind: str, name: str, entries: Mapping[str, Entry]) -> Entry:
    if name not in entries:
        raise NotFound(f"There is no {kind} of that name; choose one of {', '.join(entries)}.")
    return entries[name]


@router.get("/presets")
def list_presets() -> PresetList:
    """Every ready experiment, with what should come out of it."""
    return PresetList(items=[serialize_preset(name, preset) for name, preset in PRESETS.items()])


@router.get("/presets/{name}")
@documented(problem_types.NOT_FOUND)
def show_preset(name: Annotated[str, Path(description="Such as `dropout-vs-none`")]) -> PresetCard:
    """One ready experiment."""
    return serialize_preset(name, _get_entry("preset", name, PRESETS))


def serialize_preset(name: str, preset: Preset) -> PresetCard:
    """A preset as the API shows it."""
    return PresetCard(
        name=name,
        title=preset.title,
        expect=preset.expect,
        jobs=preset.spec.planned_jobs,
        document=preset.document,
    )
