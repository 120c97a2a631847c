"""The application: `uvicorn api.app:create_app --factory`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from api import catalogue, experiments, health, jobs, metrics, openapi, predictions, problems, schemas
from api.reports import routes as reports
from models.database import Database
from models.settings import Settings, get_settings

DESCRIPTION = """\
Trains regularized and unregularized MNIST models and says, with evidence, which regularization helps.

Submit a job or an experiment, follow it, and fetch its report. Bodies are JSON; errors are problem documents
(RFC 9457), whose `errors` point to each field at fault.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The REST service over the database and the broker that `settings` name."""
    settings = settings or get_settings()
    app = FastAPI(
        title="Regbench",
        version=version("regbench"),
        description=DESCRIPTION,
        lifespan=_lifespan,
        responses=openapi.PROBLEM_RESPONSES,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.database = Database(settings)
    app.state.limits = predictions.Limits()
    problems.install(app)
    openapi.install(app)
    for part in (jobs, predictions, experiments, reports, catalogue, health, metrics):
        app.include_router(part.router)
    app.add_api_route("/", _index, methods=["GET"], tags=["health"], summary="Where to go from here")
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    database: Database = app.state.database
    database.close()


def _index() -> schemas.Index:
    return schemas.Index(
        name="Regbench",
        version=version("regbench"),
        links={
            "documentation": "/docs",
            "jobs": "/v1/jobs",
            "experiments": "/v1/experiments",
            "presets": "/v1/presets",
            "techniques": "/v1/techniques",
            "datasets": "/v1/datasets",
            "readiness": "/readyz",
            "metrics": "/metrics",
        },
    )
