"""Pages about jobs: the list, one job, and several compared."""

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from sqlalchemy import Row
from sqlalchemy.orm import Session

from api import reports
from api.dashboard import filters
from api.dashboard.rendering import PageRoute, RenderPageDep
from api.dashboard.sparklines import draw_sparkline
from api.http.curl import format_curl
from api.http.dependencies import ArtifactsDep, CallerDep, DatabaseDep, JobId, SettingsDep, parse_id
from api.http.pagination import SORTS, decode_cursor, encode_cursor, parse_sort, split_page
from api.jobs import schemas as job_schemas
from api.jobs import serializers as job_serializers
from api.jobs.queries import JobQuery
from api.reports.mistake_schemas import JobMistake
from models.dataset_cards import DATASETS
from models.dataset_spec import DatasetSpec, compute_wrong_share
from models.documents import flatten
from models.formatting import format_count, format_duration, format_techniques
from models.identifiers import OWNER_PATTERN
from models.metrics import METRICS
from models.run_key import name_variant
from models.spec import STORED, JobSpec
from models.states import JobState
from models.store import jobs as store
from models.store.datasets import find_class_names, find_uploaded_names
from models.store.experiment_runs import find_variants
from models.store.experiments import get_experiment_names
from models.store.job_search import JobFilter, count_jobs, find_jobs, get_cursor
from models.store.queue_positions import get_queue_positions
from models.suggestions import list_field_paths
from models.techniques import CATALOGUE

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_MAX_COMPARED = 10
_MAX_COUNTED = 10_000
_MAX_SIBLINGS = 500
_CURVE_POINTS = 20


class ListPageQuery(JobQuery):
    """Which jobs, and of which owner."""

    owner: str | None = Field(None, pattern=OWNER_PATTERN)
    start: int = Field(1, ge=1, le=10**9, description="Of the page's first job, counted from the first page")


@router.get("/jobs")
def list_jobs(
    render: RenderPageDep,
    query: Annotated[ListPageQuery, Query()],
    caller: CallerDep,
    database: DatabaseDep,
    request: Request,
) -> Response:
    """Jobs, filtered and sorted by the query string."""
    order, url = parse_sort(query.sort), request.url.remove_query_params(["cursor", "start"])
    if caller.sees_all:
        database = database.for_owner(query.owner)
    with database.read() as session:
        after = decode_cursor(query.cursor, order)
        datasets = [*DATASETS, *find_uploaded_names(session, caller.owner)]
        jobs = find_jobs(session, query.filter(), after=after, limit=query.limit + 1, order=order)
        page, cursor = split_page(jobs, query.limit, lambda job: encode_cursor(get_cursor(job, order), order))
        positions = get_queue_positions(session, page)
        rows = [job_serializers.serialize_job(job, positions.get(job.id)) for job in page]
        curves = store.load_loss_curves(
            session, {job.id: job.epochs_done for job in page}, points=_CURVE_POINTS
        )
        experiments = get_experiment_names(session, [job.experiment_id or "" for job in page])
        total = count_jobs(session, query.filter(), most=_MAX_COUNTED, order=order)
    return render(
        "jobs.html.jinja",
        jobs=list(zip(rows, [job.owner for job in page], strict=True)),
        edits={job.id: _build_edit_address(job) for job in rows if job.error},
        curves={job_id: draw_sparkline(curve) for job_id, curve in curves.items()},
        columns={name: head for name, head in _COLUMNS.items() if caller.sees_all or name != "owner"},
        experiments=experiments,
        query=query,
        filtered=bool(query.model_fields_set - {"sort", "limit", "cursor", "start"}),
        position=_format_position(query.start, len(rows), total),
        first_page=url.query if query.start > 1 else None,
        next_page=url.include_query_params(cursor=cursor, start=query.start + len(rows)).query
        if cursor
        else None,
        choices={
            "state": {state: state for state in JobState},
            "technique": {name: technique.about.title for name, technique in CATALOGUE.items()},
            "dataset": {name: name for name in datasets},
        },
        sorts=SORTS,
        metric_titles={name: metric.title for name, metric in METRICS.items()},
        # The other direction of the column that the list is sorted by; of others the usual one first.
        sort_links={
            name: url.include_query_params(sort=name if query.sort == f"-{name}" else f"-{name}").query
            for name in _SORTED_COLUMNS
        },
        sees_all=caller.sees_all,
    )


_COLUMNS = {
    "state": "State",
    "experiment": "Experiment",
    "variant": "Variant",
    "seed": "Seed",
    "techniques": "Techniques",
    "test_accuracy": "Test accuracy",
    "test_loss": "Test loss",
    "generalization_gap_accuracy": "Gap, points",
    "training_seconds": "Seconds",
    "curve": "Loss by epoch",
    "owner": "Owner",
    "created_at": "Age",
}
"""The columns that can be hidden, with their heads; the job is always shown."""
_SORTED_COLUMNS = (
    "test_accuracy",
    "test_loss",
    "generalization_gap_accuracy",
    "training_seconds",
    "created_at",
)


def _format_position(start: int, rows: int, total: int | None) -> str:
    """Which rows of how many: `1-50 of 143`."""
    span = f"{start:,}-{start + rows - 1:,}" if rows > 1 else f"{start:,}"
    if total is None:
        return span
    return f"{span} of {total:,}" if total < _MAX_COUNTED else f"{span} of {total:,} or more"


@router.get("/jobs/{job_id}")
def show_job(
    render: RenderPageDep, job_id: JobId, database: DatabaseDep, settings: SettingsDep, request: Request
) -> Response:
    """One job: its progress, curves, specification, result and events."""
    with database.read() as session:
        row = store.get_job_details(session, job_id)
        position = get_queue_positions(session, [row]).get(job_id)
        events = store.get_events(session, job_id)
        variants = find_variants(session, job_id)
        siblings = _find_siblings(session, job_id, variants[0][0].id) if variants else []
        job = job_serializers.serialize_job_details(row, position)
        class_names = find_class_names(session, row.owner, DatasetSpec.model_validate(row.spec["dataset"]))
        is_linear = job.spec["model"] == job.spec["model"] | {"family": "mlp", "hidden_units": []}
        diagnostics = row.result.diagnostics if row.result and is_linear else None
    document = _build_document(job)
    own_index = next((index for index, sibling in enumerate(siblings) if sibling.id == job_id), 0)
    return render(
        "job.html.jinja",
        job=job,
        class_names=class_names,
        class_images=render_class_images(diagnostics) if diagnostics else [],
        progress=format_progress(job),
        events=events,
        variants=variants,
        previous=siblings[own_index - 1] if own_index > 0 else None,
        following=siblings[own_index + 1] if own_index + 1 < len(siblings) else None,
        summary=summarize(job.spec),
        edit=_build_edit_address(job),
        field=find_field(job.error.message) if job.error else None,
        curl=format_curl(settings, str(request.base_url), "/v1/jobs", document),
        metrics={
            metric.title: f"{metric.format_value(value)} {metric.format.unit}"
            for metric in METRICS.values()
            if (value := getattr(job.result, metric.name, None)) is not None
        },
        results=_format_results(job.result, siblings) if job.result else [],
    )


def _build_document(job: job_schemas.Job) -> dict[str, Any]:
    return JobSpec.model_validate(job.spec, context=STORED).model_dump(mode="json", exclude_defaults=True)


def _build_edit_address(job: job_schemas.Job) -> str:
    """Of the form that has a job's specification, at the field that made it fail, if one did."""
    field = find_field(job.error.message) if job.error else None
    spec = {"spec": json.dumps(_build_document(job), ensure_ascii=False)}
    return f"/new?{urlencode(spec | ({'field': field[0]} if field else {}))}"


@router.get("/jobs/{job_id}/mistakes", response_model=list[JobMistake])
def list_mistakes(
    job_id: JobId, database: DatabaseDep, artifacts: ArtifactsDep, settings: SettingsDep
) -> list[JobMistake]:
    """The test images that a job's model gets wrong, the surest of its answers first; some of them, drawn."""
    with database.read() as session:
        job = store.get_job_details(session, job_id)
        if job.result is None:
            return []
        return reports.mistakes.build_job_mistakes(job, artifacts, settings)


def find_field(message: str) -> tuple[str, str] | None:
    """The field of a specification that a message names: its JSON pointer, and its name with dots."""
    fields = {".".join(path) for path in list_field_paths(JobSpec)}
    name = next((word for word in re.findall(r"\w+(?:\.\w+)+", message) if word in fields), None)
    return None if name is None else (f"/{name.replace('.', '/')}", name)


def _find_siblings(session: Session, job_id: str, experiment_id: str) -> list[Row[Any]]:
    """The jobs of the same variant, point and part, by seed; none in an experiment too large for a page."""
    runs = find_jobs(
        session, JobFilter(experiment_ids=(experiment_id,)), after=None, limit=_MAX_SIBLINGS + 1, specs=False
    )
    own = next((run for run in runs if run.id == job_id), None)
    if own is None or len(runs) > _MAX_SIBLINGS:
        return []
    key = (own.variant, own.point, own.part, own.purpose)
    siblings = [run for run in runs if (run.variant, run.point, run.part, run.purpose) == key]
    return sorted(siblings, key=lambda run: run.seed)


def _format_results(result: job_schemas.Result, siblings: Sequence[Row[Any]]) -> list[tuple[str, str, str]]:
    """The five results that matter most: title, value, and the range of the variant's other seeds."""
    rows = []
    for name, title in _BIG_METRICS.items():
        metric, value = METRICS[name], getattr(result, name)
        if value is None:
            continue
        values = [other for run in siblings if (other := getattr(run, name)) is not None]
        unit = metric.format.unit
        low, high = (metric.format_value(bound) for bound in (min(values, default=0), max(values, default=0)))
        spread = f"{low} to {high} {unit} over {format_count(len(values), 'seed')}" if len(values) > 1 else ""
        rows.append((title, f"{metric.format_value(value)} {unit}", spread))
    return rows


_BIG_METRICS = {
    "test_accuracy": "Test accuracy",
    "test_loss": "Test loss",
    "generalization_gap_accuracy": "Gap in accuracy",
    "test_ece": "Calibration error",
    "training_seconds": "Training",
}


@router.get("/compare")
def compare_jobs(
    render: RenderPageDep,
    database: DatabaseDep,
    job: Annotated[list[str], Query(min_length=1, max_length=_MAX_COMPARED, description="Jobs")],
    curve: Annotated[
        str | None, Query(description="The selected curve; read by the page's script only")
    ] = None,
) -> Response:
    """Jobs compared: their curves, the differences of their specifications, and their results."""
    job_ids = [parse_id("job", job_id) for job_id in dict.fromkeys(job)]
    with database.read() as session:
        jobs = [job_serializers.serialize_job(row, None) for row in store.get_jobs(session, job_ids)]
    tested = [row.id for row in jobs if row.result and row.result.test_accuracy is not None]
    same_dataset = len({json.dumps(row.spec["dataset"], sort_keys=True) for row in jobs}) == 1
    same_images = same_dataset and len({row.result.dataset_sha256 for row in jobs if row.result}) <= 1
    return render(
        "compare.html.jinja",
        jobs=list(zip(jobs, _name_jobs(jobs), strict=True)),
        differences=find_differences([row.spec for row in jobs]),
        results=compare_results([row.result for row in jobs], comparable=same_images),
        same_dataset=same_dataset,
        same_images=same_images,
        seeds=len({row.spec["seed"] for row in jobs}),
        report="&".join(f"job={job_id}" for job_id in tested) if len(tested) > 1 else None,
    )


def compare_results(
    results: Sequence[job_schemas.Result | None], *, comparable: bool
) -> list[tuple[str, list[tuple[str, bool]]]]:
    """The metrics whose written values differ, by title: each value as text, and whether it is the best."""
    rows = []
    for metric in METRICS.values():
        values = [getattr(result, metric.name) if result else None for result in results]
        measured = [value for value in values if value is not None]
        texts = [
            "" if value is None else f"{metric.format_value(value)} {metric.format.unit}" for value in values
        ]
        if not measured or (len(set(texts)) == 1 and len(values) > 1):
            continue
        best = None
        # What is written alike is as good: 9.81 s beside 9.84 s, both as 9.8 s.
        if comparable and metric.direction and len({text for text in texts if text}) > 1:
            best = texts[values.index((max if metric.direction == "higher" else min)(measured))]
        rows.append((metric.title, [(text, text == best) for text in texts]))
    return rows


def render_class_images(diagnostics: Mapping[str, Any]) -> list[str]:
    """A linear model's weights for each class as PNG data URLs: red above zero, blue below, white at zero."""
    from PIL import Image  # noqa: PLC0415 (needed by few pages)

    fading = [255 - 2 * abs(level - 128) for level in range(256)]
    shades = [
        (255, max(fade, 0), max(fade, 0)) if level >= 128 else (max(fade, 0), max(fade, 0), 255)
        for level, fade in enumerate(fading)
    ]
    side, urls = diagnostics["first_layer_side"], []
    for pixels in diagnostics["first_layer"]:
        image, file = Image.frombytes("P", (side, side), base64.b64decode(pixels)), io.BytesIO()
        image.putpalette(bytes(chain(*shades)))
        image.save(file, "PNG")
        urls.append(f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}")
    return urls


def format_progress(job: job_schemas.Job) -> str:
    """A job's progress in a few words."""
    epoch = f"epoch {job.progress.epoch} of {job.progress.epochs}"
    match job.state:
        case JobState.QUEUED:
            return f"#{job.queue_position} in the queue" if job.queue_position else "in the queue"
        case JobState.RUNNING if job.progress.eta_seconds is not None:
            return f"{epoch}, about {format_duration(job.progress.eta_seconds)} left"
        case JobState.SUCCEEDED if job.result:
            epochs = format_count(job.result.epochs_run, "epoch")
            return f"{epochs} in {format_duration(job.result.training_seconds)}"
    return epoch


def summarize(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A specification for a reader: terms and their descriptions."""
    dataset, model, training = spec["dataset"], spec["model"], spec["training"]
    optimizer = training["optimizer"]
    momentum = f", momentum {optimizer['momentum']:g}" if optimizer["momentum"] else ""
    samples = dataset["train_samples"]
    network = (
        "convolutional"
        if model["family"] == "cnn"
        else f"fully connected, {' - '.join(map(str, model['hidden_units']))} hidden units"
    ) + f", {model['activation']}"
    if model["family"] == "mlp" and not model["hidden_units"]:
        network = "linear, without hidden layers"
    summary = [
        ("Dataset", dataset["name"] + (f", {format_count(samples, 'training image')}" if samples else "")),
        ("Network", network),
        ("Regularization", format_techniques(spec["regularization"])),
        ("Optimizer", f"{optimizer['name']}, learning rate {optimizer['learning_rate']:g}{momentum}"),
        ("Training", f"{format_count(training['epochs'], 'epoch')}, batch size {training['batch_size']}"),
        ("Seed", str(spec["seed"])),
    ]
    if dataset["label_noise"]:
        share = dataset["label_noise"]
        wrong = compute_wrong_share(share, DatasetSpec.model_validate(dataset).classes)
        text = f"{filters.format_percent(share)} drawn at random, {filters.format_percent(wrong)} wrong"
        summary.insert(1, ("Training labels", text))
    return summary


def find_differences(specs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """The fields other than the name in which specifications differ, each with its values."""
    flat = [
        {
            field: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for field, value in flatten(spec).items()
        }
        for spec in specs
    ]
    fields = dict.fromkeys(field for values in flat for field in values)
    rows = [(field, [values.get(field, "-") for values in flat]) for field in fields]
    return [(field, values) for field, values in rows if len(set(values)) > 1 and field != "name"]


def _name_jobs(jobs: Sequence[job_schemas.Job]) -> list[str]:
    """Their titles; where some are equal, also the fields in which those jobs differ, else a number."""
    titles = [filters.format_full_title(job) for job in jobs]
    names = list(titles)
    for title in {title for title in titles if titles.count(title) > 1}:
        positions = [position for position, other in enumerate(titles) if other == title]
        differences = find_differences([jobs[position].spec for position in positions])
        for index, position in enumerate(positions):
            leaves = flatten(jobs[position].spec)
            values = {f"/{field.replace('.', '/')}": leaves.get(field) for field, _ in differences}
            names[position] = name_variant(title, values) if values else f"{title} ({index + 1})"
    return names
