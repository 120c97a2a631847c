"""How a page is made: a template, what it shows, and a policy under which it runs only its own scripts."""

from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api.dashboard import static, views

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


async def _page(request: Request) -> Page:
    def render(template: str, **shown: Any) -> Response:
        text = _templates().get_template(template).render(path=request.url.path, **shown)
        return Response(text, media_type="text/html", headers={"Content-Security-Policy": POLICY})

    return render


PageDep = Annotated[Page, Depends(_page)]


@lru_cache(maxsize=1)
def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["marked"] = views.marked
    made.globals.update(
        badge=views.badge,
        moment=views.moment,
        percent=views.percent,
        navigation=NAVIGATION,
        static=static.address,
        plotly=static.plotly_address,
        version=version("regbench"),
    )
    return made
