"""Routes that refuse unknown query parameters, and the second spelling of custom verbs."""

import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.request_metrics import ROUTE


class StrictQueryRoute(APIRoute):
    """A route that refuses query parameters that it does not have: misspelt, they would change nothing."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler that FastAPI calls."""
        usual = super().get_route_handler()

        async def handle(request: Request) -> Response:
            request.scope["state"][ROUTE] = request.scope["route"].path
            # Not a dependency: FastAPI would resolve it for every request, though few have a query.
            if request.scope["query_string"]:
                allowed = _get_query_parameters(request.scope["route"].dependant)
                offered = f"there are {', '.join(sorted(allowed))}" if allowed else "nor any other"
                hint = f"there is no such parameter here; {offered}"
                if unknown := [name for name in request.query_params if name not in allowed]:
                    raise RequestValidationError(
                        [{"type": "unknown", "loc": ("query", name), "msg": hint} for name in unknown]
                    )
            return await usual(request)

        return handle


def _get_query_parameters(dependant: Dependant) -> set[str]:
    own = get_flat_params(Dependant(query_params=dependant.query_params))
    return {field.alias for field in own}.union(*map(_get_query_parameters, dependant.dependencies))


class VerbAliasMiddleware:
    """`POST .../{id}:cancel`, as Google's AIP-136 spells it, is an alias of `POST .../{id}/cancel`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            alias = _VERB_ALIAS.fullmatch(scope["path"])
            if alias:
                path = "/".join(alias.groups())
                scope = {**scope, "path": path, "raw_path": path.encode()}
        await self.app(scope, receive, send)


_VERB_ALIAS = re.compile(r"(/v1/[\w/-]+):([a-z][a-z-]*)")
