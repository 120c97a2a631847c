"""How a page is made: a template, what it shows, and a policy under which it runs only its own scripts."""

from collections.abc import Callable, Coroutine, Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api.dashboard import filters, static_files
from api.http.problems import IS_PAGE, ProblemDocument
from api.http.routing import StrictQueryRoute

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Styles in place are Plotly's: it writes them into the elements that it makes."""
NAVIGATION = {
    "/jobs": "Jobs",
    "/experiments": "Experiments",
    "/new": "New",
    "/try": "Try it",
    "/learn": "Learn",
}

Page = Callable[..., Response]
"""Given a template's name and what it shows."""


def page_for(request: Request) -> Page:
    """What makes the answer to `request`."""

    def render(template: str, *, status: int = 200, **shown: Any) -> Response:
        text = _templates().get_template(template).render(path=request.url.path, **shown)
        headers = {"Content-Security-Policy": POLICY}
        return Response(text, status_code=status, media_type="text/html", headers=headers)

    return render


async def _page(request: Request) -> Page:
    return page_for(request)


PageDep = Annotated[Page, Depends(_page)]


class PageRoute(StrictQueryRoute):
    """A route to a page: whoever asks, its problems are pages as well."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler that FastAPI calls."""
        usual = super().get_route_handler()

        async def handle(request: Request) -> Response:
            request.scope["state"][IS_PAGE] = True
            request.scope["query_string"] = _chosen(request.scope["query_string"])
            return await usual(request)

        return handle


def problem_page(request: Request, problem: ProblemDocument, headers: Mapping[str, str]) -> Response:
    """A problem as a page."""
    page = page_for(request)("problem.html.jinja", status=problem.status, problem=problem)
    page.headers.update(headers)
    page.headers.append("Vary", "Accept")
    return page


def _chosen(query: bytes) -> bytes:
    """A query without what a form says of the fields that were left empty."""
    parts = query.split(b"&")
    return b"&".join(part for part in parts if part.partition(b"=")[1:] != (b"=", b""))


@lru_cache(maxsize=1)
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["marked"] = filters.marked
    environment.globals.update(
        badge=filters.badge,
        moment=filters.moment,
        percent=filters.percent,
        navigation=NAVIGATION,
        static=static_files.address,
        plotly=static_files.plotly_address,
        version=version("regbench"),
    )
    return environment
