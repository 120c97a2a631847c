"""Jobs over HTTP: submit, find, follow, cancel, pause, resume, retry, delete."""

import csv
import io
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, Header, Query, Request, Response, status
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from api import answers, schemas
from api.dependencies import (
    ArtifactsDep,
    CallerDep,
    Cursor,
    DatabaseDep,
    JobId,
    Limit,
    SettingsDep,
    decode_cursor,
    encode_cursor,
    negotiate,
    next_link,
    posted,
)
from api.openapi import takes
from api.problems import not_acceptable
from models import doorbell
from models.datasets import require
from models.errors import FieldError, InvalidSpec
from models.pricing import check_budget
from models.spec import DatasetName, JobSpec
from models.states import JobState
from models.store import jobs as store
from models.store.jobs import JobFilter, NewJob, Place
from models.store.transitions import get_job
from models.tables import Job
from models.techniques import CATALOGUE

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

PostedSpec = Annotated[JobSpec, Depends(posted(JobSpec))]
_NO_NUL = r"^[^\x00]*$"
# Bounded, because the ends of the calendar leave it when they are brought to UTC.
Moment = Annotated[
    AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9999, 1, 1, tzinfo=UTC))
]


class JobQuery(BaseModel):
    """Which jobs, and which page of them."""

    model_config = ConfigDict(extra="forbid")

    state: list[JobState] = Field([], description="Any of these")
    technique: list[str] = Field([], description="Jobs that use any of these")
    dataset: DatasetName | None = None
    experiment: Annotated[str | None, Field(max_length=40, pattern=_NO_NUL)] = None
    label: Annotated[
        str | None, Field(max_length=264, pattern=r"^[^\x00=]+=[^\x00]*$", description="`name=value`")
    ] = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    limit: Limit = 50
    cursor: Cursor = None

    def filter(self) -> JobFilter:
        """The same question, as the store asks it.

        Raises:
            InvalidSpec: a technique is not in the catalogue.
        """
        unknown = [name for name in self.technique if name not in CATALOGUE]
        if unknown:
            choices = ", ".join(CATALOGUE)
            raise InvalidSpec([FieldError("?technique", f"no such technique; choose from {choices}")])
        name, _, value = (self.label or "").partition("=")
        return JobFilter(
            states=self.state,
            techniques=self.technique,
            dataset=self.dataset,
            experiment_id=self.experiment,
            label=(name, value) if self.label else None,
            created_after=self.created_after,
            created_before=self.created_before,
        )


@router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    openapi_extra=takes(JobSpec),
    responses={200: {"model": schemas.Price, "description": "A dry run's price"}},
)
def create_job(
    spec: PostedSpec,
    caller: CallerDep,
    database: DatabaseDep,
    settings: SettingsDep,
    response: Response,
    background: BackgroundTasks,
    dry_run: Annotated[bool, Query(description="Only check and price; store nothing")] = False,
) -> schemas.JobDetails | schemas.Price:
    """Submit a training job; it is stored when this answers. `?dry_run=true` only checks and prices it."""
    price = check_budget(spec, settings)
    require(spec.dataset.name, settings)
    if dry_run:
        response.status_code = status.HTTP_200_OK
        with database.read() as session:
            return answers.price_answer(price, store.seconds_per_operation(session))
    with database.write() as session:
        (job,) = store.create_jobs(session, [NewJob(spec, caller.owner)])
        answer = _answer(session, job)
    # After the answer: the row is safe already, and the broker may be slow or away.
    background.add_task(doorbell.ring, database, settings, [job.id])
    response.headers["Location"] = answer.links.self
    return answer


@router.get("")
def list_jobs(
    query: Annotated[JobQuery, Query()], database: DatabaseDep, request: Request, response: Response
) -> schemas.JobPage:
    """Jobs, newest first. Filters apply before paging; follow `Link: rel=next` or `next_cursor`."""
    with database.read() as session:
        found = store.find_jobs(
            session, query.filter(), after=decode_cursor(query.cursor), limit=query.limit + 1
        )
        page = found[: query.limit]
        places = store.queue_positions(session, page)
    cursor = None
    if len(found) > query.limit:
        cursor = encode_cursor(Place(page[-1].created_at, page[-1].id))
        response.headers["Link"] = next_link(request, cursor)
    return schemas.JobPage(
        items=[answers.job_answer(job, places.get(job.id)) for job in page], next_cursor=cursor
    )


@router.get("/{job_id}")
def show_job(job_id: JobId, database: DatabaseDep, response: Response) -> schemas.JobDetails:
    """A job: its state, progress, result or error. `Retry-After` says when to look again."""
    with database.read() as session:
        answer = _answer(session, get_job(session, job_id))
    if not answer.state.terminal:
        response.headers["Retry-After"] = "1"
    return answer


@router.get(
    "/{job_id}/epochs",
    response_model=schemas.EpochList,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
def list_epochs(
    job_id: JobId,
    database: DatabaseDep,
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="Only later epochs than this one")] = 0,
    accept: Annotated[str, Header()] = "*/*",
) -> Any:
    """A job's history, one entry an epoch, as JSON or CSV by `Accept`."""
    wanted = negotiate(accept, ["application/json", "text/csv"])
    if wanted is None:
        raise not_acceptable("application/json or text/csv")
    with database.read() as session:
        get_job(session, job_id)
        rows = store.epochs_of(session, job_id, after=after)
    epochs = [schemas.Epoch.model_validate(row) for row in rows]
    return schemas.EpochList(items=epochs) if wanted == "application/json" else _csv(epochs)


@router.get("/{job_id}/events")
def list_events(job_id: JobId, database: DatabaseDep) -> schemas.EventList:
    """All that has happened to a job, first to last."""
    with database.read() as session:
        get_job(session, job_id)
        rows = store.events_of(session, job_id)
    return schemas.EventList(items=[schemas.Event.model_validate(row) for row in rows])


_ASKED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": schemas.JobDetails,
        "description": "Asked of the worker, which honours it within a chunk of steps",
    }
}


@router.post("/{job_id}/cancel", responses=_ASKED)
def cancel_job(
    job_id: JobId, database: DatabaseDep, artifacts: ArtifactsDep, response: Response
) -> schemas.JobDetails:
    """End a job: 200 if it is cancelled now, 202 while its worker is being told, 409 if it has ended."""
    with database.write() as session:
        answer = _answer(session, store.cancel_job(session, job_id))
    if answer.state == JobState.CANCELLED:
        # One that was paused, or waited to go on. A running one's worker clears up after it.
        artifacts.forget_checkpoints(job_id)
    else:
        response.status_code = status.HTTP_202_ACCEPTED
    return answer


@router.post("/{job_id}/pause", responses=_ASKED)
def pause_job(job_id: JobId, database: DatabaseDep, response: Response) -> schemas.JobDetails:
    """Set a job aside: 200 if it is paused now, 202 while its worker is being told, 409 if it ends or has.

    Asked again, it answers the same.
    """
    with database.write() as session:
        answer = _answer(session, store.pause_job(session, job_id))
    if answer.state != JobState.PAUSED:
        response.status_code = status.HTTP_202_ACCEPTED
    return answer


@router.post("/{job_id}/resume")
def resume_job(
    job_id: JobId, database: DatabaseDep, settings: SettingsDep, background: BackgroundTasks
) -> schemas.JobDetails:
    """Let a paused job go on, in its old place in the queue; take back a pause that is not carried out yet.

    A job that is not paused is answered as it is; 409 if it ends or has ended.
    """
    with database.write() as session:
        answer = _answer(session, store.resume_job(session, job_id))
    if answer.state == JobState.QUEUED:
        background.add_task(doorbell.ring, database, settings, [job_id])
    return answer


@router.post(
    "/{job_id}/retry",
    status_code=status.HTTP_202_ACCEPTED,
    responses={
        200: {"model": schemas.JobDetails, "description": "The retry that there is, and that has not ended"}
    },
)
def retry_job(
    job_id: JobId,
    database: DatabaseDep,
    settings: SettingsDep,
    response: Response,
    background: BackgroundTasks,
) -> schemas.JobDetails:
    """Train what a failed or cancelled job should have, as a new job; `Location` and body are that job's.

    409 if the job has not ended or has succeeded, or if its retry has ended: then retry that one.
    """
    with database.write() as session:
        retry, is_new = store.retry_job(session, job_id)
        answer = _answer(session, retry)
    if is_new:
        background.add_task(doorbell.ring, database, settings, [retry.id])
    else:
        response.status_code = status.HTTP_200_OK
    response.headers["Location"] = answer.links.self
    return answer


@router.delete("/{job_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete_job(job_id: JobId, database: DatabaseDep, artifacts: ArtifactsDep) -> None:
    """Remove an ended job with its history, model and predictions; 409 while it has not ended."""
    with database.write() as session:
        store.delete_job(session, job_id)
    # After the commit: a file without a row is litter, a row without its file is a lie. All files, not only
    # those that the row names: a worker that died may have left others, which nobody would find again.
    artifacts.forget(job_id)


@router.get(
    "/{job_id}/model",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    },
)
def download_model(job_id: JobId, database: DatabaseDep, artifacts: ArtifactsDep) -> Response:
    """The trained model as a `.keras` file."""
    with database.read() as session:
        result = store.result_of(get_job(session, job_id))
    content = artifacts.get(result.model_path, sha256=result.model_sha256)
    return Response(
        content,
        media_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="{job_id}.keras"'},
    )


def _answer(session: Session, job: Job) -> schemas.JobDetails:
    return answers.job_details(job, store.queue_positions(session, [job]).get(job.id))


def _csv(epochs: list[schemas.Epoch]) -> Response:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(schemas.Epoch.model_fields))
    writer.writeheader()
    writer.writerows(epoch.model_dump() for epoch in epochs)
    return Response(text.getvalue(), media_type="text/csv")
