"""Many jobs at once: submit them all or none, cancel all that fit a question."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response, status
from pydantic import Field
from sqlalchemy.orm import Session

from api.http import problem_types
from api.http.bodies import BATCH, parse_body
from api.http.dependencies import ArtifactsDep, CallerDep, DatabaseDep, DispatchDep, DryRun, SettingsDep
from api.http.idempotency import IdempotentDep
from api.http.problem_types import problem_responses
from api.http.routing import StrictQueryRoute
from api.jobs import schemas, serializers
from api.jobs.queries import JobFilterQuery
from models.cost import check_budget
from models.datasets import ensure_available
from models.errors import BudgetExceeded, Conflict, FieldError, InvalidSpec, NotFound
from models.settings import Settings
from models.spec import JobBatch, JobSpec
from models.states import UNFINISHED, JobState
from models.store import jobs as store
from models.store.job_search import SortOrder, find_jobs
from models.store.jobs import NewJob
from models.store.transitions import get_job

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictQueryRoute)


@router.post(
    BATCH,
    status_code=status.HTTP_202_ACCEPTED,
    response_model=schemas.JobList | schemas.BatchCostEstimate,
    responses={200: {"model": schemas.BatchCostEstimate, "description": "A dry run's cost estimate"}},
)
@problem_responses(problem_types.DATASET_UNAVAILABLE, problem_types.OVER_BUDGET, problem_types.OVER_QUOTA)
def create_jobs(
    batch: Annotated[JobBatch, Depends(parse_body(JobBatch))],
    caller: CallerDep,
    database: DatabaseDep,
    settings: SettingsDep,
    idempotent: IdempotentDep,
    response: Response,
    dispatch: DispatchDep,
    dry_run: DryRun = False,
) -> Any:
    """Submit jobs, all of them or none: one that cannot be had keeps the others from being stored."""
    _check(batch, settings)
    if dry_run:
        response.status_code = status.HTTP_200_OK
        with database.read() as session:
            pace = store.get_seconds_per_operation(session)
        estimates = [check_budget(spec, settings) for spec in batch.jobs]
        return schemas.BatchCostEstimate(
            items=[serializers.serialize_cost(estimate, pace) for estimate in estimates]
        )
    with idempotent.executed(), database.write() as session:
        jobs = store.create_jobs(session, [NewJob(spec, caller.owner) for spec in batch.jobs])
        places = store.get_queue_positions(session, jobs)
        body = schemas.JobList(items=[serializers.serialize_job(job, places.get(job.id)) for job in jobs])
        answer = idempotent.store_response(session, body, status.HTTP_202_ACCEPTED)
    dispatch([job.id for job in jobs])
    return answer


def _check(batch: JobBatch, settings: Settings) -> None:
    if len(batch.jobs) > settings.max_batch_jobs:
        detail = f"{len(batch.jobs):,} jobs; this installation takes {settings.max_batch_jobs:,} at once"
        raise BudgetExceeded([FieldError("/jobs", detail)])
    checks: list[Callable[[JobSpec], object]] = [
        lambda spec: check_budget(spec, settings),
        lambda spec: ensure_available(spec.dataset.name, settings),
    ]
    for check in checks:
        _check_each(batch, check)


def _check_each(batch: JobBatch, check: Callable[[JobSpec], object]) -> None:
    """Run `check` on each job; its faults point into the batch.

    Raises:
        InvalidSpec: of the kind of the first that was found.
    """
    results: list[tuple[type[InvalidSpec], FieldError]] = []
    for index, spec in enumerate(batch.jobs):
        try:
            check(spec)
        except InvalidSpec as error:
            results += [
                (type(error), FieldError(f"/jobs/{index}{fault.pointer}", fault.detail))
                for fault in error.errors
            ]
    if results:
        raise results[0][0]([fault for _, fault in results])


class CancelQuery(JobFilterQuery):
    """Which jobs to cancel."""

    limit: Annotated[int, Field(ge=1, le=200, description="Most jobs to cancel in one request")] = 200


@router.post(":cancel")
@problem_responses(problem_types.INVALID_SPEC)
def cancel_jobs(
    query: Annotated[CancelQuery, Query()], database: DatabaseDep, artifacts: ArtifactsDep
) -> schemas.Cancellations:
    """Cancel the jobs that fit and have not ended, oldest first, each as `POST /v1/jobs/{id}/cancel` would.

    At least one filter must be given. Ask again while `more` is true.
    """
    if not query.model_fields_set - {"limit"}:
        raise InvalidSpec([FieldError("", "say which jobs: give at least one filter, such as ?label=a=b")])
    going_on = [state for state in query.state or UNFINISHED if not state.terminal]
    if not going_on:
        return schemas.Cancellations(items=[], more=False)
    job_filter = replace(query.filter(), states=going_on)
    with database.write() as session:
        jobs = find_jobs(
            session, job_filter, after=None, limit=query.limit + 1, order=SortOrder(descending=False)
        )
        outcomes = (_cancel(session, job.id) for job in jobs[: query.limit])
        items = [item for item in outcomes if item is not None]
    for item in items:
        if item.outcome == "cancelled":
            artifacts.delete_checkpoints(item.id)
    return schemas.Cancellations(items=items, more=len(jobs) > query.limit)


def _cancel(session: Session, job_id: str) -> schemas.Cancellation | None:
    """What became of a job that was to be cancelled; None if it was deleted since it was found."""
    try:
        job = store.cancel_job(session, job_id)
        outcome = "cancelled" if job.state == JobState.CANCELLED else "requested"
    except NotFound:
        return None
    except Conflict:
        # It ended since it was found, and is no reason to leave the others as they are.
        job, outcome = get_job(session, job_id), "ended"
    return schemas.Cancellation(id=job_id, state=JobState(job.state), outcome=outcome)
