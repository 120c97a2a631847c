"""Serves the dashboard's styles and scripts."""

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from markupsafe import Markup

from api.http.etags import match_etag
from api.http.root_path import add_root
from api.http.routing import StrictQueryRoute
from models.errors import NotFound

router = APIRouter(include_in_schema=False, route_class=StrictQueryRoute)

FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript"}
_NAMES = frozenset(path.name for path in FOLDER.iterdir() if path.suffix in _TYPES)
_IMPORT = re.compile(r'^((?:import|export) [^";]* from "\./)([^"]+)(";)$', re.MULTILINE)
_CACHED_FOR_A_YEAR = {"Cache-Control": "public, max-age=31536000, immutable"}


@dataclass(frozen=True)
class StaticFile:
    """A style or script as it is sent."""

    content: bytes
    compressed: bytes
    """With gzip."""
    digest: str
    """The first 16 digits of the content's SHA-256."""
    imports: tuple[str, ...]
    """The names of the scripts that it imports, itself or through others."""


@cache
def load_file(name: str) -> StaticFile:
    """The file of that name in `FOLDER`, in memory until the process ends.

    The addresses of imported scripts get their digests: else browsers would revalidate all scripts of a page.
    """
    text = (FOLDER / name).read_text()
    imports = [imported for _, imported, _ in _IMPORT.findall(text)]
    indirect = [module for imported in imports for module in load_file(imported).imports]
    content = _IMPORT.sub(
        lambda match: f"{match[1]}{match[2]}?v={load_file(match[2]).digest}{match[3]}", text
    ).encode()
    return StaticFile(
        content=content,
        compressed=gzip.compress(content, mtime=0),
        digest=hashlib.sha256(content).hexdigest()[:16],
        imports=tuple(dict.fromkeys([*imports, *indirect])),
    )


@router.get("/static/{name}")
def show_file(name: str, request: Request, v: Annotated[str | None, Query()] = None) -> Response:
    """A style or script: cached for a year if the URL contains its digest, else revalidated each time."""
    if name not in _NAMES:
        raise NotFound(f"There is no file {name} here.")
    file = load_file(name)
    caching = _CACHED_FOR_A_YEAR if v == file.digest else {"Cache-Control": "no-cache"}
    headers = caching | {"ETag": f'W/"{file.digest}"', "Vary": "Accept-Encoding"}
    if match_etag(request.headers.get("If-None-Match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    content = file.content
    # Also what is smaller than other bodies that are compressed: the work is done once.
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        content, headers["Content-Encoding"] = file.compressed, "gzip"
    return Response(content, media_type=_TYPES[Path(name).suffix], headers=headers)


def build_url(name: str) -> str:
    """The URL of a style or script, with its digest."""
    return add_root(f"/static/{name}?v={load_file(name).digest}")


def render_module(name: str) -> Markup:
    """The elements that run a script: what it imports is fetched at once, not one level after the other."""
    link = Markup('<link rel="modulepreload" href="{}">')
    links = [link.format(build_url(module)) for module in load_file(name).imports]
    script = Markup('<script type="module" src="{}"></script>').format(build_url(name))
    return Markup("\n").join([*links, script])
