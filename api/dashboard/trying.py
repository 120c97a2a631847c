"""The page on which a digit is drawn and two models answer."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.dashboard import trials
from api.dashboard.pages import PageDep, PageRoute
from api.dependencies import DatabaseDep
from models.states import JobState
from models.store.experiments import experiment_names
from models.store.jobs import get_jobs
from models.store.lists import JobFilter, find_jobs, listed

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_MOST_MODELS = 200
ModelId = Annotated[str | None, Query(max_length=40, pattern=r"^[A-Za-z0-9_-]+$")]


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
        wished = {each for each in (left, right) if each} - {job.id for job in jobs}
        jobs += listed(session, [job.id for job in get_jobs(session, sorted(wished))])
        names = experiment_names(session, sorted({job.experiment_id for job in jobs if job.experiment_id}))
        found = trials.models(jobs, names)
    if not found:
        return page("try.html.jinja", groups={}, sides=[])
    there = {model.job_id for model in found}
    first, second = trials.pair(found)
    sides = [
        Side("left", "Model A", left if left in there else first.job_id),
        Side("right", "Model B", right if right in there else second.job_id),
    ]
    return page("try.html.jinja", groups=trials.groups(found), sides=sides)
