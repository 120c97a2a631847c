"""The page on which a digit is drawn and two models answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from sqlalchemy import Row

from api.dashboard.filters import full_title, percent
from api.dashboard.rendering import PageDep, PageRoute
from api.http.dependencies import DatabaseDep
from models.identifiers import ID_PATTERN
from models.states import JobState
from models.store.experiments import experiment_names
from models.store.job_search import JobFilter, find_jobs, listed
from models.store.jobs import get_jobs

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_MOST_MODELS = 200
_LONE = "Jobs on their own"
ModelId = Annotated[str | None, Query(pattern=ID_PATTERN)]


@dataclass(frozen=True)
class Side:
    """One of the two answers, and the model that gives it."""

    name: str
    title: str
    job_id: str


@router.get("/try")
def try_models(page: PageDep, database: DatabaseDep, left: ModelId = None, right: ModelId = None) -> Response:
    """Draw a digit; two models answer."""
    with database.read() as session:
        jobs = find_jobs(session, JobFilter(states=[JobState.SUCCEEDED]), after=None, limit=_MOST_MODELS)
        wished = {item for item in (left, right) if item} - {job.id for job in jobs}
        jobs += listed(session, [job.id for job in get_jobs(session, sorted(wished))])
        names = experiment_names(session, sorted({job.experiment_id for job in jobs if job.experiment_id}))
        result = models(jobs, names)
    if not result:
        return page("try.html.jinja", groups={}, sides=[])
    there = {model.job_id for model in result}
    first, second = pair(result)
    sides = [
        Side("left", "Model A", left if left in there else first.job_id),
        Side("right", "Model B", right if right in there else second.job_id),
    ]
    return page("try.html.jinja", groups=groups(result), sides=sides)


@dataclass(frozen=True)
class Model:
    """A trained model, as a list to choose from shows it."""

    job_id: str
    label: str
    group: str
    """Under which heading: its experiment's."""
    techniques: str
    accuracy: str
    regularized: bool
    seed: int
    dataset: str


def models(jobs: Sequence[Row[Any]], experiments: dict[str, str]) -> list[Model]:
    """The models of those jobs, as `listed` gave them, that have one; `experiments` are names by id."""
    return [_model(job, experiments) for job in jobs if job.job_id]


def _model(job: Row[Any], experiments: dict[str, str]) -> Model:
    names = list(job.spec["regularization"])
    accuracy = percent(job.test_accuracy)
    return Model(
        job_id=job.id,
        label=f"{full_title(job)}: {accuracy}",
        group=experiments.get(job.experiment_id or "", _LONE),
        techniques=", ".join(name.replace("_", " ") for name in names) or "no regularization",
        accuracy=accuracy,
        regularized=bool(names),
        seed=job.seed,
        dataset=job.dataset,
    )


def groups(found: Sequence[Model]) -> dict[str, list[Model]]:
    """The models under their headings, in their order."""
    by_group: dict[str, list[Model]] = {}
    for model in found:
        by_group.setdefault(model.group, []).append(model)
    return by_group


def pair(found: Sequence[Model]) -> tuple[Model, Model]:
    """An unregularized and a regularized model to compare: the newest of one experiment, best of one seed.

    Where no experiment has both, the newest of each; where there is only one kind, the two newest.
    """
    for alike in (_same_run, _same_group, _any):
        for regularized in found:
            if regularized.regularized:
                for plain in found:
                    if not plain.regularized and alike(plain, regularized):
                        return plain, regularized
    return found[-1 if len(found) == 1 else 1], found[0]


def _same_run(one: Model, other: Model) -> bool:
    return _same_group(one, other) and one.seed == other.seed


def _same_group(one: Model, other: Model) -> bool:
    return one.group != _LONE and one.group == other.group and one.dataset == other.dataset


def _any(one: Model, other: Model) -> bool:
    return one.dataset == other.dataset
