"""Experiments over HTTP: create one with all its jobs, list, show, extend."""

from collections.abc import Callable
from itertools import product
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response, status
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session

from api.datasets.resolution import ContentFinderDep, FindContent, resolve_experiment
from api.experiments import schemas
from api.experiments.cost_estimate import estimate_experiment_cost
from api.experiments.following import (
    get_progress_key,
    has_seen,
    load_experiment,
    stream_experiment,
    wait_for_change,
)
from api.experiments.presets import override, resolve
from api.experiments.queries import ExperimentQuery
from api.experiments.serializers import SerializerDep
from api.http import problem_types
from api.http import schemas as http_schemas
from api.http.bodies import (
    BodyDep,
    JsonObject,
    may_name,
    parse_body,
    validate_document,
    validate_json,
)
from api.http.dependencies import (
    CallerDep,
    DatabaseDep,
    DispatchDep,
    DryRun,
    ExperimentId,
    SettingsDep,
    get_database,
)
from api.http.etags import IfNoneMatch, build_not_modified, compute_document_etag, match_etag
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
from api.http.problems import format_json_pointer
from api.http.routing import StrictQueryRoute
from api.jobs.cloning import load_job_document, load_source
from api.jobs.event_stream import LastEventId
from api.jobs.polling import Prefer, build_retry_after_remaining, parse_requested_wait
from api.jobs.updates import JobUpdatesDep
from models.cost import check_budget
from models.datasets import ensure_available
from models.documents import Document
from models.errors import BudgetExceeded, DatasetUnavailable, FieldError, InvalidSpec, NotFound
from models.experiment_checks import (
    find_axis_value_errors,
    find_confounded_variants,
    find_tuning_errors,
    find_variant_errors,
)
from models.experiments import ExperimentSpec
from models.extensions import Extension
from models.follow_ups import check_follow_up, complete_follow_up, keep_tuning
from models.settings import Settings
from models.spec import JobSpec
from models.store import experiments as store
from models.store.database import Database
from models.store.experiment_search import find_experiments
from models.store.job_search import Cursor

router = APIRouter(prefix="/v1/experiments", tags=["experiments"], route_class=StrictQueryRoute)


_WITH_OVERRIDES: dict[str, Any] = {
    "type": "object",
    "title": "A preset, experiment or job with overrides",
    "description": "`preset`: the name of one; `from`: the id of an experiment, or of a job, whose "
    "specification becomes `base`. The other fields are an experiment's, as a JSON merge patch (RFC 7396) on "
    "it: objects merge, null removes, lists are replaced as a whole. `replicates` replaces its seeds.",
    "anyOf": [{"required": ["preset"]}, {"required": ["from"]}],
    "properties": {"preset": {"type": "string"}, "from": {"type": "string"}},
    "additionalProperties": True,
}


@documented(
    problem_types.NOT_JSON,
    problem_types.INVALID_SPEC,
    body=RequestBody(ExperimentSpec, alternative=_WITH_OVERRIDES),
)
def parse_experiment(
    body: BodyDep, settings: SettingsDep, request: Request, find_content: ContentFinderDep
) -> tuple[str | None, ExperimentSpec]:
    """The preset's name, if any, and an experiment that can be trained."""
    preset, pilot, database = None, None, get_database(request)
    if may_name(body, "preset", "from", "confirms"):
        preset, document = resolve(validate_json(JsonObject, body).root)
        if "from" in document:
            with database.read() as session:
                document = override(*load_source(session, document, load_experiment_document))
        if (pilot := _get_pilot(document.get("confirms"), database)) is not None:
            document = complete_follow_up(document, pilot)
        spec = validate_document(ExperimentSpec, document)
    else:
        spec = validate_json(ExperimentSpec, body)
    spec = resolve_experiment(spec, find_content).forget_tuning()
    spec = spec if pilot is None else keep_tuning(spec, pilot)
    _check_jobs(spec, settings)
    _check_follow_up(spec, pilot)
    _check_datasets(spec, settings)
    return preset, spec


def load_experiment_document(session: Session, source_id: str) -> Document:
    """What a clone begins with: an experiment's document, or a job's specification as its base.

    Raises:
        NotFound: there is neither of that id.
    """
    if not source_id.startswith("exp_"):
        spec = load_job_document(session, source_id)
        return {"base": {field: value for field, value in spec.items() if field not in ("name", "seed")}}
    document = store.get_experiment(session, source_id).document
    return document | {"split_per_seed": document.get("split_per_seed", False)}


def _get_pilot(confirms: object, database: Database) -> Document | None:
    """The document of the experiment that is to be confirmed, if any."""
    if not isinstance(confirms, str):
        return None
    with database.read() as session:
        try:
            return store.get_experiment(session, confirms).document
        except NotFound:
            detail = f"there is no experiment {confirms}; null makes this an experiment of its own"
            raise InvalidSpec([FieldError("/confirms", detail)]) from None


def _check_follow_up(spec: ExperimentSpec, pilot: Document | None) -> None:
    if pilot is not None and (errors := check_follow_up(spec, pilot)):
        raise InvalidSpec(errors)


@router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=schemas.Experiment | schemas.ExperimentCostEstimate,
    responses={200: {"model": schemas.ExperimentCostEstimate, "description": "A dry run's cost estimate"}},
)
@documented(
    problem_types.DATASET_UNAVAILABLE,
    problem_types.OVER_BUDGET,
    problem_types.OVER_QUOTA,
    headers=("Location",),
)
def create_experiment(
    posted: Annotated[tuple[str | None, ExperimentSpec], Depends(parse_experiment)],
    caller: CallerDep,
    database: DatabaseDep,
    serializer: SerializerDep,
    idempotent: IdempotentDep,
    response: Response,
    dispatch: DispatchDep,
    dry_run: DryRun = False,
) -> Any:
    """Submit an experiment; it is stored with all its jobs, or not at all.

    `?dry_run=true` only checks it and estimates its cost, and the difference that its seeds can detect.
    """
    preset, spec = posted
    if dry_run:
        response.status_code = status.HTTP_200_OK
        with database.read() as session:
            return estimate_experiment_cost(session, spec, owner=caller.owner)
    with idempotent.executed(), database.write() as session:
        experiment, jobs = store.create_experiment(session, spec, preset=preset, owner=caller.owner)
        body = serializer.serialize(session, [experiment])[0]
        stored = idempotent.store_response(
            session, body, status.HTTP_202_ACCEPTED, {"Location": body.links.self}
        )
    dispatch([job.id for job in jobs])
    return stored


@router.get("", response_model=schemas.ExperimentPage | http_schemas.PartialPage)
@documented(problem_types.INVALID_SPEC, headers=("Link",))
def list_experiments(
    query: Annotated[ExperimentQuery, Query()],
    database: DatabaseDep,
    serializer: SerializerDep,
    request: Request,
) -> Response:
    """Experiments, newest first or as `sort` asks; follow `Link: rel=next` or `next_cursor`.

    Values of one filter are alternatives; different filters must all fit.
    """
    selected = parse_fields(query.fields, schemas.Experiment, {"spec": ExperimentSpec})
    order = parse_sort(query.sort)
    with database.read() as session:
        experiments = find_experiments(
            session,
            query.filter(),
            after=decode_cursor(query.cursor, order),
            limit=query.limit + 1,
            order=order,
        )
        page, next_cursor = split_page(
            experiments,
            query.limit,
            lambda row: encode_cursor(Cursor(getattr(row, order.by), row.id), order),
        )
        items = serializer.serialize(session, page)
    page_body = schemas.ExperimentPage(items=items, next_cursor=next_cursor)
    return render_page(request, page_body, next_cursor, selected)


@router.get("/{experiment_id}", response_model=schemas.Experiment)
@documented(problem_types.TOO_MANY_STREAMS, headers=("Retry-After", "ETag", "Preference-Applied"))
async def show_experiment(
    experiment_id: ExperimentId,
    caller: CallerDep,
    database: DatabaseDep,
    serializer: SerializerDep,
    updates: JobUpdatesDep,
    if_none_match: IfNoneMatch = None,
    prefer: Prefer = None,
) -> Response:
    """An experiment: progress over all its jobs, and what validation chooses at the end.

    `Retry-After` is the time until the next poll; with the last `ETag` in `If-None-Match` the response is 304
    while nothing has changed; with `Prefer: wait=N` it comes when a job changes state, or after N seconds.
    """
    body = await run_in_threadpool(load_experiment, database, serializer, experiment_id)
    wait, key = parse_requested_wait(prefer), get_progress_key(body)
    may_wait = wait is not None and not body.progress.finished and has_seen(if_none_match, key)
    if wait is not None and may_wait and not updates.is_full(caller.limited_owner):
        await wait_for_change(updates, experiment_id, key, wait, owner=caller.limited_owner)
        body = await run_in_threadpool(load_experiment, database, serializer, experiment_id)
    progress = body.progress
    headers = {} if progress.finished else build_retry_after_remaining(progress.eta_seconds)
    if wait is not None:
        headers["Preference-Applied"] = f"wait={wait}"
    document = body.model_dump_json()
    tag = compute_document_etag(document, prefix=f"{get_progress_key(body)}.")
    if match_etag(if_none_match, tag):
        return build_not_modified(tag, headers)
    return Response(document, media_type="application/json", headers=headers | {"ETag": tag})


@router.get(
    "/{experiment_id}/events",
    response_class=Response,
    responses={
        200: {"content": {"text/event-stream": {"schema": {}}}},
        204: {"description": "The experiment has finished, and you have received its end"},
    },
)
@documented(problem_types.NOT_ACCEPTABLE, problem_types.TOO_MANY_STREAMS)
async def stream_events(
    experiment_id: ExperimentId,
    caller: CallerDep,
    database: DatabaseDep,
    serializer: SerializerDep,
    updates: JobUpdatesDep,
    accept: Accept = "*/*",
    last_event_id: LastEventId = None,
) -> Response:
    """An experiment's progress as server-sent events: `progress` whenever a job changes, and `end`.

    `end` has the headline and the path of the report; then the stream closes.
    """
    require_format(accept, ["text/event-stream"])
    body = await run_in_threadpool(load_experiment, database, serializer, experiment_id)
    if body.progress.finished and last_event_id == get_progress_key(body):
        # This tells a browser's EventSource not to reconnect.
        return Response(status_code=status.HTTP_204_NO_CONTENT)
    return stream_experiment(updates, database, serializer, experiment_id, owner=caller.limited_owner)


@router.post("/{experiment_id}/extend", status_code=202, response_model=schemas.Experiment)
@documented(
    problem_types.CONFLICT,
    problem_types.DATASET_UNAVAILABLE,
    problem_types.OVER_BUDGET,
    problem_types.OVER_QUOTA,
)
def extend_experiment(
    experiment_id: ExperimentId,
    extension: Annotated[Extension, Depends(parse_body(Extension))],
    find_content: ContentFinderDep,
    database: DatabaseDep,
    serializer: SerializerDep,
    settings: SettingsDep,
    idempotent: IdempotentDep,
    dispatch: DispatchDep,
) -> Response:
    """Add seeds or variants; only runs that have no job, such as deleted ones, are trained. 409 if all do."""
    with database.read() as session:
        row = store.get_experiment(session, experiment_id)
    pilot = _get_pilot(row.confirms, database)
    # Before the lock: a dataset may have to be downloaded.
    _check_datasets(_extend(row.document, extension, settings, pilot, find_content), settings)
    with idempotent.executed(), database.write() as session:
        experiment = store.lock_experiment(session, experiment_id)
        after = _extend(experiment.document, extension, settings, pilot, find_content)
        jobs = [job.id for job in store.extend_experiment(session, experiment, after)]
        stored = idempotent.store_response(
            session, serializer.serialize(session, [experiment])[0], status.HTTP_202_ACCEPTED
        )
    dispatch(jobs)
    return stored


def _extend(
    document: Document,
    extension: Extension,
    settings: Settings,
    pilot: Document | None,
    find_content: FindContent,
) -> ExperimentSpec:
    """The extended experiment, within this installation's limits; errors point into the extension."""
    try:
        after = validate_document(ExperimentSpec, extension.apply_to(document))
        after = resolve_experiment(after, find_content)
        after = after if pilot is None else keep_tuning(after, pilot)
        _check_jobs(after, settings)
        _check_follow_up(after, pilot)
    except InvalidSpec as error:
        errors, existing = [], len(document["variants"])
        for field in error.errors:
            pointer = field.pointer
            match pointer.split("/"):
                case ["", "variants", number, *further] if number.isdecimal() and int(number) >= existing:
                    pointer = "/".join(["", "variants", str(int(number) - existing), *further])
            errors.append(FieldError(pointer, field.detail))
        raise type(error)(errors) from None
    return after


def _check_jobs(spec: ExperimentSpec, settings: Settings) -> None:
    """Refuse an experiment that cannot be trained, before anything is stored.

    Raises:
        InvalidSpec: a variant's changes do not make a valid specification, or it has confounders.
        BudgetExceeded: too many jobs, or a job that is too large.
    """
    jobs, tune = spec.planned_jobs, spec.own_tuning
    if jobs > settings.max_experiment_jobs:
        detail = (
            f"{len(spec.variants)} variants with {len(spec.run_seeds)} seeds"
            f"{f' on {spec.parts} parts' if spec.parts else ''}"
            f"{f' at {len(spec.points)} points' if spec.axes else ''}"
            f"{f' after {tune.trials} trials each' if tune else ''} make {jobs:,} jobs; "
            f"this installation allows {settings.max_experiment_jobs:,} an experiment"
        )
        raise BudgetExceeded([FieldError("/replicates" if spec.replicates else "/seeds", detail)])
    if spec.stopping_rule is not None and spec.stopping_rule.max_jobs > settings.max_experiment_jobs:
        detail = f"this installation allows {settings.max_experiment_jobs:,} jobs an experiment"
        raise BudgetExceeded([FieldError("/stopping_rule/max_jobs", detail)])
    if invalid := find_variant_errors(spec):
        raise InvalidSpec([FieldError(format_json_pointer(location), detail) for location, detail in invalid])
    for find_errors in (find_axis_value_errors, find_tuning_errors, find_confounded_variants):
        if errors := find_errors(spec):
            raise InvalidSpec([FieldError(pointer, detail) for pointer, detail in errors])
    _check_each(spec, BudgetExceeded, lambda job: check_budget(job, settings))


def _check_datasets(spec: ExperimentSpec, settings: Settings) -> None:
    _check_each(spec, DatasetUnavailable, lambda job: ensure_available(job.dataset.name, settings))


def _check_each(spec: ExperimentSpec, kind: type[InvalidSpec], check: Callable[[JobSpec], object]) -> None:
    """Run `check` on each variant's specification; errors point to the base or to the variant's changes."""

    def find_errors(job: JobSpec) -> list[FieldError]:
        try:
            check(job)
        except kind as error:
            return error.errors
        return []

    of_base = find_errors(spec.base)
    errors: dict[FieldError, None] = {}
    for (index, variant), point in product(enumerate(spec.variants), spec.points):
        for error in find_errors(spec.build_run_spec(variant, spec.run_seeds[0], point=point)):
            pointer = "/base" if error in of_base else f"/variants/{index}/changes"
            errors[FieldError(pointer + error.pointer, error.detail)] = None
    if errors:
        raise kind(list(errors))
