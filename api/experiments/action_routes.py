"""Actions on experiments: change, cancel, pause, resume, retry what failed, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response, status

from api.api_keys import record_audit_event
from api.experiments import schemas
from api.experiments.serializers import SerializerDep
from api.http import problem_types
from api.http.bodies import parse_body
from api.http.dependencies import ArtifactsDep, CallerDep, DatabaseDep, DispatchDep, ExperimentId
from api.http.idempotency import IdempotentWithoutBodyDep
from api.http.openapi import documented
from api.http.routing import StrictQueryRoute
from models.edits import ExperimentEdit
from models.states import JobState
from models.store import experiments as store
from models.store.audit import JOB_DELETED
from models.store.edits import edit_experiment
from models.store.experiment_runs import apply_to_unfinished, retry_failed
from models.store.jobs import cancel_job, pause_job, resume_job

router = APIRouter(prefix="/v1/experiments", tags=["experiments"], route_class=StrictQueryRoute)


@router.patch("/{experiment_id}")
@documented(problem_types.INVALID_SPEC)
def update_experiment(
    experiment_id: ExperimentId,
    edit: Annotated[ExperimentEdit, Depends(parse_body(ExperimentEdit))],
    database: DatabaseDep,
    serializer: SerializerDep,
) -> schemas.Experiment:
    """Change name, labels, notes, priority, or archive it: a JSON merge patch (RFC 7396).

    What is left out stays; null resets a field or removes a label. `priority` is that of its own jobs that
    have not ended, and of those that it adds later; `archived` applies to its own jobs too.
    """
    with database.write() as session:
        experiment = edit_experiment(session, experiment_id, edit)
        return serializer.serialize(session, [experiment])[0]


_ASKED: dict[int | str, dict[str, Any]] = {
    202: {"model": schemas.Experiment, "description": "Requested; the workers act within a chunk of steps"}
}


@router.post("/{experiment_id}/cancel", responses=_ASKED)
@documented(problem_types.CONFLICT)
def cancel_experiment(
    experiment_id: ExperimentId,
    database: DatabaseDep,
    serializer: SerializerDep,
    artifacts: ArtifactsDep,
    response: Response,
) -> schemas.Experiment:
    """Cancel every job that has not ended: 200 if none runs now, 202 if some do, 409 if all had ended."""
    with database.write() as session:
        experiment = store.lock_experiment(session, experiment_id)
        # No more seeds are added, even if all jobs so far have ended.
        auto_extending, experiment.auto_extending = experiment.auto_extending, False
        requested = (
            []
            if auto_extending and store.get_progress(session, [experiment.id])[experiment.id].finished
            else apply_to_unfinished(session, experiment_id, cancel_job)
        )
        cancelled = [job.id for job in requested if job.state == JobState.CANCELLED]
        body = serializer.serialize(session, [experiment])[0]
    for job_id in cancelled:
        artifacts.delete_checkpoints(job_id)
    if not body.progress.finished:
        response.status_code = status.HTTP_202_ACCEPTED
    return body


@router.post("/{experiment_id}/pause", responses=_ASKED)
@documented(problem_types.CONFLICT)
def pause_experiment(
    experiment_id: ExperimentId, database: DatabaseDep, serializer: SerializerDep, response: Response
) -> schemas.Experiment:
    """Pause every job that has not ended: 200 if none runs now, 202 if some are still running.

    409 if every job has ended. Idempotent.
    """
    with database.write() as session:
        experiment = store.get_experiment(session, experiment_id)
        apply_to_unfinished(session, experiment_id, pause_job)
        body = serializer.serialize(session, [experiment])[0]
    if body.progress.counts[JobState.RUNNING]:
        response.status_code = status.HTTP_202_ACCEPTED
    return body


@router.post("/{experiment_id}/resume")
@documented(problem_types.CONFLICT)
def resume_experiment(
    experiment_id: ExperimentId, database: DatabaseDep, serializer: SerializerDep, dispatch: DispatchDep
) -> schemas.Experiment:
    """Resume every paused job at its old position in the queue; 409 if every job has ended."""
    with database.write() as session:
        experiment = store.get_experiment(session, experiment_id)
        resumed = apply_to_unfinished(session, experiment_id, resume_job)
        queued = [job.id for job in resumed if job.state == JobState.QUEUED]
        body = serializer.serialize(session, [experiment])[0]
    dispatch(queued)
    return body


@router.post("/{experiment_id}/retry-failed", status_code=202, response_model=schemas.Experiment)
@documented(problem_types.CONFLICT, problem_types.OVER_QUOTA)
def retry_failed_jobs(
    experiment_id: ExperimentId,
    database: DatabaseDep,
    serializer: SerializerDep,
    idempotent: IdempotentWithoutBodyDep,
    dispatch: DispatchDep,
) -> Response:
    """Replace every failed, cancelled or deleted job by a new one; 409 if there is none."""
    with idempotent.executed(), database.write() as session:
        experiment = store.lock_experiment(session, experiment_id)
        retries = [job.id for job in retry_failed(session, experiment)]
        stored = idempotent.store_response(
            session, serializer.serialize(session, [experiment])[0], status.HTTP_202_ACCEPTED
        )
    dispatch(retries)
    return stored


@router.delete("/{experiment_id}", status_code=status.HTTP_204_NO_CONTENT)
@documented(problem_types.CONFLICT)
def delete_experiment(
    experiment_id: ExperimentId,
    caller: CallerDep,
    database: DatabaseDep,
    artifacts: ArtifactsDep,
    request: Request,
    keep_jobs: Annotated[
        bool, Query(description="Keep its jobs, which then belong to no experiment")
    ] = False,
) -> None:
    """Remove an experiment with its jobs, their models and predictions; 409 while a job has not ended.

    Jobs that another experiment uses stay, and become that experiment's; so do jobs that this one only uses.
    """
    with database.write() as session:
        experiment = store.lock_experiment(session, experiment_id)
        deleted = store.delete_experiment(session, experiment, keep_jobs=keep_jobs)
        record_audit_event(session, "experiment_deleted", experiment_id, caller, request)
        for job_id in deleted:
            record_audit_event(session, JOB_DELETED, job_id, caller, request)
    # After the commit, as for a single job.
    for job_id in deleted:
        artifacts.delete_job_files(job_id)
