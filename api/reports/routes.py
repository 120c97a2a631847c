"""Reports over HTTP: fetch the rows, compare, render in the format asked for."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api import reports
from api.http import problem_types
from api.http.dependencies import DatabaseDep, ExperimentId
from api.http.etags import IfNoneMatch
from api.http.negotiation import Accept, require_format
from api.http.openapi import documented
from api.http.pagination import NO_NUL
from api.http.root_path import add_root
from api.http.routing import StrictQueryRoute
from api.reports.bias_variance_schemas import BiasVarianceReport
from api.reports.curves import Curves
from api.reports.ensemble_schemas import EnsembleReport
from api.reports.loading import RequestedReport, find_experiment_report, find_jobs_report
from api.reports.memorization_schemas import MemorizationReport
from api.reports.mistake_schemas import MistakeReport
from api.reports.rendering import (
    CSP_HEADERS,
    LINKED_CSP_HEADERS,
    MEDIA_TYPES,
    FormatName,
    render_document,
)
from api.reports.schemas import ChartCard, ChartList, Comparison
from api.reports.target_schemas import TargetMetric, TargetReport
from models.errors import NotFound
from models.experiments import MAX_VARIANT_NAME
from models.identifiers import ID_PATTERN
from models.store.experiments import get_experiment

router = APIRouter(prefix="/v1", tags=["reports"], route_class=StrictQueryRoute)

Format = Annotated[FormatName | None, Query(description="Has precedence over the Accept header")]
Baseline = Annotated[
    str | None,
    Query(
        max_length=MAX_VARIANT_NAME,
        pattern=NO_NUL,
        description="The variant to compare the others with, instead of the planned one",
    ),
]
Name = TypeVar("Name", bound=str)
JobIds = Annotated[
    list[Annotated[str, Query(pattern=ID_PATTERN)]],
    Query(alias="job", min_length=1, max_length=200, description="Ids of the jobs to compare"),
]
PictureName = Literal["svg", "png", "pdf"]
_PICTURE_TYPES: dict[PictureName, str] = {
    "svg": "image/svg+xml",
    "png": "image/png",
    "pdf": "application/pdf",
}
MAX_POINTS = 200


class ChartQuery(BaseModel):
    """How a chart is drawn."""

    model_config = ConfigDict(extra="forbid")

    format: PictureName | None = Field(None, description="Has precedence over the Accept header")
    width: float | None = Field(
        None,
        ge=3,
        le=7,
        description="Inches: 3.3 is one of two columns of a paper, 6.9 both; default: 4.6",
    )
    baseline: Baseline = None
    version: int | None = Field(
        None, ge=0, description="Changes nothing: another address of the same chart, for caches of browsers"
    )


_VARY = {"Vary": "Accept"}
_HTML_VARY = {"Vary": "Accept, Sec-Fetch-Dest"}
_TEXT = {"schema": {"type": "string"}}
_PICTURES: dict[int | str, dict[str, Any]] = {200: {"content": dict.fromkeys(_PICTURE_TYPES.values(), _TEXT)}}
_FORMATS: dict[int | str, dict[str, Any]] = {
    200: {"content": {media_type: _TEXT for name, media_type in MEDIA_TYPES.items() if name != "json"}}
}


@router.get("/experiments/{experiment_id}/report", response_model=Comparison, responses=_FORMATS)
@documented(problem_types.NOT_ACCEPTABLE, headers=("ETag",))
def show_experiment_report(
    experiment_id: ExperimentId,
    database: DatabaseDep,
    request: Request,
    format: Format = None,  # noqa: A002 (the parameter's name in the URL)
    baseline: Baseline = None,
    figures: Annotated[
        Literal["inline", "linked"] | None,
        Query(
            description="Whether HTML contains its figures, or a browser loads them as the page is scrolled; "
            "default: `linked` where a browser opens the page. Only a finished report can be `linked`."
        ),
    ] = None,
    accept: Accept = "*/*",
    if_none_match: IfNoneMatch = None,  # read by the cache
) -> Any:
    """An experiment's comparison: JSON, Markdown, HTML, CSV or LaTeX; a partial one says what is missing.

    With another `baseline` than planned, all pairs of variants count as tested.
    """
    requested_format = _choose_format(format, accept, MEDIA_TYPES)
    report = find_experiment_report(experiment_id, database, request, baseline)
    is_read_here = request.headers.get("Sec-Fetch-Dest") == "document" and figures is None
    # An unfinished report is cached nowhere: each figure would compute the comparison once more.
    if requested_format != "html" or not report.source.finished or not (is_read_here or figures == "linked"):
        return _render_report(report, requested_format)
    here = add_root(f"/v1/experiments/{experiment_id}")
    compared = {} if baseline is None else {"baseline": baseline}

    def render() -> bytes:
        return reports.html.render(
            report.get_comparison(),
            link_figure=lambda name: f"{here}/charts/{name}?{urlencode({'format': 'svg', **compared})}",
            download=f"{here}/report?{urlencode({'format': 'html', 'figures': 'inline', **compared})}",
        ).encode()

    return report.respond(
        "html-linked", render, media_type=MEDIA_TYPES["html"], headers=_HTML_VARY | LINKED_CSP_HEADERS
    )


@router.get("/experiments/{experiment_id}/charts")
def list_experiment_charts(experiment_id: ExperimentId, database: DatabaseDep) -> ChartList:
    """The charts that an experiment's report can have, with their addresses."""
    with database.read() as session:
        document = get_experiment(session, experiment_id).document
    axes = len(document.get("axes", []))
    # What these charts show only some experiments ask for.
    requested = {
        "robustness": document["base"].get("evaluation", {}).get("robustness", False),
        "bias-variance": bool(document.get("parts")),
        "ensembles": not document.get("parts") and not axes,
        "expected-best": bool(document.get("tune")),
        "tuned-parameters": bool(document.get("tune")),
        "trials": bool(document.get("tune")),
    }
    here = add_root(f"/v1/experiments/{experiment_id}/charts")
    return ChartList(
        items=[
            ChartCard(
                name=name,
                title=chart.title,
                caption=chart.caption,
                svg=f"{here}/{name}?format=svg",
                png=f"{here}/{name}?format=png",
                pdf=f"{here}/{name}?format=pdf&width=3.3",
            )
            for name, chart in reports.charts.CHARTS.items()
            if chart.axes in (0, axes) and requested.get(name, True)
        ]
    )


@router.get("/experiments/{experiment_id}/charts/{name}", response_class=Response, responses=_PICTURES)
@documented(problem_types.NOT_ACCEPTABLE, headers=("ETag",))
def show_experiment_chart(
    experiment_id: ExperimentId,
    name: Annotated[
        str, Path(max_length=40, pattern=r"^[a-z-]+$", description="Name of a chart in the list")
    ],
    database: DatabaseDep,
    request: Request,
    query: Annotated[ChartQuery, Query()],
    accept: Accept = "*/*",
    if_none_match: IfNoneMatch = None,  # read by the cache
) -> Response:
    """One chart of an experiment's report, as SVG, PNG or PDF; 404 says why there is none."""
    form = _choose_format(query.format, accept, _PICTURE_TYPES)
    chart = reports.charts.CHARTS.get(name)
    if chart is None:
        raise NotFound(f"There is no chart {name}; choose one of {', '.join(reports.charts.CHARTS)}.")
    report = find_experiment_report(experiment_id, database, request, query.baseline)

    def draw() -> bytes:
        comparison = report.get_comparison()
        picture = reports.charts.render(comparison, name, form, query.width or reports.charts.drawing.WIDTH)
        if picture is None:
            raise NotFound(
                f"Experiment {experiment_id} has no chart {name}: {chart.explain_absence(comparison)}."
            )
        return picture

    return report.respond(
        f"{name}-{query.width}.{form}", draw, media_type=_PICTURE_TYPES[form], headers=_VARY | CSP_HEADERS
    )


@router.get("/reports", response_model=Comparison, responses=_FORMATS)
@documented(problem_types.NOT_FOUND, problem_types.NOT_ACCEPTABLE, headers=("ETag",))
def show_jobs_report(
    job: JobIds,
    database: DatabaseDep,
    request: Request,
    format: Format = None,  # noqa: A002 (the parameter's name in the URL)
    accept: Accept = "*/*",
    if_none_match: IfNoneMatch = None,  # read by the cache
) -> Any:
    """The same comparison over any jobs; those that differ in nothing but their seed are one variant."""
    requested_format = _choose_format(format, accept, MEDIA_TYPES)
    return _render_report(find_jobs_report(job, database, request), requested_format)


@router.get("/experiments/{experiment_id}/curves", response_model=Curves)
@documented(headers=("ETag",))
def show_experiment_curves(
    experiment_id: ExperimentId,
    database: DatabaseDep,
    request: Request,
    max_points: Annotated[
        int, Query(ge=2, le=MAX_POINTS, description="Maximum number of points of each curve")
    ] = MAX_POINTS,
    if_none_match: IfNoneMatch = None,  # read by the cache
) -> Response:
    """Learning curves of each variant over its seeds: mean, and one standard deviation to each side."""
    report = find_experiment_report(experiment_id, database, request)

    def build() -> bytes:
        summaries = report.load_summaries()
        curves = reports.curves.build_curves(experiment_id, summaries, max_points=max_points)
        return curves.model_dump_json().encode()

    return report.respond(f"curves-{max_points}", build, media_type="application/json", headers={})


@router.get(
    "/experiments/{experiment_id}/bias-variance",
    response_model=BiasVarianceReport,
    responses={200: {"content": {"text/csv": _TEXT}}},
)
@documented(problem_types.NOT_ACCEPTABLE, headers=("ETag",))
def show_bias_variance(
    experiment_id: ExperimentId,
    database: DatabaseDep,
    request: Request,
    format: Annotated[  # noqa: A002 (the parameter's name in the URL)
        Literal["json", "csv"] | None, Query(description="Has precedence over the Accept header")
    ] = None,
    accept: Accept = "*/*",
    if_none_match: IfNoneMatch = None,  # read by the cache
) -> Response:
    """Bias and variance over disjoint parts of the training data, of an experiment with `parts`."""
    media_types = {"json": "application/json", "csv": "text/csv"}
    form = _choose_format(format, accept, media_types)
    report = find_experiment_report(experiment_id, database, request)

    def build() -> bytes:
        decomposed = report.build_bias_variance()
        if form == "csv":
            return reports.bias_variance_text.render_csv(decomposed).encode()
        return decomposed.model_dump_json().encode()

    return report.respond(f"bias-variance.{form}", build, media_type=media_types[form], headers=_VARY)


@router.get("/experiments/{experiment_id}/mistakes", response_model=MistakeReport)
@documented(headers=("ETag",))
def list_mistakes(
    experiment_id: ExperimentId,
    database: DatabaseDep,
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100, description="Maximum number of images of each variant")] = 20,
    if_none_match: IfNoneMatch = None,  # read by the cache
) -> Response:
    """Test images that a variant gets right and the baseline not, drawn; the nearest mistakes first.

    From the test predictions of the seeds that both have. None with axes or parts; `reason` says so.
    """
    report = find_experiment_report(experiment_id, database, request)

    def build() -> bytes:
        return report.load_mistakes(limit).model_dump_json().encode()

    return report.respond(f"mistakes-{limit}", build, media_type="application/json", headers={})


@router.get("/experiments/{experiment_id}/memorization", response_model=MemorizationReport)
@documented(headers=("ETag",))
def show_memorization(
    experiment_id: ExperimentId,
    database: DatabaseDep,
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100, description="Maximum number of images of each variant")] = 20,
    baseline: Baseline = None,
    if_none_match: IfNoneMatch = None,  # read by the cache
) -> Response:
    """Training images that models memorize: accuracy of models that saw one, minus that of the others.

    Of jobs with `evaluation.memorization`; what there is so far while others still run.
    """
    report = find_experiment_report(experiment_id, database, request, baseline)

    def build() -> bytes:
        return report.load_memorization(limit).model_dump_json().encode()

    return report.respond(f"memorization-{limit}", build, media_type="application/json", headers={})


@router.get("/experiments/{experiment_id}/ensembles", response_model=EnsembleReport)
@documented(headers=("ETag",))
def list_ensembles(
    experiment_id: ExperimentId,
    database: DatabaseDep,
    request: Request,
    if_none_match: IfNoneMatch = None,  # read by the cache
) -> Response:
    """Ensembles of 1 to M of a variant's seeds: accuracy, loss and Brier score of their mean probabilities.

    From the test predictions of at most 32 seeds; empty with axes or parts.
    """
    report = find_experiment_report(experiment_id, database, request)

    def build() -> bytes:
        return EnsembleReport(items=report.load_ensembles()).model_dump_json().encode()

    return report.respond("ensembles", build, media_type="application/json", headers={})


class TargetQuery(BaseModel):
    """What is to be reached."""

    model_config = ConfigDict(extra="forbid")

    metric: TargetMetric = Field("validation_loss", description="In what the target is")
    target: float | None = Field(
        None, ge=0, le=1000, description="Default: the best value that every seed of the baseline reached"
    )
    baseline: Baseline = None


@router.get("/experiments/{experiment_id}/time-to-target", response_model=TargetReport)
@documented(headers=("ETag",))
def show_time_to_target(
    experiment_id: ExperimentId,
    database: DatabaseDep,
    request: Request,
    query: Annotated[TargetQuery, Query()],
    if_none_match: IfNoneMatch = None,  # read by the cache
) -> Response:
    """Epochs, seconds and operations until each variant reaches a validation target, over its seeds.

    404 with axes or parts.
    """
    report = find_experiment_report(experiment_id, database, request, query.baseline)

    def build() -> bytes:
        targets = report.load_targets(query.metric, query.target)
        if targets is None:
            raise NotFound(f"Experiment {experiment_id} has axes or parts, so it has no time to a target.")
        return targets.model_dump_json().encode()

    return report.respond(
        f"target-{query.metric}-{query.target}", build, media_type="application/json", headers={}
    )


def _choose_format(requested: Name | None, accept: str, media_types: Mapping[Name, str]) -> Name:
    if requested is not None:
        return requested
    media_type = require_format(accept, list(media_types.values()))
    return next(name for name, item in media_types.items() if item == media_type)


def _render_report(report: RequestedReport, output_format: FormatName) -> Response:
    def render() -> bytes:
        return render_document(report.get_comparison(), output_format)

    headers = (_HTML_VARY if output_format == "html" else _VARY) | (
        {} if output_format == "json" else CSP_HEADERS
    )
    return report.respond(output_format, render, media_type=MEDIA_TYPES[output_format], headers=headers)
