"""Serves styles and scripts: the dashboard's own, and Plotly's from its installed package."""

import hashlib
import importlib.util
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from api.http.etags import match_etag
from api.http.root_path import add_root
from api.http.routing import StrictQueryRoute
from models.errors import NotFound

router = APIRouter(include_in_schema=False, route_class=StrictQueryRoute)

FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript"}
_NAMES = frozenset(path.name for path in FOLDER.iterdir() if path.suffix in _TYPES)
_PLOTLY_RELEASE = version("plotly")
_CACHED_FOR_A_YEAR = {"Cache-Control": "public, max-age=31536000, immutable"}


@router.get("/static/plotly-{release}.js")
def show_plotly(release: str) -> Response:
    """Plotly's script, in the installed release."""
    if release != _PLOTLY_RELEASE:
        raise NotFound(f"There is no Plotly {release} here.")
    # Located without an import, which would take a second and many megabytes.
    spec = importlib.util.find_spec("plotly")
    if spec is None or spec.origin is None:
        raise NotFound("Plotly is not installed.")
    script = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    return FileResponse(script, media_type="text/javascript", headers=_CACHED_FOR_A_YEAR)


@router.get("/static/{name}")
def show_file(name: str, request: Request, v: Annotated[str | None, Query()] = None) -> Response:
    """A style or script: cached for a year if the URL contains its digest, else revalidated each time."""
    if name not in _NAMES:
        raise NotFound(f"There is no file {name} here.")
    digest = compute_digest(name)
    caching = _CACHED_FOR_A_YEAR if v == digest else {"Cache-Control": "no-cache"}
    headers = caching | {"ETag": f'"{digest}"'}
    if match_etag(request.headers.get("If-None-Match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return FileResponse(FOLDER / name, media_type=_TYPES[Path(name).suffix], headers=headers)


def build_url(name: str) -> str:
    """The URL of a style or script, with its digest."""
    return add_root(f"/static/{name}?v={compute_digest(name)}")


def build_plotly_url() -> str:
    """The URL of Plotly's script."""
    return add_root(f"/static/plotly-{_PLOTLY_RELEASE}.js")


@lru_cache
def compute_digest(name: str) -> str:
    """The first 16 digits of a file's SHA-256."""
    return hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:16]
