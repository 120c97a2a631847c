"""Pages about jobs: the list, one of them, and several side by side."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from api.dashboard import filters
from api.dashboard.rendering import PageDep, PageRoute
from api.http.curl import format_curl
from api.http.dependencies import DatabaseDep, JobId, SettingsDep, parse_id
from api.http.pagination import SORTS, decode_cursor, encode_cursor, parse_sort
from api.jobs import schemas as job_schemas
from api.jobs import serializers as job_serializers
from api.jobs.routes import JobQuery
from models.datasets import DATASETS
from models.experiments import flatten
from models.formatting import format_duration, format_techniques
from models.spec import JobSpec
from models.states import JobState
from models.store import jobs as store
from models.store.job_search import find_jobs, place_of
from models.techniques import CATALOGUE

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_MOST_COMPARED = 10
_METRICS = {
    "test_accuracy": "Test accuracy",
    "test_loss": "Test loss",
    "train_accuracy": "Training accuracy",
    "train_loss": "Training loss",
    "validation_accuracy": "Validation accuracy",
    "validation_loss": "Validation loss",
    "generalization_gap_accuracy": "Gap in accuracy, training minus test",
    "generalization_gap_loss": "Gap in loss, test minus training",
    "test_ece": "Calibration error (ECE)",
    "test_brier": "Brier score",
    "reported_epoch": "Epoch whose weights were kept",
    "epochs_run": "Epochs run",
    "parameters": "Parameters",
    "zero_weight_fraction": "Weights that are zero",
    "weight_norm": "Norm of the weights",
    "training_seconds": "Seconds of training",
}
"""What a result's tables show, in this order."""


@dataclass(frozen=True)
class Row:
    """A job in the list."""

    job: job_schemas.Job
    title: str
    full_title: str
    about: str


@router.get("/jobs")
def list_jobs(
    page: PageDep, query: Annotated[JobQuery, Query()], database: DatabaseDep, request: Request
) -> Response:
    """Jobs, as the address filters and sorts them."""
    order = parse_sort(query.sort)
    with database.read() as session:
        after = decode_cursor(query.cursor, order)
        found = find_jobs(session, query.filter(), after=after, limit=query.limit + 1, order=order)
        shown = found[: query.limit]
        places = store.queue_positions(session, shown)
        rows = [_row(job_serializers.serialize_listed_job(job, places.get(job.id))) for job in shown]
        cursor = encode_cursor(place_of(shown[-1], order), order) if len(found) > query.limit else None
    return page(
        "jobs.html.jinja",
        rows=rows,
        best=_best(rows),
        query=query,
        filtered=bool(query.model_fields_set - {"sort", "limit", "cursor"}),
        next_page=request.url.include_query_params(cursor=cursor).query if cursor else None,
        choices={"state": list(JobState), "technique": list(CATALOGUE), "dataset": list(DATASETS)},
        sorts=SORTS,
    )


@router.get("/jobs/{job_id}")
def show_job(
    page: PageDep, job_id: JobId, database: DatabaseDep, settings: SettingsDep, request: Request
) -> Response:
    """One job: how far it is, its curves, its specification, its result and what happened to it."""
    with database.read() as session:
        row = store.get_job_details(session, job_id)
        place = store.queue_positions(session, [row]).get(job_id)
        events = store.events_of(session, job_id)
        job = job_serializers.serialize_job_details(row, place)
    return page(
        "job.html.jinja",
        job=job,
        title=filters.title(job),
        standing=standing_words(job),
        events=events,
        facts=facts(job.spec),
        curl=format_curl(
            settings,
            str(request.base_url),
            "/v1/jobs",
            JobSpec.model_validate(job.spec).model_dump(mode="json", exclude_defaults=True),
        ),
        metrics=_get_metrics(job.result),
        digits=range(10),
    )


@router.get("/compare")
def compare_jobs(
    page: PageDep,
    database: DatabaseDep,
    job: Annotated[list[str], Query(min_length=1, max_length=_MOST_COMPARED, description="Jobs")],
    curve: Annotated[str | None, Query(description="Which curve is shown; read by the page itself")] = None,
) -> Response:
    """Jobs side by side: their curves, what differs in their specifications, and their results."""
    job_ids = [parse_id("job", item) for item in dict.fromkeys(job)]
    with database.read() as session:
        jobs = [job_serializers.serialize_job(job, None) for job in store.get_jobs(session, job_ids)]
    finished = [job for job in jobs if job.result]
    return page(
        "compare.html.jinja",
        jobs=[(job, filters.title(job), filters.full_title(job)) for job in jobs],
        differing=differences([job.spec for job in jobs]),
        results=[
            (label, [_get_metrics(job.result).get(label, "") for job in jobs]) for label in _METRICS.values()
        ],
        report="&".join(f"job={item.id}" for item in finished) if len(finished) > 1 else None,
    )


def standing_words(job: job_schemas.Job) -> str:
    """How far a job is, in a few words."""
    done = f"epoch {job.progress.epoch} of {job.progress.epochs}"
    match job.state:
        case JobState.QUEUED:
            return f"number {job.queue_position} in the queue" if job.queue_position else "in the queue"
        case JobState.RUNNING if job.progress.eta_seconds is not None:
            return f"{done}, about {format_duration(job.progress.eta_seconds)} left"
        case JobState.SUCCEEDED if job.result:
            return f"{job.result.epochs_run} epochs in {format_duration(job.result.training_seconds)}"
    return done


def facts(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A specification as a person reads it: what it is of, and its value."""
    dataset, model, training = spec["dataset"], spec["model"], spec["training"]
    optimizer = training["optimizer"]
    samples = dataset["train_samples"]
    network = (
        f"fully connected, {' - '.join(map(str, model['hidden_units']))} hidden units"
        if model["family"] == "mlp"
        else "convolutional"
    )
    found = [
        ("Dataset", dataset["name"] + (f", {samples:,} training images" if samples else "")),
        ("Network", f"{network}, {model['activation']}"),
        ("Regularization", format_techniques(spec["regularization"])),
        ("Optimizer", f"{optimizer['name']}, learning rate {optimizer['learning_rate']:g}"),
        ("Training", f"{training['epochs']} epochs, batches of {training['batch_size']}"),
        ("Seed", str(spec["seed"])),
    ]
    if dataset["label_noise"]:
        found.insert(1, ("Wrong labels", filters.percent(dataset["label_noise"])))
    return found


def differences(specs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """The fields in which specifications differ, each with its values; names are told elsewhere."""
    flat = [{field: json.dumps(value) for field, value in flatten(spec).items()} for spec in specs]
    fields = dict.fromkeys(field for item in flat for field in item)
    rows = [(field, [item.get(field, "-") for item in flat]) for field in fields]
    return [(field, values) for field, values in rows if len(set(values)) > 1 and field != "name"]


def _row(job: job_schemas.Job) -> Row:
    about = [
        format_techniques(job.spec["regularization"]),
        job.spec["dataset"]["name"],
        f"seed {job.spec['seed']}",
    ]
    title = filters.title(job)
    return Row(job, title, filters.full_title(job), ", ".join(item for item in about if item != title))


def _best(rows: Sequence[Row]) -> str | None:
    """The job on this page with the highest test accuracy, if there is more than one to compare."""
    finished = [(row.job.result.test_accuracy, row.job.id) for row in rows if row.job.result]
    return max(finished)[1] if len(finished) > 1 else None


def _get_metrics(result: job_schemas.Result | None) -> dict[str, str]:
    """What was measured, as it is written."""
    if result is None:
        return {}
    found = {label: getattr(result, name) for name, label in _METRICS.items()}
    return {label: _written(label, value) for label, value in found.items() if value is not None}


def _written(label: str, value: float) -> str:
    if "accuracy" in label or "Weights that" in label:
        return filters.percent(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.1f}" if "econds" in label else f"{value:.4f}"
