"""Serves the dashboard's styles and scripts."""

import hashlib
from functools import lru_cache
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
_CACHED_FOR_A_YEAR = {"Cache-Control": "public, max-age=31536000, immutable"}


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


@lru_cache
def compute_digest(name: str) -> str:
    """The first 16 digits of a file's SHA-256."""
    return hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:16]
