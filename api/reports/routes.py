"""Reports over HTTP: fetch the rows, compare, render in the format asked for."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy.orm import Session

from api import reports
from api.http import problem_types
from api.http.dependencies import DatabaseDep, ExperimentId
from api.http.negotiation import Accept, require_format
from api.http.openapi import documented
from api.http.routing import StrictQueryRoute
from api.reports.schemas import ChartCard, ChartList, Comparison, Curves
from models.errors import NotFound
from models.identifiers import ID_PATTERN
from models.store.experiment_runs import find_jobs_with_split_per_seed, get_runs
from models.store.experiments import get_experiment
from models.store.jobs import get_jobs
from models.store.report_data import load_deferred, load_summaries
from models.store.tables import Job

if TYPE_CHECKING:
    from api.reports.comparison import JobGroups, Summaries

router = APIRouter(prefix="/v1", tags=["reports"], route_class=StrictQueryRoute)

FormatName = Literal["json", "md", "html", "csv"]
Format = Annotated[FormatName | None, Query(description="Has precedence over the Accept header")]
Name = TypeVar("Name", bound=str)
JobIds = Annotated[
    list[Annotated[str, Query(pattern=ID_PATTERN)]],
    Query(alias="job", min_length=1, max_length=200, description="Ids of the jobs to compare"),
]
MEDIA_TYPES: dict[FormatName, str] = {
    "json": "application/json",
    "md": "text/markdown",
    "html": "text/html",
    "csv": "text/csv",
}
_PICTURE_TYPES: dict[Literal["svg", "png"], str] = {"svg": "image/svg+xml", "png": "image/png"}
MAX_POINTS = 200
_VARY = {"Vary": "Accept"}
# What is made from people's words may load and run nothing; images lie in the charts themselves.
CSP_HEADERS = {"Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'"}
_TEXT = {"schema": {"type": "string"}}
_PICTURES: dict[int | str, dict[str, Any]] = {200: {"content": dict.fromkeys(_PICTURE_TYPES.values(), _TEXT)}}
_FORMATS: dict[int | str, dict[str, Any]] = {
    200: {"content": {media_type: _TEXT for name, media_type in MEDIA_TYPES.items() if name != "json"}}
}


@router.get("/experiments/{experiment_id}/report", response_model=Comparison, responses=_FORMATS)
@documented(problem_types.NOT_ACCEPTABLE)
def show_experiment_report(
    experiment_id: ExperimentId,
    database: DatabaseDep,
    request: Request,
    format: Format = None,  # noqa: A002 (the parameter's name in the URL)
    accept: Accept = "*/*",
) -> Any:
    """An experiment's comparison, as JSON, Markdown, HTML or CSV; a partial one says what is missing."""
    requested_format = _choose_format(format, accept, MEDIA_TYPES)
    with database.read() as session:
        subject = _read_experiment(session, experiment_id, request)
        curves = _load(session, subject)
    return _render_report(_build_comparison(subject, curves), requested_format)


@router.get("/experiments/{experiment_id}/charts")
def list_experiment_charts(experiment_id: ExperimentId, database: DatabaseDep) -> ChartList:
    """The charts that an experiment's report can have, with their addresses."""
    with database.read() as session:
        get_experiment(session, experiment_id)
    here = f"/v1/experiments/{experiment_id}/charts"
    return ChartList(
        items=[
            ChartCard(
                name=name,
                title=chart.title,
                caption=chart.caption,
                svg=f"{here}/{name}?format=svg",
                png=f"{here}/{name}?format=png",
            )
            for name, chart in reports.charts.CHARTS.items()
        ]
    )


@router.get("/experiments/{experiment_id}/charts/{name}", response_class=Response, responses=_PICTURES)
@documented(problem_types.NOT_ACCEPTABLE)
def show_experiment_chart(
    experiment_id: ExperimentId,
    name: Annotated[
        str, Path(max_length=40, pattern=r"^[a-z-]+$", description="Name of a chart in the list")
    ],
    database: DatabaseDep,
    request: Request,
    format: Annotated[  # noqa: A002 (the parameter's name in the URL)
        Literal["svg", "png"] | None, Query(description="Has precedence over the Accept header")
    ] = None,
    accept: Accept = "*/*",
) -> Response:
    """One chart of an experiment's report, as SVG or PNG; 404 says why there is none."""
    form = _choose_format(format, accept, _PICTURE_TYPES)
    chart = reports.charts.CHARTS.get(name)
    if chart is None:
        raise NotFound(f"There is no chart {name}; choose one of {', '.join(reports.charts.CHARTS)}.")
    with database.read() as session:
        subject = _read_experiment(session, experiment_id, request)
        curves = _load(session, subject)
    comparison = _build_comparison(subject, curves)
    picture = reports.charts.render(comparison, name, form)
    if picture is None:
        raise NotFound(
            f"Experiment {experiment_id} has no chart {name}: {chart.explain_absence(comparison)}."
        )
    return Response(picture, media_type=_PICTURE_TYPES[form], headers=_VARY | CSP_HEADERS)


@router.get("/reports", response_model=Comparison, responses=_FORMATS)
@documented(problem_types.NOT_FOUND, problem_types.NOT_ACCEPTABLE)
def show_jobs_report(
    job: JobIds,
    database: DatabaseDep,
    request: Request,
    format: Format = None,  # noqa: A002 (the parameter's name in the URL)
    accept: Accept = "*/*",
) -> Any:
    """The same comparison over any jobs; those that differ in nothing but their seed are one variant."""
    requested_format = _choose_format(format, accept, MEDIA_TYPES)
    with database.read() as session:
        subject = reports.grouping.group_jobs(
            get_jobs(session, job),
            find_jobs_with_split_per_seed(session, job),
            settings=request.app.state.settings,
            base_url=str(request.base_url),
        )
        curves = _load(session, subject)
    return _render_report(_build_comparison(subject, curves), requested_format)


@router.get("/experiments/{experiment_id}/curves")
def show_experiment_curves(
    experiment_id: ExperimentId,
    database: DatabaseDep,
    request: Request,
    max_points: Annotated[
        int, Query(ge=2, le=MAX_POINTS, description="Maximum number of points of each curve")
    ] = MAX_POINTS,
) -> Curves:
    """Learning curves of each variant over its seeds: mean, and one standard deviation to each side."""
    with database.read() as session:
        subject = _read_experiment(session, experiment_id, request)
        result = load_summaries(session, _parse_ids(subject.variants))
    return reports.curves.build_curves(experiment_id, result, max_points=max_points)


def _choose_format(requested: Name | None, accept: str, media_types: Mapping[Name, str]) -> Name:
    if requested is not None:
        return requested
    media_type = require_format(accept, list(media_types.values()))
    return next(name for name, item in media_types.items() if item == media_type)


def _read_experiment(session: Session, experiment_id: str, request: Request) -> "JobGroups":
    return reports.grouping.group_experiment(
        get_experiment(session, experiment_id),
        get_runs(session, experiment_id),
        settings=request.app.state.settings,
        base_url=str(request.base_url),
    )


def _load(session: Session, subject: "JobGroups") -> "tuple[Summaries, dict[str, int]]":
    """All that the comparison reads, so that it holds no connection while it computes."""
    done = reports.comparison.select_finished(subject)
    results = [job.result for jobs in done.values() for job in jobs if job.result]
    load_deferred(session, results, "confusion")
    load_deferred(session, results, "test_correct")
    load_deferred(session, reports.comparison.find_diagnosed_results(subject), "diagnostics")
    ids = _parse_ids(done)
    summaries = load_summaries(session, ids)
    return summaries, reports.onsets.load_overfitting_onsets(session, ids, summaries)


def _parse_ids(variants: Mapping[str, Sequence[Job]]) -> dict[str, list[str]]:
    return {name: [job.id for job in jobs] for name, jobs in variants.items()}


def _build_comparison(subject: "JobGroups", curves: "tuple[Summaries, dict[str, int]]") -> Comparison:
    return reports.comparison.compare(subject, *curves, now=datetime.now(UTC), version=version("regbench"))


def _render_report(comparison: Comparison, output_format: FormatName) -> Response:
    if output_format == "json":
        # As it is: FastAPI would check every number of a large report once more.
        return Response(comparison.model_dump_json(), media_type="application/json", headers=_VARY)
    renderer = {"md": reports.markdown, "html": reports.html, "csv": reports.csv_table}[output_format]
    return Response(
        renderer.render(comparison), media_type=MEDIA_TYPES[output_format], headers=_VARY | CSP_HEADERS
    )
