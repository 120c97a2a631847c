"""Styles and scripts: the dashboard's own, and Plotly's out of its installed package."""

import hashlib
import importlib.util
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from api.http.routing import StrictQueryRoute
from models.errors import NotFound

router = APIRouter(include_in_schema=False, route_class=StrictQueryRoute)

FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript"}
_FOR_A_YEAR = {"Cache-Control": "public, max-age=31536000, immutable"}


@router.get("/static/plotly-{release}.js")
def show_plotly(release: str) -> Response:
    """Plotly's script, of the installed release."""
    if release != _plotly_release():
        raise NotFound(f"There is no Plotly {release} here.")
    # Found without importing it: that would take the API a second and many megabytes.
    spec = importlib.util.find_spec("plotly")
    if spec is None or spec.origin is None:
        raise NotFound("Plotly is not installed.")
    script = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    return FileResponse(script, media_type="text/javascript", headers=_FOR_A_YEAR)


@router.get("/static/{name}")
def show_file(name: str, request: Request, v: Annotated[str | None, Query()] = None) -> Response:
    """A style or script. Whoever names its digest may keep it; others ask again each time."""
    if name not in _names():
        raise NotFound(f"There is no file {name} here.")
    tag = f'"{digest(name)}"'
    headers = _FOR_A_YEAR if v == digest(name) else {"Cache-Control": "no-cache"}
    if request.headers.get("If-None-Match") == tag:
        return Response(status_code=304, headers=headers | {"ETag": tag})
    return FileResponse(FOLDER / name, media_type=_TYPES[Path(name).suffix], headers=headers | {"ETag": tag})


def address(name: str) -> str:
    """Where a page finds a file of this release."""
    return f"/static/{name}?v={digest(name)}"


def plotly_address() -> str:
    """Where a page finds Plotly."""
    return f"/static/plotly-{_plotly_release()}.js"


@lru_cache
def _names() -> frozenset[str]:
    return frozenset(path.name for path in FOLDER.iterdir() if path.suffix in _TYPES)


@lru_cache
def digest(name: str) -> str:
    """The beginning of a file's SHA-256."""
    return hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:16]


@lru_cache
def _plotly_release() -> str:
    return version("plotly")
