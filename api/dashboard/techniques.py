"""Pages that explain the techniques and show their effects in this installation's experiments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from sqlalchemy.orm import Session

from api import catalogue
from api.catalogue import build_technique_card
from api.dashboard import filters
from api.dashboard.questions import QUESTIONS, STUDIES, Question
from api.dashboard.rendering import ClientState, PageRoute, RenderPageDep
from api.experiments import serializers as experiment_serializers
from api.experiments.presets import PRESETS
from api.http.dependencies import DatabaseDep
from api.reports.recommendation_schemas import NEEDS
from models.documents import Document, merge_patch
from models.errors import NotFound
from models.experiments import FEWEST_PAIRS
from models.metrics import METRICS
from models.selection import VariantMeans, choose_variant
from models.store.experiment_runs import RunSummary, get_run_summaries
from models.store.experiment_search import ExperimentFilter, find_experiments
from models.store.tables import Experiment
from models.techniques import CATALOGUE

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_MAX_SEARCHED = 50
"""The newest experiments are searched for those that compare a technique with a plain baseline."""
_MAX_EVALUATED = 10
"""Of these, the runs are read."""
_QUICK_EPOCHS = 5


@dataclass(frozen=True)
class Outcome:
    """A variant's means over the seeds that all compared variants have finished."""

    variant: str
    accuracy: str
    loss: str


@dataclass(frozen=True)
class Effect:
    """What a technique changed in an experiment of this installation."""

    experiment_id: str
    experiment: str
    seeds: int
    baseline: Outcome
    variants: tuple[Outcome, ...]
    """Those that differ from the baseline in this technique alone."""
    shown_variant: str
    """The one that validation chooses, else the first; its curves are drawn for one seed:"""
    not_chosen: str | None
    """Why validation does not choose among several."""
    seed: int
    job_without: str
    job_with: str


@router.get("/learn")
def list_techniques(render: RenderPageDep, database: DatabaseDep) -> Response:
    """Overfitting as it was measured here, the questions, and every technique with its picture."""
    groups: dict[str, list[catalogue.TechniqueCard]] = {}
    for name, technique in CATALOGUE.items():
        groups.setdefault(technique.group, []).append(catalogue.serialize_technique(name, technique))
    parts: dict[str, dict[str, Question]] = {}
    for slug, question in QUESTIONS.items():
        parts.setdefault(question.part, {})[slug] = question
    with database.read() as session:
        finished = find_experiments(session, ExperimentFilter(finished=True), after=None, limit=_MAX_SEARCHED)
        matches = [next((one for one in finished if study.matches(one.document)), None) for study in STUDIES]
        studies = [
            replace(study, id=experiment.id, name=experiment.name)
            for study, experiment in zip(STUDIES, matches, strict=True)
            if experiment
        ]
    missing = [study for study, experiment in zip(STUDIES, matches, strict=True) if experiment is None]
    return render("techniques.html.jinja", groups=groups, parts=parts, studies=studies, missing=missing)


@router.get("/learn/glossary")
def show_glossary(render: RenderPageDep) -> Response:
    """What the terms of pages and reports mean."""
    return render("glossary.html.jinja")


@router.get("/learn/questions/{slug}")
def show_question(
    render: RenderPageDep,
    slug: Annotated[str, Path(description="As in the list of questions")],
    database: DatabaseDep,
) -> Response:
    """One question about regularization, and what was measured here about it."""
    if slug not in QUESTIONS:
        raise NotFound(f"There is no question {slug}; see /learn.")
    question, slugs = QUESTIONS[slug], list(QUESTIONS)
    position = slugs.index(slug)
    metrics = [METRICS[name] for name in question.metrics]
    with database.read() as session:
        measured = find_measured(session, list(question.techniques))
    return render(
        "question.html.jinja",
        slug=slug,
        question=question,
        techniques=CATALOGUE,
        measured=measured,
        metrics=[
            {
                "name": metric.name,
                "title": metric.title,
                "unit": metric.format.unit,
                "scale": metric.format.scale,
                "digits": metric.format.digits,
            }
            for metric in metrics
        ],
        previous=slugs[position - 1] if position else None,
        next=slugs[position + 1] if position + 1 < len(slugs) else None,
    )


@dataclass(frozen=True)
class MeasuredVariants:
    """A finished experiment, its baseline, and the variants that differ from that in one technique alone."""

    id: str
    name: str
    variants: list[str]


def find_measured(session: Session, techniques: Sequence[str]) -> MeasuredVariants | None:
    """Of the newest finished experiments the one that has most of these techniques alone."""
    best: tuple[int, MeasuredVariants | None] = 0, None
    finished = ExperimentFilter(finished=True)
    for experiment in find_experiments(session, finished, after=None, limit=_MAX_SEARCHED):
        isolating = [find_isolating_variants(experiment.document, technique) for technique in techniques]
        count = sum(map(bool, isolating))
        if count > best[0]:
            baseline = experiment_serializers.get_baseline(experiment.document)
            names = [baseline, *(name for group in isolating for name in group)]
            best = count, MeasuredVariants(experiment.id, experiment.name, names)
    return best[1]


@router.get("/learn/what-to-use")
def show_recommendation_form(render: RenderPageDep, task: ClientState = None) -> Response:
    """What should I use? A form for a task, whose answers come from this installation's experiments."""
    return render("recommend.html.jinja", needs=NEEDS)


@router.get("/learn/{name}")
def show_technique(
    render: RenderPageDep,
    name: Annotated[str, Path(description="As in a specification")],
    database: DatabaseDep,
) -> Response:
    """One technique: what it does, and its effect here."""
    card = build_technique_card(name)
    with database.read() as session:
        effect = find_effect(session, name)
    return render(
        "technique.html.jinja",
        card=card,
        effect=effect,
        presets=find_presets(name),
        quick_experiment=build_quick_experiment(name),
    )


def build_quick_experiment(name: str) -> Document:
    """A technique at its defaults against none: the fewest seeds for a verdict, and seconds for each job."""
    model: Document = {"hidden_units": [128]}
    if "mlp" not in CATALOGUE[name].model_families:
        model = {"family": "cnn", "filters": [16, 16], "hidden_units": [64]}
    return {
        "name": f"{name.replace('_', ' ')}, small",
        "base": {"dataset": {"name": "mnist_5k"}, "model": model, "training": {"epochs": _QUICK_EPOCHS}},
        "variants": [
            {"name": "none", "changes": {}},
            {"name": name.replace("_", " "), "changes": {"regularization": {name: {}}}},
        ],
        "seeds": list(range(FEWEST_PAIRS)),
    }


def find_presets(technique: str) -> dict[str, str]:
    """The titles of the presets that use a technique, by name."""
    return {
        name: preset.title
        for name, preset in PRESETS.items()
        if any(technique in (variant.changes.get("regularization") or {}) for variant in preset.spec.variants)
    }


def find_effect(session: Session, technique: str) -> Effect | None:
    """The effect of a technique in the recent experiment that has the most seeds for it."""
    candidates = [
        (experiment, variants)
        for experiment in find_experiments(session, after=None, limit=_MAX_SEARCHED)
        if (variants := find_isolating_variants(experiment.document, technique))
    ]
    effects = [_compute_effect(session, *candidate) for candidate in candidates[:_MAX_EVALUATED]]
    return max((effect for effect in effects if effect), key=lambda effect: effect.seeds, default=None)


def find_isolating_variants(document: Mapping[str, Any], technique: str) -> list[str]:
    """The variants that differ from an unregularized baseline in this technique alone."""
    specs = {
        variant["name"]: merge_patch(document["base"], variant["changes"]) for variant in document["variants"]
    }
    baseline = specs[experiment_serializers.get_baseline(document)]
    if baseline["regularization"] or document.get("parts") or document.get("axes"):
        return []
    return [
        name
        for name, spec in specs.items()
        if list(spec["regularization"]) == [technique] and spec | {"regularization": {}} == baseline
    ]


def _compute_effect(session: Session, experiment: Experiment, variants: Sequence[str]) -> Effect | None:
    baseline = experiment_serializers.get_baseline(experiment.document)
    runs: dict[str, dict[int, RunSummary]] = {name: {} for name in (baseline, *variants)}
    for run in get_run_summaries(session, experiment.id):
        if run.variant in runs and run.test_accuracy is not None:
            runs[run.variant][run.seed] = run
    seeds = sorted(set.intersection(*(set(finished) for finished in runs.values())))
    if not seeds:
        return None
    choice = _choose_among(experiment.document, {name: runs[name] for name in variants}, seeds)
    shown = variants[0] if isinstance(choice, str) else choice.variant
    outcomes = {
        name: Outcome(
            name,
            filters.format_percent(mean(finished[seed].test_accuracy or 0.0 for seed in seeds)),
            f"{mean(finished[seed].test_loss or 0.0 for seed in seeds):.4f}",
        )
        for name, finished in runs.items()
    }
    return Effect(
        experiment_id=experiment.id,
        experiment=experiment.name,
        seeds=len(seeds),
        baseline=outcomes[baseline],
        variants=tuple(outcomes[name] for name in variants),
        shown_variant=shown,
        not_chosen=choice if isinstance(choice, str) and len(variants) > 1 else None,
        seed=seeds[0],
        job_without=runs[baseline][seeds[0]].job_id,
        job_with=runs[shown][seeds[0]].job_id,
    )


def _choose_among(
    document: Document, runs: Mapping[str, Mapping[int, RunSummary]], seeds: Sequence[int]
) -> VariantMeans | str:
    """What validation chooses among these variants of an experiment, by seeds that all of them have."""
    means = []
    for name, finished in runs.items():
        losses = [loss for seed in seeds if (loss := finished[seed].validation_loss) is not None]
        accuracy = mean(finished[seed].test_accuracy or 0.0 for seed in seeds)
        loss = mean(losses) if len(losses) == len(seeds) else None
        means.append(VariantMeans(name, len(seeds), loss, accuracy))
    variants = [variant for variant in document["variants"] if variant["name"] in runs]
    return choose_variant(document | {"variants": variants, "seeds": seeds}, means, variants[0]["name"])
