"""The application as tests make it: once each, and many times."""

from functools import cache

from fastapi import FastAPI
from starlette.routing import BaseRoute

from api.app import create_app
from models.settings import Settings


def application(settings: Settings) -> FastAPI:
    """What `create_app` makes, with routes that are worked out once for all tests.

    FastAPI works out what each route takes and gives at an application's first request, which takes longer
    than most tests; it is the same for all settings.
    """
    app = create_app(settings)
    app.router.routes = _routes()
    return app


@cache
def _routes() -> list[BaseRoute]:
    return create_app(Settings()).router.routes
