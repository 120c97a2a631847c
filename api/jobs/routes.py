"""Jobs over HTTP: submit, list, follow."""

import csv
import io
from typing import Annotated, Any

from cachetools import LRUCache
from fastapi import APIRouter, Depends, Query, Request, Response, status
from fastapi.concurrency import run_in_threadpool

from api.datasets.resolution import ContentFinderDep, resolve_job
from api.http import problem_types
from api.http import schemas as http_schemas
from api.http.bodies import BodyDep, JsonObject, may_name, parse_body, validate_document, validate_json
from api.http.dependencies import (
    AUTH_PROBLEMS,
    CallerDep,
    DatabaseDep,
    DispatchDep,
    DryRun,
    JobId,
    JobIdPath,
    SettingsDep,
    get_caller,
    get_database,
    parse_id,
)
from api.http.etags import IfNoneMatch, build_not_modified, format_weak_etag, match_etag
from api.http.idempotency import IdempotentDep
from api.http.negotiation import Accept, require_format
from api.http.openapi import RequestBody, documented
from api.http.pagination import (
    decode_cursor,
    encode_cursor,
    parse_fields,
    parse_sort,
    render_page,
    split_page,
)
from api.http.routing import StrictQueryRoute
from api.jobs import schemas, serializers
from api.jobs.cloning import load_job_document, load_source
from api.jobs.event_stream import LastEventId, parse_last_event_id, stream_job
from api.jobs.polling import (
    Prefer,
    build_retry_after,
    format_job_etag,
    get_progress_key,
    get_seen_progress,
    parse_requested_wait,
    wait_for_change,
)
from api.jobs.queries import JobQuery
from api.jobs.status_loader import JobStatusLoader
from api.jobs.updates import JobUpdates, JobUpdatesDep
from models.cost import check_budget
from models.dataset_cards import DATASETS
from models.datasets import ensure_available
from models.documents import merge_patch
from models.errors import NotFound
from models.spec import JobSpec
from models.states import JobState
from models.store import jobs as store
from models.store.database import Database
from models.store.job_search import find_jobs, get_cursor
from models.store.job_status import get_epochs_version, get_status
from models.store.jobs import NewJob
from models.store.queue_positions import get_queue_position, get_queue_positions
from models.store.remaining_time import get_pace
from models.store.tables import Event
from models.store.transitions import get_job

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictQueryRoute)

_CLONE: dict[str, Any] = {
    "type": "object",
    "title": "A stored job with overrides",
    "description": "`from`: the id of a job. The other fields are a specification's, as a JSON merge patch "
    "(RFC 7396) on that job's: objects merge, null removes, lists are replaced as a whole.",
    "required": ["from"],
    "properties": {"from": {"type": "string"}},
    "additionalProperties": True,
}


@documented(problem_types.NOT_JSON, problem_types.INVALID_SPEC, body=RequestBody(JobSpec, alternative=_CLONE))
async def parse_job(body: BodyDep, request: Request, find_content: ContentFinderDep) -> JobSpec:
    """The posted specification, or that of a stored job with overrides, with the content of its dataset."""
    if may_name(body, "from"):
        spec = await run_in_threadpool(_resolve_clone, body, get_database(request))
    else:
        spec = await parse_body(JobSpec)(body)
    if spec.dataset.name in DATASETS:
        return spec
    return await run_in_threadpool(resolve_job, spec, find_content)


def _resolve_clone(body: bytes, database: Database) -> JobSpec:
    document = validate_json(JsonObject, body).root
    if "from" in document:
        with database.read() as session:
            document = merge_patch(*load_source(session, document, load_job_document))
    return validate_document(JobSpec, document)


PostedSpec = Annotated[JobSpec, Depends(parse_job)]


@router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=schemas.JobDetails | schemas.CostEstimate,
    responses={200: {"model": schemas.CostEstimate, "description": "A dry run's cost estimate"}},
)
@documented(
    problem_types.DATASET_UNAVAILABLE,
    problem_types.OVER_BUDGET,
    problem_types.OVER_QUOTA,
    headers=("Location",),
)
def create_job(
    spec: PostedSpec,
    caller: CallerDep,
    database: DatabaseDep,
    settings: SettingsDep,
    idempotent: IdempotentDep,
    response: Response,
    dispatch: DispatchDep,
    dry_run: DryRun = False,
) -> Any:
    """Submit a training job; it is stored when this answers.

    `?dry_run=true` only checks it and estimates its cost.
    """
    estimate = check_budget(spec, settings)
    ensure_available(spec.dataset.name, settings)
    if dry_run:
        response.status_code = status.HTTP_200_OK
        with database.read() as session:
            return serializers.serialize_cost(estimate, get_pace(session))
    with idempotent.executed(), database.write() as session:
        (job,) = store.create_jobs(session, [NewJob(spec, caller.owner)])
        body = serializers.serialize_current_job(session, job)
        answer = idempotent.store_response(
            session, body, status.HTTP_202_ACCEPTED, {"Location": body.links.self}
        )
    dispatch([job.id])
    return answer


@router.get("", response_model=schemas.JobPage | http_schemas.PartialPage)
@documented(problem_types.INVALID_SPEC, headers=("Link",))
def list_jobs(query: Annotated[JobQuery, Query()], database: DatabaseDep, request: Request) -> Response:
    """Jobs, newest first or as `sort` asks. Follow `Link: rel=next` or `next_cursor` to the next page.

    Values of one filter are alternatives; different filters must all fit. A page does not shift while jobs
    are added.
    """
    fields = parse_fields(query.fields, schemas.Job, {"spec": JobSpec})
    order = parse_sort(query.sort)
    read = {
        "specs": fields is None or "spec" in fields,
        "results": fields is None or not fields.keys().isdisjoint({"result", "stop_reason"}),
    }
    with database.read() as session:
        jobs = find_jobs(
            session,
            query.filter(),
            after=decode_cursor(query.cursor, order),
            limit=query.limit + 1,
            order=order,
            **read,
        )
        page, cursor = split_page(jobs, query.limit, lambda job: encode_cursor(get_cursor(job, order), order))
        positions = get_queue_positions(session, page) if fields is None or "queue_position" in fields else {}
        items = [
            serializers.serialize_job(
                job, positions.get(job.id), with_spec=read["specs"], with_result=read["results"]
            )
            for job in page
        ]
    return render_page(request, schemas.JobPage(items=items, next_cursor=cursor), cursor, fields)


@router.get("/{job_id}", response_model=schemas.JobDetails)
@documented(
    problem_types.NOT_FOUND,
    problem_types.SERVICE_UNAVAILABLE,
    problem_types.TOO_MANY_STREAMS,
    *AUTH_PROBLEMS,
    headers=("Retry-After", "ETag", "Preference-Applied"),
)
async def show_job(
    request: Request,
    job_id: JobIdPath,
    if_none_match: IfNoneMatch = None,
    prefer: Prefer = None,
) -> Response:
    """A job: its state, progress, result or error.

    `Retry-After` says when to ask again. `If-None-Match` with the last `ETag` is answered with
    304 while nothing has changed; with `Prefer: wait=N` when state or epoch changes, or after N seconds.
    """
    # The most frequent request: as dependencies, these would double its cost.
    database = get_database(request)
    parse_id("job", job_id)
    status_loader: JobStatusLoader = request.app.state.status_loader
    bodies: LRUCache[str, tuple[str, bytes]] = request.app.state.job_bodies
    wait = parse_requested_wait(prefer)
    if wait is not None:
        updates: JobUpdates = request.app.state.job_updates
        job = await status_loader.load(job_id, owner=database.owner)
        seen = get_seen_progress(if_none_match) or get_progress_key(job)
        owner = get_caller(request).limited_owner
        if not updates.is_full(owner) and not job.state.terminal and get_progress_key(job) == seen:
            await wait_for_change(updates, job_id, seen, wait, owner=owner)
    job = await status_loader.load(job_id, owner=database.owner)

    def load_queue_position() -> int | None:
        with database.read() as session:
            return get_queue_position(session, job_id)

    position = await run_in_threadpool(load_queue_position) if job.state == JobState.QUEUED else None
    tag = format_job_etag(job, position)
    headers = build_retry_after(job.state, job.eta_seconds, position)
    if wait is not None:
        headers["Preference-Applied"] = f"wait={wait}"
    if match_etag(if_none_match, tag):
        return build_not_modified(tag, headers)
    cached = bodies.get(job_id)
    if cached is None or cached[0] != tag:
        # What is read now may be newer than the status, and then has a tag of its own.
        cached = bodies[job_id] = await run_in_threadpool(_read, database, job_id)
    tag, body = cached
    return Response(body, media_type="application/json", headers=headers | {"ETag": tag})


def _read(database: Database, job_id: str) -> tuple[str, bytes]:
    with database.read() as session:
        job = store.get_job_details(session, job_id)
        position = get_queue_position(session, job_id) if job.state == JobState.QUEUED else None
    return format_job_etag(job, position), serializers.serialize_job_details(
        job, position
    ).model_dump_json().encode()


@router.get(
    "/{job_id}/epochs",
    response_model=schemas.EpochList,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
@documented(problem_types.NOT_ACCEPTABLE, headers=("ETag",))
def list_epochs(
    job_id: JobId,
    database: DatabaseDep,
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="Only later epochs than this one")] = 0,
    accept: Accept = "*/*",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A job's history, one entry an epoch, as JSON or CSV by `Accept`. `If-None-Match` as of a job."""
    media_type = require_format(accept, ["application/json", "text/csv"])
    with database.read() as session:
        if get_status(session, job_id) is None:
            raise NotFound(f"There is no job {job_id}.")
        tag = format_weak_etag(
            f"{get_epochs_version(session, job_id, after=after)}-{media_type.partition('/')[2]}"
        )
        if match_etag(if_none_match, tag):
            return build_not_modified(tag, _BY_ACCEPT)
        rows = store.get_epochs(session, job_id, after=after)
    epochs = [schemas.Epoch.model_validate(row) for row in rows]
    if media_type == "application/json":
        text = schemas.EpochList(items=epochs).model_dump_json()
    else:
        table = io.StringIO()
        writer = csv.DictWriter(table, fieldnames=list(schemas.Epoch.model_fields))
        writer.writeheader()
        writer.writerows(epoch.model_dump() for epoch in epochs)
        text = table.getvalue()
    return Response(text, media_type=media_type, headers=_BY_ACCEPT | {"ETag": tag})


@router.get(
    "/{job_id}/events",
    response_model=schemas.EventList,
    responses={
        200: {"content": {"text/event-stream": {"schema": {}}}},
        204: {"description": "The job has ended, and you have received all of its messages"},
    },
)
@documented(problem_types.NOT_ACCEPTABLE, problem_types.TOO_MANY_STREAMS)
async def list_events(
    job_id: JobId,
    database: DatabaseDep,
    updates: JobUpdatesDep,
    caller: CallerDep,
    accept: Accept = "*/*",
    last_event_id: LastEventId = None,
) -> Response:
    """A job's events so far, first to last; as server-sent events also those to come, by `Accept`.

    A stream has `change` (as in the list), `epoch` (as in the history) and `progress` messages, and `end`,
    after which it closes. With `Last-Event-ID` it continues after that message.
    """
    media_type = require_format(accept, ["application/json", "text/event-stream"])
    position = parse_last_event_id(last_event_id) if media_type != "application/json" else None

    def load() -> tuple[JobState, list[Event]]:
        with database.read() as session:
            return JobState(get_job(session, job_id).state), store.get_events(session, job_id)

    state, rows = await run_in_threadpool(load)
    if position is None:
        events = schemas.EventList(items=[schemas.Event.model_validate(row) for row in rows])
        return Response(events.model_dump_json(), media_type="application/json", headers=_BY_ACCEPT)
    # The last event is the job's end.
    if state.terminal and all(row.id <= position.event for row in rows):
        # This tells a browser's EventSource not to reconnect.
        return Response(status_code=status.HTTP_204_NO_CONTENT)
    return stream_job(updates, job_id, position, owner=caller.limited_owner)


_BY_ACCEPT = {"Vary": "Accept"}
