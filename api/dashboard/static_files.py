"""Serves the dashboard's styles and scripts."""

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from markupsafe import Markup

from api.http.etags import match_etag
from api.http.root_path import add_root
from api.http.routing import StrictQueryRoute
from models.errors import NotFound

router = APIRouter(include_in_schema=False, route_class=StrictQueryRoute)

FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript"}
_NAMES = frozenset(path.name for path in FOLDER.iterdir() if path.suffix in _TYPES)
_IMPORT = re.compile(r'^(?:import|export) [^";]* from "\./([^"]+)";$', re.MULTILINE)
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


def render_module(name: str) -> Markup:
    """The elements that run a script: what it imports is fetched at once, not one level after the other."""
    link = Markup('<link rel="modulepreload" href="{}">')
    links = [link.format(add_root(f"/static/{module}")) for module in list_imports(name)]
    script = Markup('<script type="module" src="{}"></script>').format(build_url(name))
    return Markup("\n").join([*links, script])


@lru_cache
def list_imports(name: str) -> tuple[str, ...]:
    """The scripts that one imports, itself or through others."""
    direct = _IMPORT.findall((FOLDER / name).read_text())
    indirect = [module for imported in direct for module in list_imports(imported)]
    return tuple(dict.fromkeys([*direct, *indirect]))


@lru_cache
def compute_digest(name: str) -> str:
    """The first 16 digits of a file's SHA-256."""
    return hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:16]
