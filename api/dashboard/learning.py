"""Pages that explain the techniques, and show what they did in this installation."""

from dataclasses import dataclass
from statistics import mean
from typing import Annotated

from fastapi import APIRouter, Path, Response
from sqlalchemy.orm import Session

from api import answers
from api.catalogue import technique_card
from api.dashboard import views
from api.dashboard.pages import PageDep, PageRoute
from api.dependencies import DatabaseDep
from api.presets import PRESETS
from models.states import JobState
from models.store.experiments import get_experiment
from models.store.lists import JobFilter, find_jobs
from models.store.runs import glances_of
from models.techniques import CATALOGUE

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_LOOKED_AT = 20
"""Newest jobs with a technique among which those of experiments are looked for."""


@dataclass(frozen=True)
class Effect:
    """What a technique did in an experiment of this installation, beside the baseline of the same seeds."""

    experiment_id: str
    experiment: str
    variant: str
    baseline: str
    seeds: int
    with_it: str
    without: str


@router.get("/learn")
def list_techniques(page: PageDep) -> Response:
    """Every technique in a sentence or two."""
    cards = [answers.technique_answer(name, technique) for name, technique in CATALOGUE.items()]
    return page("learn.html.jinja", cards=cards)


@router.get("/learn/{name}")
def show_technique(
    page: PageDep,
    name: Annotated[str, Path(description="As in a specification")],
    database: DatabaseDep,
) -> Response:
    """One technique: what it does, and what it did here."""
    card = technique_card(name)
    with database.read() as session:
        effect = effect_of(session, name)
    return page("technique.html.jinja", card=card, effect=effect, presets=presets_with(name))


def presets_with(name: str) -> dict[str, str]:
    """The titles of the ready experiments with a variant that uses a technique, by their names."""
    return {
        preset_name: preset.title
        for preset_name, preset in PRESETS.items()
        if any(name in (variant.changes.get("regularization") or {}) for variant in preset.spec.variants)
    }


def effect_of(session: Session, technique: str) -> Effect | None:
    """What an experiment shows in which a variant with this technique alone stands beside the baseline.

    Among the newest the one with the most seeds that both have finished.
    """
    wanted = JobFilter(states=[JobState.SUCCEEDED], techniques=[technique])
    jobs = find_jobs(session, wanted, after=None, limit=_LOOKED_AT)
    places = {
        (job.experiment_id, job.variant)
        for job in jobs
        if job.experiment_id and job.variant and list(job.spec["regularization"]) == [technique]
    }
    found = [_effect(session, experiment_id, variant) for experiment_id, variant in sorted(places)]
    return max((each for each in found if each), key=lambda each: each.seeds, default=None)


def _effect(session: Session, experiment_id: str, variant: str) -> Effect | None:
    experiment = get_experiment(session, experiment_id)
    baseline = answers.baseline_of(experiment.document)
    accuracies: dict[str, dict[int, float]] = {variant: {}, baseline: {}}
    for each in glances_of(session, experiment_id):
        if each.variant in accuracies and each.test_accuracy is not None:
            accuracies[each.variant][each.seed] = each.test_accuracy
    seeds = accuracies[variant].keys() & accuracies[baseline].keys()
    if variant == baseline or not seeds:
        return None
    with_it, without = (
        views.percent(mean(accuracies[name][seed] for seed in seeds)) for name in (variant, baseline)
    )
    return Effect(experiment_id, experiment.name, variant, baseline, len(seeds), with_it, without)
