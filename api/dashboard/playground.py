"""The page on which a user draws a digit and compares the predictions of two models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.dashboard.filters import format_full_title, format_percent
from api.dashboard.rendering import PageRoute, RenderPageDep
from api.http.dependencies import DatabaseDep
from models.identifiers import ID_PATTERN
from models.run_key import Purpose
from models.states import JobState
from models.store.experiments import find_chosen_variants, get_experiment_names
from models.store.job_search import JobFilter, find_jobs, load_listed_jobs
from models.store.jobs import get_jobs

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
    models = []
    for job in jobs:
        # A job that only chose settings has nothing to say of test images.
        if job.job_id is None or job.purpose == Purpose.TUNE:
            continue
        techniques, accuracy = list(job.spec["regularization"]), format_percent(job.test_accuracy)
        chosen = job.variant is not None and choices.get(job.experiment_id or "") == job.variant
        model = Model(
            job_id=job.id,
            label=f"{format_full_title(job)}: {accuracy}{', chosen by validation' if chosen else ''}",
            group=names.get(job.experiment_id or "", _NO_EXPERIMENT),
            techniques=", ".join(name.replace("_", " ") for name in techniques) or "no regularization",
            accuracy=accuracy,
            regularized=bool(techniques),
            chosen=chosen,
            seed=job.seed,
            dataset=job.dataset,
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
    """An unregularized and a regularized model of the same dataset, `models` being sorted newest first.

    Preferably of one experiment and seed, else of one experiment, else any, and then with what validation
    chooses; failing that, the two newest.
    """
    pairs = [
        (plain, regularized)
        for regularized in models
        if regularized.regularized
        for plain in models
        if not plain.regularized and plain.dataset == regularized.dataset
    ]
    if not pairs:
        return models[-1 if len(models) == 1 else 1], models[0]

    def rank_pair(pair: tuple[Model, Model]) -> tuple[int, int]:
        plain, regularized = pair
        chosen = plain.chosen + regularized.chosen
        if plain.group == _NO_EXPERIMENT or plain.group != regularized.group:
            return 0, chosen
        return (2 if plain.seed == regularized.seed else 1), chosen

    # max() returns the first, and so the newest, of equally good pairs.
    return max(pairs, key=rank_pair)
