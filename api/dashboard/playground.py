"""The page on which a user draws a digit and compares the predictions of two models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.dashboard.filters import format_full_title, format_percent
from api.dashboard.rendering import PageRoute, RenderPageDep
from api.http.dependencies import DatabaseDep
from models.dataset_cards import UNRESOLVED
from models.dataset_spec import DatasetSpec
from models.formatting import list_techniques
from models.identifiers import ID_PATTERN
from models.run_key import Purpose
from models.states import JobState
from models.store.experiments import find_chosen_variants, get_baselines, get_experiment_names
from models.store.job_search import JobFilter, find_jobs, load_listed_jobs
from models.store.jobs import get_jobs
from models.techniques import Regularization

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_MAX_MODELS = 200
_NO_EXPERIMENT = "Jobs without an experiment"
ModelId = Annotated[str | None, Query(pattern=ID_PATTERN)]


@dataclass(frozen=True)
class Model:
    """A trained model, as an option of a list."""

    job_id: str
    label: str
    group: str
    """Its heading in the list: its experiment's name."""
    techniques: str
    accuracy: str
    regularized: bool
    chosen: bool
    """Whether validation chooses its variant among its experiment's."""
    seed: int
    dataset: str
    is_baseline: bool = False
    """Whether its variant is its experiment's baseline."""
    test_images: int = 0
    """Of its dataset; 0 if unknown."""
    drops_units: bool = False
    """Whether it was trained with a kind of dropout, which may stay active."""


@router.get("/try")
def show_playground(
    render: RenderPageDep, database: DatabaseDep, left: ModelId = None, right: ModelId = None
) -> Response:
    """Draw a digit; two models predict it."""
    with database.read() as session:
        jobs = find_jobs(session, JobFilter(states=[JobState.SUCCEEDED]), after=None, limit=_MAX_MODELS)
        # The address may request models older than those.
        missing = {job_id for job_id in (left, right) if job_id} - {job.id for job in jobs}
        jobs += load_listed_jobs(session, [job.id for job in get_jobs(session, sorted(missing))])
        experiment_ids = sorted({job.experiment_id for job in jobs if job.experiment_id})
        names = get_experiment_names(session, experiment_ids)
        choices = find_chosen_variants(session, experiment_ids)
        baselines = get_baselines(session, experiment_ids)
    models = []
    for job in jobs:
        # A job that only chose settings has nothing to say of test images.
        if job.job_id is None or job.purpose == Purpose.TUNE:
            continue
        techniques, accuracy = list_techniques(job.spec["regularization"]), format_percent(job.test_accuracy)
        experiment = job.experiment_id or ""
        chosen = job.variant is not None and choices.get(experiment) == job.variant
        title = ", ".join(filter(None, [format_full_title(job), names.get(experiment)]))
        card = DatasetSpec.model_validate(job.spec["dataset"]).card
        model = Model(
            job_id=job.id,
            label=f"{title}: {accuracy}{', chosen by validation' if chosen else ''}",
            group=names.get(experiment, _NO_EXPERIMENT),
            techniques=" + ".join(techniques) or "no regularization",
            accuracy=accuracy,
            regularized=bool(techniques),
            chosen=chosen,
            is_baseline=job.variant is not None and baselines.get(experiment) == job.variant,
            test_images=0 if card is UNRESOLVED else card.test_examples,
            seed=job.seed,
            dataset=job.dataset,
            drops_units=any(
                technique.drops_units
                for technique in Regularization.model_validate(job.spec["regularization"]).active.values()
            ),
        )
        models.append(model)
    if not models:
        return render("playground.html.jinja", groups={}, sides=[])
    job_ids = {model.job_id for model in models}
    first, second = choose_pair(models)
    sides = [
        {"name": "left", "title": "Model A", "job_id": left if left in job_ids else first.job_id},
        {"name": "right", "title": "Model B", "job_id": right if right in job_ids else second.job_id},
    ]
    return render("playground.html.jinja", groups=group_models(models), sides=sides)


def group_models(models: Sequence[Model]) -> dict[str, list[Model]]:
    """The models by their headings, in their order."""
    groups: dict[str, list[Model]] = {}
    for model in models:
        groups.setdefault(model.group, []).append(model)
    return groups


def choose_pair(models: Sequence[Model]) -> tuple[Model, Model]:
    """Two models of the same dataset, `models` being sorted newest first.

    A baseline and what validation chooses in its experiment, or an unregularized and a regularized model.
    Preferably of one experiment and seed, else of one experiment, else any; failing that, the two newest.
    """

    def is_baseline_and_choice(one: Model, other: Model) -> bool:
        return one.group == other.group and one.is_baseline and other.chosen and not other.is_baseline

    pairs = [
        (one, other)
        for other in models
        for one in models
        if one.dataset == other.dataset
        and ((other.regularized and not one.regularized) or is_baseline_and_choice(one, other))
    ]
    if not pairs:
        return models[-1 if len(models) == 1 else 1], models[0]

    def rank_pair(pair: tuple[Model, Model]) -> tuple[int, bool, int]:
        one, other = pair
        chosen = one.chosen + other.chosen
        if one.group == _NO_EXPERIMENT or one.group != other.group:
            return 0, False, chosen
        return (2 if one.seed == other.seed else 1), is_baseline_and_choice(one, other), chosen

    # max() returns the first, and so the newest, of equally good pairs.
    return max(pairs, key=rank_pair)
