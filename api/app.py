"""The application: `uvicorn api.app:create_app --factory`."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from anyio import CapacityLimiter
from cachetools import LRUCache
from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from api import api_keys, catalogue, dashboard, health, metrics, webhooks
from api.dashboard import docs_page, problem_pages
from api.dashboard.overview import render_overview
from api.dashboard.rendering import RenderPageDep
from api.datasets import routes as dataset_routes
from api.experiments import action_routes as experiment_action_routes
from api.experiments import routes as experiment_routes
from api.experiments import trials
from api.experiments.serializers import ExperimentSerializer
from api.http import idempotency, openapi, problems
from api.http import schemas as http_schemas
from api.http.auth import AuthMiddleware
from api.http.negotiation import Accept, negotiate
from api.http.root_path import RootPathMiddleware, add_root
from api.http.routing import StrictQueryRoute, VerbAliasMiddleware
from api.jobs import action_routes, batch_routes, downloads
from api.jobs import routes as job_routes
from api.jobs.status_loader import JobStatusLoader
from api.jobs.updates import JobUpdates
from api.predictions import routes as prediction_routes
from api.reports import bundle_routes, frozen_routes, recommendation_routes
from api.reports import routes as reports
from api.reports.cache import ReportCache
from migrations import exit_if_refused
from models.logs import configure_logging
from models.settings import Settings, get_settings
from models.store.database import Database
from models.store.quotas import Quotas
from models.tracing import start_tracing

DESCRIPTION = """\
Trains regularized and unregularized MNIST models and says, with evidence, which regularization helps.

Submit a job or an experiment, follow it, and fetch its report. Bodies are JSON; errors are problem documents
(RFC 9457), whose `errors` point to each invalid field.
"""

_SMALLEST_COMPRESSED_BYTES = 10_000
"""Smaller bodies fit into a few packets, and compressing a job would cost as much as loading it."""
_CORS_REQUEST_HEADERS = [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Prefer",
    "Range",
    "X-Request-Id",
]

_LINKS = {
    "documentation": "/docs",
    "jobs": "/v1/jobs",
    "experiments": "/v1/experiments",
    "presets": "/v1/presets",
    "techniques": "/v1/techniques",
    "datasets": "/v1/datasets",
    "readiness": "/readyz",
    "metrics": "/metrics",
}


def create_app(settings: Settings | None = None) -> FastAPI:
    """The REST service over the database and the broker that `settings` name."""
    is_served = settings is None
    if settings is None:
        # Started by a server, not as part of another program.
        settings = get_settings()
        exit_if_refused(settings)
        configure_logging(settings.log_format)
    app = FastAPI(
        title="Regbench",
        version=version("regbench"),
        description=DESCRIPTION,
        lifespan=run_lifespan,
        license_info={"name": "MIT", "identifier": "MIT"},
        servers=[{"url": "/", "description": "The service that served this document"}],
        openapi_tags=openapi.TAGS,
        generate_unique_id_function=openapi.build_operation_id,
        redirect_slashes=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.router.route_class = StrictQueryRoute
    database = Database(settings, quotas=Quotas(settings.max_queued_jobs, settings.max_flops_per_day))
    if is_served and start_tracing("api", settings):
        trace_requests(app, database)
    app.state.settings = settings
    app.state.database = database
    app.state.limits = prediction_routes.Limits()
    # One upload is read at a time: it keeps a processor busy.
    app.state.import_limiter = CapacityLimiter(1)
    app.state.readiness_check = health.ReadinessCheck(settings)
    app.state.state_counts = metrics.StateCounts()
    app.state.status_loader = JobStatusLoader(app.state.database)
    # By job id: ETag and body of the latest response. Not thread-safe: used by the event loop only.
    app.state.job_bodies = LRUCache(1_000)
    app.state.report_cache = ReportCache()
    app.state.experiment_serializer = ExperimentSerializer(settings)
    app.state.job_updates = JobUpdates(
        app.state.database,
        seconds=settings.stream_seconds,
        limit=settings.max_streams,
        limit_per_owner=settings.max_streams_per_owner,
    )
    # The last middleware added is the outermost: AuthMiddleware's own responses get a request id, too.
    app.add_middleware(
        GZipMiddleware,
        minimum_size=_SMALLEST_COMPRESSED_BYTES,
        compresslevel=5,
        # Event streams and pictures are excluded already; parts of a file must stay parts of the file.
        exclude_content_types=(*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/octet-stream"),
    )
    app.add_middleware(AuthMiddleware, settings=settings, database=app.state.database)
    problems.install(app, page=dashboard.render_problem_page)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.allowed_origins),
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=_CORS_REQUEST_HEADERS,
            expose_headers=[*openapi.HEADERS, "RateLimit", "RateLimit-Policy", "Idempotent-Replayed"],
        )
    app.add_middleware(VerbAliasMiddleware)
    app.add_middleware(RootPathMiddleware, root_path=settings.root_path)
    openapi.install(app)
    app.add_exception_handler(idempotency.Replayed, idempotency.send_stored_response)
    for part in (
        job_routes,
        action_routes,
        batch_routes,
        downloads,
        prediction_routes,
        experiment_routes,
        experiment_action_routes,
        trials,
        reports,
        frozen_routes,
        bundle_routes,
        recommendation_routes,
        catalogue,
        dataset_routes,
        dashboard,
        api_keys,
        webhooks,
        health,
        metrics,
        problem_pages,
        docs_page,
    ):
        app.include_router(part.router)
    app.add_api_route(
        "/",
        show_index,
        name="show_index",
        methods=["GET"],
        tags=["about"],
        response_model=http_schemas.Index,
        responses=openapi.build_text_responses("text/html"),
    )
    return app


def trace_requests(app: FastAPI, database: Database) -> None:
    """A span for each request, in the trace of its header `traceparent`, and one for each of its queries."""
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor  # noqa: PLC0415 (where switched on)
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor  # noqa: PLC0415 (the same)

    FastAPIInstrumentor.instrument_app(
        app, excluded_urls="/healthz,/readyz,/metrics,/static/", exclude_spans=["receive", "send"]
    )
    # It says that it knows SQLAlchemy up to 2.0; it uses events only, which 2.1 has, too.
    SQLAlchemyInstrumentor().instrument(engine=database.engine, skip_dep_check=True)


@asynccontextmanager
async def run_lifespan(app: FastAPI) -> AsyncIterator[None]:
    # What the process has loaded stays: no collection needs to scan it again. Drawing a report allocates
    # more objects than Python's default thresholds expect.
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
    updates: JobUpdates = app.state.job_updates
    async with updates.running():
        yield
    database: Database = app.state.database
    database.close()
    app.state.readiness_check.close()


def show_index(request: Request, response: Response, render: RenderPageDep, accept: Accept = "*/*") -> Any:
    """Where to go from here; for a browser the overview."""
    if negotiate(accept, ["application/json", "text/html"]) == "text/html":
        return render_overview(request, render)
    response.headers["Vary"] = "Accept"
    return http_schemas.Index(
        name="Regbench",
        version=version("regbench"),
        links={name: add_root(path) for name, path in _LINKS.items()},
    )
