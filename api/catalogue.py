"""What there is to choose from: techniques, datasets and presets."""

from typing import Annotated

from fastapi import APIRouter, Path

from api import answers, problem_types, schemas
from api.dependencies import SettingsDep
from api.presets import PRESETS
from api.problem_types import raises
from api.routing import Route
from models.datasets import DATASETS, available
from models.errors import NotFound
from models.techniques import CATALOGUE

router = APIRouter(prefix="/v1", tags=["catalogue"], route_class=Route)


@router.get("/techniques")
def list_techniques() -> schemas.TechniqueList:
    """Every regularization technique: formula, effect in training and at inference, parameters, source."""
    return schemas.TechniqueList(
        items=[answers.technique_answer(name, technique) for name, technique in CATALOGUE.items()]
    )


@router.get("/techniques/{name}")
@raises(problem_types.NOT_FOUND)
def show_technique(
    name: Annotated[str, Path(description="As in a specification: `dropout`, `l2`")],
) -> schemas.TechniqueCard:
    """One technique."""
    return technique_card(name)


def technique_card(name: str) -> schemas.TechniqueCard:
    """What a technique is.

    Raises:
        NotFound: there is none of that name.
    """
    if name not in CATALOGUE:
        raise NotFound(f"There is no technique of that name; there are {', '.join(CATALOGUE)}.")
    return answers.technique_answer(name, CATALOGUE[name])


@router.get("/datasets")
def list_datasets(settings: SettingsDep) -> schemas.DatasetList:
    """Every dataset: sizes, digests, licence, and whether it is on this machine."""
    return schemas.DatasetList(
        items=[
            answers.dataset_answer(card, available=available(name, settings))
            for name, card in DATASETS.items()
        ]
    )


@router.get("/presets")
def list_presets() -> schemas.PresetList:
    """Every ready experiment, with what should come out of it."""
    return schemas.PresetList(
        items=[
            schemas.PresetCard(
                name=name,
                title=preset.title,
                expect=preset.expect,
                jobs=len(preset.spec.variants) * len(preset.spec.run_seeds),
                document=preset.document,
            )
            for name, preset in PRESETS.items()
        ]
    )
