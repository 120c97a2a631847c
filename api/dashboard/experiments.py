"""Pages about experiments: the list, one experiment, and the forms for new jobs and experiments."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from api.dashboard import forms
from api.dashboard.filters import is_accuracy_at_chance
from api.dashboard.rendering import ClientState, PageRoute, RenderPageDep
from api.dashboard.run_table import build_run_table
from api.experiments import schemas as experiment_schemas
from api.experiments import serializers as experiment_serializers
from api.experiments.presets import PRESETS
from api.experiments.queries import ExperimentQuery
from api.experiments.serializers import AccuracyDifference
from api.http.bodies import JsonObject, parse_body
from api.http.curl import format_curl
from api.http.dependencies import CallerDep, DatabaseDep, ExperimentId, SettingsDep
from api.http.pagination import decode_cursor, encode_cursor, parse_sort, split_page
from api.reports.frozen_routes import serialize_frozen_report
from models.axes import list_points
from models.dataset_cards import DATASETS
from models.datasets import is_available
from models.documents import merge_patch
from models.experiments import find_datasets
from models.follow_ups import choose_fresh_seeds
from models.formatting import format_count, format_duration
from models.identifiers import OWNER_PATTERN
from models.metrics import REPORTED, format_signed_interval
from models.run_key import describe_point, format_point, name_axis
from models.settings import Settings
from models.states import JobState
from models.stopping_rules import get_closed
from models.store import experiments as store
from models.store.database import Database
from models.store.datasets import find_uploaded_names
from models.store.experiment_runs import RunSummary, get_run_summaries
from models.store.experiment_search import find_experiments
from models.store.frozen_reports import find_reports
from models.store.job_search import Cursor
from models.store.remaining_time import get_pace
from models.store.report_data import load_dataset_uses
from models.techniques import CATALOGUE

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_SUGGESTED_SEEDS = 5
_MAX_FOREST = 6
"""Intervals of an experiment in the list."""


@dataclass(frozen=True)
class Action:
    """A button."""

    label: str
    path: str
    confirmation: str | None = None
    """What the user has to confirm first."""


class ListPageQuery(ExperimentQuery):
    """Which experiments, and of which owner."""

    owner: str | None = Field(None, pattern=OWNER_PATTERN)


@router.get("/experiments")
def list_experiments(
    render: RenderPageDep,
    query: Annotated[ListPageQuery, Query()],
    caller: CallerDep,
    database: DatabaseDep,
    request: Request,
) -> Response:
    """Experiments, filtered and sorted by the query string."""
    order = parse_sort(query.sort)
    serializer = experiment_serializers.get_serializer(request)
    if caller.sees_all:
        database = database.for_owner(query.owner)
    with database.read() as session:
        after = decode_cursor(query.cursor, order)
        rows = find_experiments(session, query.filter(), after=after, limit=query.limit + 1, order=order)
        rows, cursor = split_page(
            rows, query.limit, lambda row: encode_cursor(Cursor(getattr(row, order.by), row.id), order)
        )
        items = serializer.serialize(session, rows)
        answers = serializer.find_answers(session, rows)
    return render(
        "experiments.html.jinja",
        experiments=list(zip(items, [row.owner for row in rows], strict=True)),
        forests={
            name: draw_forest(answer.differences) for name, answer in answers.items() if answer.differences
        },
        format_progress=format_progress,
        query=query,
        filtered=bool(query.model_fields_set - {"sort", "limit", "cursor"}),
        next_page=request.url.include_query_params(cursor=cursor).query if cursor else None,
        sees_all=caller.sees_all,
    )


def draw_forest(differences: Sequence[AccuracyDifference]) -> list[dict[str, Any]]:
    """Where some intervals lie, called ones first, in percent of a width whose middle is no difference."""
    differences = sorted(differences, key=lambda item: item.call is None)[:_MAX_FOREST]
    widest = max(max(abs(item.low), abs(item.high)) for item in differences) or 1.0

    def scale(value: float) -> float:
        return round(50 + 48 * value / widest, 1)

    return [
        {
            "text": f"{item.variant}: {format_signed_interval(item.mean, item.low, item.high, 2)} points",
            "call": item.call,
            "low": scale(item.low),
            "mean": scale(item.mean),
            "high": scale(item.high),
        }
        for item in differences
    ]


@router.get("/experiments/{experiment_id}")
def show_experiment(
    experiment_id: ExperimentId,
    render: RenderPageDep,
    database: DatabaseDep,
    request: Request,
    curve: ClientState = None,
    difference: ClientState = None,
    baseline: ClientState = None,
    point: Annotated[str | None, Query(description="Of the axes, in words: only its runs")] = None,
) -> Response:
    """One experiment: its progress, its runs, its curves and its report."""
    with database.read() as session:
        row = store.get_experiment(session, experiment_id)
        serializer = experiment_serializers.get_serializer(request)
        (experiment,) = serializer.serialize(session, [row])
        # Its progress would be queried twice while it runs, and then the page is rendered again and again.
        answers = serializer.find_answers(session, [row]) if experiment.progress.finished else {}
        runs = get_run_summaries(session, experiment_id)
        judged = load_dataset_uses(session, row.owner, find_datasets(row.document))
        frozen = find_reports(session, experiment_id)
        related = store.get_experiment_names(session, [experiment.confirms or "", *experiment.follow_ups])
    names = [variant["name"] for variant in experiment.spec["variants"]]
    seeds = experiment.spec["seeds"]
    fresh_seeds = choose_fresh_seeds(seeds)
    points = {
        describe_point(values): format_point(values)
        for values in list_points(experiment.spec.get("axes", []))
    }
    selected = point if point in points else ""
    return render(
        "experiment.html.jinja",
        experiment=experiment,
        answers=answers[experiment_id].metrics if answers else (),
        progress=format_progress(experiment.progress),
        state=describe_state(experiment.progress),
        closed=get_closed(experiment.spec),
        run_table=build_run_table(
            runs,
            names,
            baseline=experiment.baseline,
            chance=_find_jobs_at_chance(runs, experiment.spec),
            points=[points[selected]] if selected else [*points.values()],
        ),
        axes=[name_axis(axis["field"]) for axis in experiment.spec.get("axes", [])],
        points=[words for words in points if words],
        point=selected,
        actions=build_actions(experiment),
        metrics=[
            asdict(metric) | {"contrast": metric.contrast, "contrast_unit": metric.contrast_unit}
            for metric in REPORTED
        ],
        technique_titles={name: technique.about.short_title for name, technique in CATALOGUE.items()},
        variants=names,
        first_new_seed=max(seeds) + 1,
        next_seeds=f"{max(seeds) + 1}-{max(seeds) + _SUGGESTED_SEEDS}",
        fresh_seeds=f"{fresh_seeds[0]}-{fresh_seeds[-1]}",
        related=related,
        judged=judged,
        frozen=[serialize_frozen_report(report, str(request.base_url)) for report in frozen],
    )


def _find_jobs_at_chance(runs: Sequence[RunSummary], spec: Mapping[str, Any]) -> set[str]:
    datasets = {
        variant["name"]: merge_patch(spec["base"], variant["changes"]).get("dataset", {})
        for variant in spec["variants"]
    }
    return {
        run.job_id
        for run in runs
        if run.test_accuracy is not None and is_accuracy_at_chance(run.test_accuracy, datasets[run.variant])
    }


@router.post("/new/curl")
async def format_form_curl(
    path: Literal["/v1/jobs", "/v1/experiments"],
    document: Annotated[JsonObject, Depends(parse_body(JsonObject))],
    request: Request,
    settings: SettingsDep,
) -> str:
    """The curl command that submits a form's document."""
    return format_curl(settings, str(request.base_url), path, document.root)


@router.get("/new")
def show_job_form(
    render: RenderPageDep,
    settings: SettingsDep,
    caller: CallerDep,
    database: DatabaseDep,
    spec: ClientState = None,
    field: ClientState = None,
) -> Response:
    """The form for one job."""
    return render(
        "new_job.html.jinja",
        tab="job",
        families=forms.build_families(),
        job=forms.build_job_section(),
        submit="Start training",
        **_build_dataset_choice(settings, database, caller.owner),
    )


@router.get("/new/experiment")
def show_experiment_form(
    render: RenderPageDep,
    settings: SettingsDep,
    caller: CallerDep,
    database: DatabaseDep,
    spec: ClientState = None,
    preset: ClientState = None,
    origin: Annotated[str | None, Query(alias="from", description="An experiment's id")] = None,
) -> Response:
    """The form for an experiment."""
    with database.read() as session:
        pace = get_pace(session)
    costs = {}
    for name in PRESETS:
        jobs, operations, programs = forms.price_preset(name)
        costs[name] = format_count(jobs, "job")
        if pace:
            duration = pace.estimate_seconds(operations, jobs=jobs, programs=programs)
            costs[name] += f", about {format_duration(duration)}"
    return render(
        "new_experiment.html.jinja",
        tab="experiment",
        presets=PRESETS,
        preset_costs=costs,
        families=forms.build_families(),
        submit="Start the experiment",
        rules=forms.build_experiment_rules(),
        stopping_rule=forms.build_stopping_rule(),
        axis_choices=forms.build_axis_choices(),
        **_build_dataset_choice(settings, database, caller.owner),
    )


def _build_dataset_choice(settings: Settings, database: Database, owner: str) -> dict[str, Any]:
    """A form's fields, the dataset that it preselects, and a note for each that has to be downloaded."""
    with database.read() as session:
        uploaded = find_uploaded_names(session, owner)
    available = [name for name in DATASETS if is_available(name, settings)]
    return {
        "sections": forms.build_sections([*DATASETS, *uploaded]),
        "dataset": available[0] if available else None,
        "notes": {name: "" if name in available else " (to be downloaded)" for name in DATASETS}
        | dict.fromkeys(uploaded, " (uploaded)"),
    }


def format_progress(progress: experiment_schemas.ExperimentProgress) -> str:
    """An experiment's progress in a few words."""
    succeeded = progress.counts[JobState.SUCCEEDED]
    text = f"{succeeded} of {progress.total + progress.deleted} succeeded"
    if progress.deleted:
        text += f", {progress.deleted} deleted"
    if progress.finished:
        return "finished" if succeeded == progress.total + progress.deleted else f"ended, {text}"
    if progress.eta_seconds is None:
        return text
    return f"{text}, about {format_duration(progress.eta_seconds)} left"


def describe_state(progress: experiment_schemas.ExperimentProgress) -> tuple[JobState, str]:
    """An experiment's state, for the colour of its badge, and in a word."""
    counts = progress.counts
    if progress.finished:
        failed = counts[JobState.FAILED] > 0
        return (JobState.FAILED, "ended with failures") if failed else (JobState.SUCCEEDED, "finished")
    if counts[JobState.RUNNING]:
        return JobState.RUNNING, "running"
    return (JobState.QUEUED, "queued") if counts[JobState.QUEUED] else (JobState.PAUSED, "paused")


def build_actions(experiment: experiment_schemas.Experiment) -> list[Action]:
    """The buttons of an experiment's page that apply to it now."""
    links, path = experiment.links, experiment.links.self
    cancel = "Cancel all unfinished jobs? Finished jobs are kept."
    actions = {
        Action("Pause", f"{path}/pause"): links.pause,
        Action("Resume", f"{path}/resume"): links.resume and experiment.progress.counts[JobState.PAUSED],
        Action("Cancel", f"{path}/cancel", confirmation=cancel): links.cancel,
        Action("Retry failed jobs", f"{path}/retry-failed"): links.retry_failed,
    }
    return [action for action, applies in actions.items() if applies]
