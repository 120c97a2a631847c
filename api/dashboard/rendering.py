"""Renders pages from templates, under a content security policy that runs only the service's own scripts."""

import re
from collections.abc import Callable, Coroutine, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension

from api import reports
from api.dashboard import filters, static_files
from api.dashboard.mathml import render_formula
from api.dashboard.pictures import draw_technique
from api.glossary import TERMS, link_terms
from api.http.dependencies import Caller
from api.http.problems import IS_PAGE, ProblemDocument
from api.http.root_path import add_root
from api.http.routing import StrictQueryRoute
from models.formatting import format_count, format_duration, list_techniques
from models.run_key import describe_point
from models.settings import Settings

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
NAVIGATION = {
    "/": "Overview",
    "/experiments": "Experiments",
    "/jobs": "Jobs",
    "/learn": "Learn",
    "/try": "Try it",
}


class RootPathLinks(Extension):
    """Has every absolute link in a template begin with the root path."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """The template with `add_root` in its links."""
        return _ABSOLUTE_LINK.sub(r'\1="{{ add_root("/") }}', source)


_ABSOLUTE_LINK = re.compile(r'\b(href|src|action)="/')
_TEMPLATES = Environment(
    extensions=[RootPathLinks],
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update(
    inline_code=filters.render_inline_code,
    job_title=filters.format_title,
    point=describe_point,
    full_job_title=filters.format_full_title,
    techniques=list_techniques,
    breakable=filters.render_breakable,
    duration=format_duration,
)
_TEMPLATES.globals.update(
    add_root=add_root,
    badge=filters.render_state_badge,
    symbol=filters.render_state_symbol,
    tab_title=filters.format_tab_title,
    tab_icon=filters.render_tab_icon,
    time_ago=filters.render_time_ago,
    percent=filters.format_percent,
    count=format_count,
    at_chance=filters.AT_CHANCE,
    is_at_chance=filters.is_job_at_chance,
    navigation=NAVIGATION,
    term=filters.link_term,
    terms=TERMS,
    script_terms=filters.list_terms,
    draw=draw_technique,
    formula=render_formula,
    static=static_files.build_url,
    module=static_files.render_module,
    version=version("regbench"),
)

ClientState = Annotated[str | None, Query(description="Read by the page's script only")]
RenderPage = Callable[..., Response]
"""Takes a template's name, and its variables by keyword."""


async def get_page_renderer(request: Request) -> RenderPage:
    """A function that renders the response to `request`."""

    def render(template: str, *, status: int = 200, **variables: Any) -> Response:
        return _render(request, template, status, variables)

    return render


RenderPageDep = Annotated[RenderPage, Depends(get_page_renderer)]


class PageRoute(StrictQueryRoute):
    """A route to a page: its problems are rendered as pages, whatever the client accepts."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler that FastAPI calls."""
        handle_strictly = super().get_route_handler()

        async def handle(request: Request) -> Response:
            request.scope["state"][IS_PAGE] = True
            # A browser sends the empty fields of a form, too: `state=&label=`.
            parts = request.scope["query_string"].split(b"&")
            filled = [part for part in parts if part.partition(b"=")[1:] != (b"=", b"")]
            request.scope["query_string"] = b"&".join(filled)
            return await handle_strictly(request)

        return handle


def render_problem_page(request: Request, problem: ProblemDocument, headers: Mapping[str, str]) -> Response:
    """A problem as a page."""
    page = _render(request, "problem.html.jinja", problem.status, {"problem": problem})
    page.headers.update(headers)
    page.headers.append("Vary", "Accept")
    return page


def _render(request: Request, template: str, status: int, variables: Mapping[str, Any]) -> Response:
    # Who opens a page may open a report next. A service that only programs call does not need the memory.
    reports.import_in_background()
    settings: Settings | None = getattr(request.app.state, "settings", None)
    # Set by AuthMiddleware, whose own problems are pages, too.
    caller: Caller | None = getattr(request.state, "caller", None)
    text = _TEMPLATES.get_template(template).render(
        path=request.url.path,
        user=caller if caller and caller.owner else None,
        needs_login=settings is not None and settings.api_keys_required != "false",
        **variables,
    )
    if template != "glossary.html.jinja":
        text = link_terms(text, add_root("/learn/glossary#"))
    headers = {"Content-Security-Policy": POLICY}
    return Response(text, status_code=status, media_type="text/html", headers=headers)
