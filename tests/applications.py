"""The application as tests create it: many times, with its routes built once."""

from functools import cache

from fastapi import FastAPI
from starlette.routing import BaseRoute

from api.app import create_app
from models.settings import Settings


def application(settings: Settings) -> FastAPI:
    """The app of `create_app`, with routes that are built once for all tests.

    FastAPI builds each route's parameters and responses at an application's first request, which takes longer
    than most tests; they are the same for all settings.
    """
    app = create_app(settings)
    app.router.routes = _routes()
    return app


@cache
def _routes() -> list[BaseRoute]:
    return create_app(Settings()).router.routes
