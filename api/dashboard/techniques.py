"""Pages that explain the techniques, and show what they did in this installation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from sqlalchemy.orm import Session

from api import catalogue
from api.catalogue import build_technique_card
from api.dashboard import filters
from api.dashboard.rendering import PageDep, PageRoute
from api.experiments import serializers as experiment_serializers
from api.experiments.presets import PRESETS
from api.http.dependencies import DatabaseDep
from models.experiments import FEWEST_PAIRS, Document, merge_patch
from models.store.experiment_runs import RunGlance, glances_of
from models.store.experiments import find_experiments
from models.store.tables import Experiment
from models.techniques import CATALOGUE

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_LOOKED_AT = 50
"""Newest experiments among which those that show a technique are looked for."""
_MOST_WEIGHED = 10
"""Of those that could show it, how many are asked how many seeds they have finished."""
_SMALL_EPOCHS = 5


@dataclass(frozen=True)
class Outcome:
    """What came of a variant: means over the seeds that it shares with the others."""

    variant: str
    accuracy: str
    loss: str


@dataclass(frozen=True)
class Effect:
    """What a technique did in an experiment of this installation, beside the baseline of the same seeds."""

    experiment_id: str
    experiment: str
    seeds: int
    baseline: Outcome
    variants: tuple[Outcome, ...]
    """Those that differ from the baseline in this technique alone."""
    shown: str
    """Of these the one with the lowest test loss; a pair of its models is drawn:"""
    seed: int
    job_without: str
    job_with: str


@router.get("/learn")
def list_techniques(page: PageDep) -> Response:
    """Every technique in a sentence or two."""
    cards = [catalogue.serialize_technique(name, technique) for name, technique in CATALOGUE.items()]
    return page("learn.html.jinja", cards=cards)


@router.get("/learn/{name}")
def show_technique(
    page: PageDep,
    name: Annotated[str, Path(description="As in a specification")],
    database: DatabaseDep,
) -> Response:
    """One technique: what it does, and what it did here."""
    card = build_technique_card(name)
    with database.read() as session:
        effect = effect_of(session, name)
    return page(
        "technique.html.jinja",
        card=card,
        effect=effect,
        presets=presets_with(name),
        small=small_experiment(name),
    )


def small_experiment(name: str) -> Document:
    """A technique at its defaults beside none, as small as can settle anything: seconds a job."""
    # Its feature maps are all that spatial dropout can silence.
    model: Document = {"hidden_units": [128]}
    if name == "spatial_dropout":
        model = {"family": "cnn", "filters": [16, 16], "hidden_units": [64]}
    return {
        "name": f"{name.replace('_', ' ')}, small",
        "base": {"dataset": {"name": "mnist_5k"}, "model": model, "training": {"epochs": _SMALL_EPOCHS}},
        "variants": [
            {"name": "none", "changes": {}},
            {"name": name.replace("_", " "), "changes": {"regularization": {name: {}}}},
        ],
        "seeds": list(range(FEWEST_PAIRS)),
    }


def presets_with(name: str) -> dict[str, str]:
    """The titles of the ready experiments with a variant that uses a technique, by their names."""
    return {
        preset_name: preset.title
        for preset_name, preset in PRESETS.items()
        if any(name in (variant.changes.get("regularization") or {}) for variant in preset.spec.variants)
    }


def effect_of(session: Session, technique: str) -> Effect | None:
    """What an experiment shows in which variants with this technique alone stand beside a plain baseline.

    Among the newest the one with the most seeds that all of these have finished.
    """
    newest = find_experiments(session, after=None, limit=_LOOKED_AT)
    fitting = [(item, variants_with(item.document, technique)) for item in newest]
    weighed = [(item, variants) for item, variants in fitting if variants][:_MOST_WEIGHED]
    results = [_effect(session, item, variants) for item, variants in weighed]
    return max((item for item in results if item), key=lambda item: item.seeds, default=None)


def variants_with(document: Mapping[str, Any], technique: str) -> list[str]:
    """The variants of an experiment that differ from its baseline in having this technique; it has none."""
    specs = {item["name"]: merge_patch(document["base"], item["changes"]) for item in document["variants"]}
    baseline = specs[experiment_serializers.get_baseline(document)]
    if baseline["regularization"]:
        return []
    return [
        name
        for name, spec in specs.items()
        if list(spec["regularization"]) == [technique] and spec | {"regularization": {}} == baseline
    ]


def _effect(session: Session, experiment: Experiment, variants: Sequence[str]) -> Effect | None:
    baseline = experiment_serializers.get_baseline(experiment.document)
    runs: dict[str, dict[int, RunGlance]] = {name: {} for name in (baseline, *variants)}
    for glance in glances_of(session, experiment.id):
        if glance.variant in runs and glance.test_accuracy is not None:
            runs[glance.variant][glance.seed] = glance
    seeds = sorted(set.intersection(*(set(finished) for finished in runs.values())))
    if not seeds:
        return None
    losses = {
        name: mean(finished[seed].test_loss or 0.0 for seed in seeds) for name, finished in runs.items()
    }
    best = min(variants, key=lambda name: losses[name])
    outcomes = {
        name: Outcome(
            name,
            filters.percent(mean(finished[seed].test_accuracy or 0.0 for seed in seeds)),
            f"{losses[name]:.4f}",
        )
        for name, finished in runs.items()
    }
    return Effect(
        experiment_id=experiment.id,
        experiment=experiment.name,
        seeds=len(seeds),
        baseline=outcomes[baseline],
        variants=tuple(outcomes[name] for name in variants),
        shown=best,
        seed=seeds[0],
        job_without=runs[baseline][seeds[0]].job_id,
        job_with=runs[best][seeds[0]].job_id,
    )
