"""Recommendations over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from api import reports
from api.experiments.cost_estimate import estimate_experiment_cost
from api.http.bodies import parse_body
from api.http.dependencies import CallerDep, DatabaseDep, SettingsDep
from api.http.routing import StrictQueryRoute
from api.reports.loading import find_experiment_report
from api.reports.recommendation_schemas import OfferedExperiment, Recommendation, Task
from models.cost import check_budget
from models.errors import BudgetExceeded
from models.experiments import ExperimentSpec
from models.spec import STORED
from models.store.experiment_search import ExperimentFilter, find_experiments

router = APIRouter(prefix="/v1", tags=["reports"], route_class=StrictQueryRoute)

_MOST_SEARCHED = 200
"""The newest finished experiments."""


@router.post("/recommendations")
def recommend_techniques(
    task: Annotated[Task, Depends(parse_body(Task))],
    caller: CallerDep,
    database: DatabaseDep,
    settings: SettingsDep,
    request: Request,
) -> Recommendation:
    """What this installation's own experiments say about choosing a technique for a task; nothing is stored.

    From the measured point nearest to it. Where none has between half and twice its examples and parameters
    it abstains, and offers the experiment that would answer.
    """
    recommendations = reports.recommendations
    with database.read() as session:
        measured = [
            one
            for experiment in find_experiments(
                session, ExperimentFilter(finished=True), after=None, limit=_MOST_SEARCHED
            )
            for one in recommendations.list_measured_tasks(
                experiment.id,
                experiment.name,
                ExperimentSpec.model_validate(experiment.document, context=STORED),
            )
        ]
    answers, nearest, needs = recommendations.answer_task(
        task, measured, lambda name: find_experiment_report(name, database, request).get_comparison()
    )
    experiment = None
    if needs and (spec := recommendations.build_experiment(task, needs, nearest)):
        try:
            for _, run in spec.build_runs():
                check_budget(run, settings)
        except BudgetExceeded:
            pass
        else:
            with database.read() as session:
                cost = estimate_experiment_cost(session, spec, owner=caller.owner)
            document = spec.model_dump(mode="json", exclude_defaults=True)
            experiment = OfferedExperiment(spec=document, cost=cost)
    return Recommendation(answers=answers, nearest=nearest, abstains=not answers, experiment=experiment)
