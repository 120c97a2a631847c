"""Many jobs at once: submit all of them or none, cancel all that match a filter."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Response, status
from pydantic import Field

from api.datasets.resolution import ContentFinderDep, resolve_job
from api.http import problem_types
from api.http.bodies import BATCH, parse_body
from api.http.dependencies import ArtifactsDep, CallerDep, DatabaseDep, DispatchDep, DryRun, SettingsDep
from api.http.idempotency import IdempotentDep
from api.http.openapi import documented
from api.http.routing import StrictQueryRoute
from api.jobs import schemas, serializers
from api.jobs.queries import JobFilterQuery
from models.cost import check_budget
from models.datasets import ensure_available
from models.errors import BudgetExceeded, Conflict, FieldError, InvalidSpec, NotFound
from models.spec import JobBatch, JobSpec
from models.states import UNFINISHED, JobState
from models.store import jobs as store
from models.store.job_search import SortOrder, find_jobs
from models.store.jobs import NewJob
from models.store.queue_positions import get_queue_positions
from models.store.remaining_time import get_pace
from models.store.transitions import get_job

T = TypeVar("T")

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictQueryRoute)


def parse_batch(
    batch: Annotated[JobBatch, Depends(parse_body(JobBatch))], find_content: ContentFinderDep
) -> JobBatch:
    """The posted jobs, with the content of their datasets."""
    return JobBatch(jobs=tuple(_check_each(batch, lambda spec: resolve_job(spec, find_content))))


@router.post(
    BATCH,
    status_code=status.HTTP_202_ACCEPTED,
    response_model=schemas.JobList | schemas.BatchCostEstimate,
    responses={200: {"model": schemas.BatchCostEstimate, "description": "A dry run's cost estimate"}},
)
@documented(problem_types.DATASET_UNAVAILABLE, problem_types.OVER_BUDGET, problem_types.OVER_QUOTA)
def create_jobs(
    batch: Annotated[JobBatch, Depends(parse_batch)],
    caller: CallerDep,
    database: DatabaseDep,
    settings: SettingsDep,
    idempotent: IdempotentDep,
    response: Response,
    dispatch: DispatchDep,
    dry_run: DryRun = False,
) -> Any:
    """Submit jobs, all of them or none: if one is refused, none is stored."""
    if len(batch.jobs) > settings.max_batch_jobs:
        detail = f"{len(batch.jobs):,} jobs; this installation allows {settings.max_batch_jobs:,} in a batch"
        raise BudgetExceeded([FieldError("/jobs", detail)])
    _check_each(batch, lambda spec: check_budget(spec, settings))
    _check_each(batch, lambda spec: ensure_available(spec.dataset.name, settings))
    if dry_run:
        response.status_code = status.HTTP_200_OK
        with database.read() as session:
            pace = get_pace(session)
        estimates = [check_budget(spec, settings) for spec in batch.jobs]
        # Estimates are cached by what programs depend on.
        programs, operations = len({*map(id, estimates)}), sum(item.total_flops for item in estimates)
        return schemas.BatchCostEstimate(
            items=[serializers.serialize_cost(estimate, pace) for estimate in estimates],
            jobs=len(estimates),
            training_flops=sum(item.training_flops for item in estimates),
            robustness_flops=sum(item.robustness_flops for item in estimates),
            memorization_flops=sum(item.memorization_flops for item in estimates),
            memory_bytes=max(item.memory_bytes for item in estimates),
            estimated_seconds=pace
            and pace.estimate_seconds(operations, jobs=len(estimates), programs=programs),
        )
    with idempotent.executed(), database.write() as session:
        jobs = store.create_jobs(session, [NewJob(spec, caller.owner) for spec in batch.jobs])
        positions = get_queue_positions(session, jobs)
        body = schemas.JobList(items=[serializers.serialize_job(job, positions.get(job.id)) for job in jobs])
        stored = idempotent.store_response(session, body, status.HTTP_202_ACCEPTED)
    dispatch([job.id for job in jobs])
    return stored


def _check_each(batch: JobBatch, check: Callable[[JobSpec], T]) -> list[T]:
    """What `check` returns of each job; the errors' pointers lead into the batch.

    Raises:
        InvalidSpec: of the type of the first error.
    """
    results: list[T] = []
    errors: list[tuple[type[InvalidSpec], FieldError]] = []
    for index, spec in enumerate(batch.jobs):
        try:
            results.append(check(spec))
        except InvalidSpec as error:
            errors += [
                (type(error), FieldError(f"/jobs/{index}{fault.pointer}", fault.detail))
                for fault in error.errors
            ]
    if errors:
        raise errors[0][0]([fault for _, fault in errors])
    return results


class CancelQuery(JobFilterQuery):
    """Which jobs to cancel."""

    limit: Annotated[
        int, Field(ge=1, le=200, description="Maximum number of jobs to cancel in one request")
    ] = 200


@router.post("/cancel")
@documented(problem_types.INVALID_SPEC)
def cancel_jobs(
    query: Annotated[CancelQuery, Query()], database: DatabaseDep, artifacts: ArtifactsDep
) -> schemas.Cancellations:
    """Cancel the jobs that match and have not ended, oldest first, each as `POST /v1/jobs/{id}/cancel` would.

    At least one filter must be given. Repeat the request while `more` is true.
    """
    if not query.model_fields_set - {"limit"}:
        raise InvalidSpec([FieldError("", "select jobs with at least one filter, such as ?label=a=b")])
    states = [state for state in query.state or UNFINISHED if not state.terminal]
    if not states:
        return schemas.Cancellations(items=[], more=False)
    job_filter = replace(query.filter(), states=states)
    items = []
    with database.write() as session:
        jobs = find_jobs(
            session, job_filter, after=None, limit=query.limit + 1, order=SortOrder(descending=False)
        )
        for match in jobs[: query.limit]:
            try:
                job = store.cancel_job(session, match.id)
                outcome = "cancelled" if job.state == JobState.CANCELLED else "requested"
            except NotFound:
                continue  # deleted since the query
            except Conflict:
                # It has ended since the query, which must not stop the others.
                job, outcome = get_job(session, match.id), "ended"
            items.append(schemas.Cancellation(id=job.id, state=JobState(job.state), outcome=outcome))
    for item in items:
        if item.outcome == "cancelled":
            artifacts.delete_checkpoints(item.id)
    return schemas.Cancellations(items=items, more=len(jobs) > query.limit)
