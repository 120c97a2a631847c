"""Actions on jobs: change, cancel, pause, resume, retry, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response, status

from api.api_keys import record_audit_event
from api.http import problem_types
from api.http.bodies import parse_body
from api.http.dependencies import ArtifactsDep, CallerDep, DatabaseDep, DispatchDep, JobId
from api.http.idempotency import IdempotentWithoutBodyDep
from api.http.openapi import documented
from api.http.routing import StrictQueryRoute
from api.jobs import schemas, serializers
from models.edits import JobEdit
from models.states import JobState
from models.store import jobs as store
from models.store.audit import JOB_DELETED
from models.store.edits import edit_job

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictQueryRoute)

_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"model": schemas.JobDetails, "description": "Requested; the worker acts within a chunk of steps"}
}


@router.patch("/{job_id}")
@documented(problem_types.INVALID_SPEC)
def update_job(
    job_id: JobId, edit: Annotated[JobEdit, Depends(parse_body(JobEdit))], database: DatabaseDep
) -> schemas.JobDetails:
    """Change name, labels, notes, priority, or archive it, in any state: a JSON merge patch (RFC 7396).

    What is left out stays; null resets a field or removes a label.
    """
    with database.write() as session:
        return serializers.serialize_current_job(session, edit_job(session, job_id, edit))


@router.post("/{job_id}/cancel", responses=_ACCEPTED)
@documented(problem_types.CONFLICT)
def cancel_job(
    job_id: JobId, database: DatabaseDep, artifacts: ArtifactsDep, response: Response
) -> schemas.JobDetails:
    """Cancel a job: 200 if it is cancelled now, 202 if it is still running, 409 if it has ended."""
    with database.write() as session:
        body = serializers.serialize_current_job(session, store.cancel_job(session, job_id))
    if body.state == JobState.CANCELLED:
        # It was paused, or queued after an interruption. The worker removes the files of a running one.
        artifacts.delete_checkpoints(job_id)
    else:
        response.status_code = status.HTTP_202_ACCEPTED
    return body


@router.post("/{job_id}/pause", responses=_ACCEPTED)
@documented(problem_types.CONFLICT)
def pause_job(job_id: JobId, database: DatabaseDep, response: Response) -> schemas.JobDetails:
    """Pause a job: 200 if it is paused now, 202 if it still runs, 409 if it has ended or is being cancelled.

    Idempotent.
    """
    with database.write() as session:
        body = serializers.serialize_current_job(session, store.pause_job(session, job_id))
    if body.state != JobState.PAUSED:
        response.status_code = status.HTTP_202_ACCEPTED
    return body


@router.post("/{job_id}/resume")
@documented(problem_types.CONFLICT)
def resume_job(job_id: JobId, database: DatabaseDep, dispatch: DispatchDep) -> schemas.JobDetails:
    """Resume a paused job at its old position in the queue, or withdraw a requested pause.

    A job that is not paused is returned as it is; 409 if it has ended or is being cancelled.
    """
    with database.write() as session:
        body = serializers.serialize_current_job(session, store.resume_job(session, job_id))
    if body.state == JobState.QUEUED:
        dispatch([job_id])
    return body


@router.post(
    "/{job_id}/retry",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=schemas.JobDetails,
    responses={200: {"model": schemas.JobDetails, "description": "The existing retry, which has not ended"}},
)
@documented(problem_types.CONFLICT, problem_types.OVER_QUOTA, headers=("Location",))
def retry_job(
    job_id: JobId, database: DatabaseDep, idempotent: IdempotentWithoutBodyDep, dispatch: DispatchDep
) -> Response:
    """Submit a failed or cancelled job again, as a new job; `Location` and body are the new job's.

    409 if the job has not ended or has succeeded, or if its retry has ended: then retry that one.
    """
    with idempotent.executed(), database.write() as session:
        retry, is_new = store.retry_job(session, job_id)
        body = serializers.serialize_current_job(session, retry)
        code = status.HTTP_202_ACCEPTED if is_new else status.HTTP_200_OK
        stored = idempotent.store_response(session, body, code, {"Location": body.links.self})
    if is_new:
        dispatch([retry.id])
    return stored


@router.delete("/{job_id}", status_code=status.HTTP_204_NO_CONTENT)
@documented(problem_types.CONFLICT)
def delete_job(
    job_id: JobId, caller: CallerDep, database: DatabaseDep, artifacts: ArtifactsDep, request: Request
) -> None:
    """Remove an ended job with its history, model and predictions.

    409 while it has not ended, or if another experiment than its own uses it. Its own experiment trains it
    again when it is extended or its failed jobs are retried.
    """
    with database.write() as session:
        store.delete_job(session, job_id)
        record_audit_event(session, JOB_DELETED, job_id, caller, request)
    # After the commit: an orphaned file is harmless, a row without its file is not. All files, not only those
    # that the row names: a worker that died may have left others.
    artifacts.delete_job_files(job_id)
