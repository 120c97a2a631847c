"""GET /docs: every operation on one page, made from the OpenAPI document.

FastAPI's own page loads its scripts from a content delivery network, which a closed installation may not
reach and would have to trust; this one loads and runs nothing.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from api.http.routing import StrictQueryRoute

router = APIRouter(include_in_schema=False, route_class=StrictQueryRoute)

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "code{background:#f2f2f2;padding:.1em .3em}summary{cursor:pointer;padding:.2rem 0}"
    "details{border-bottom:1px solid #ddd}table{border-collapse:collapse}td{padding:.1rem 1rem .1rem 0;"
    "vertical-align:top}"
)


@router.get("/docs")
def show_documentation(request: Request) -> HTMLResponse:
    """The page for people."""
    document = request.app.openapi()
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = (operation.get("tags") or ["other"])[0]
            by_tag.setdefault(tag, []).append(_render_operation(method.upper(), path, operation))
    page = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>',
        f"<style>{_STYLE}</style><h1>{title}</h1>",
        _render_paragraphs(document["info"].get("description", "")),
        '<p>For programs: <a href="/openapi.json">the OpenAPI document</a>.</p>',
        *(f"<h2>{escape(tag.capitalize())}</h2>{''.join(rendered)}" for tag, rendered in by_tag.items()),
    ]
    return HTMLResponse("".join(page), headers={"Content-Security-Policy": _POLICY})


def _render_operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parameters = [
        (item["name"], item["in"], item.get("description", "")) for item in operation.get("parameters", ())
    ]
    responses = [
        (status, item.get("description", ""), ", ".join(item.get("content", ())))
        for status, item in operation["responses"].items()
    ]
    media_types = ", ".join(operation.get("requestBody", {}).get("content", ()))
    return (
        f"<details><summary><code>{method} {escape(path)}</code> {escape(operation.get('summary', ''))}"
        f"</summary>{_render_paragraphs(operation.get('description', ''))}"
        f"{_render_paragraphs(f'Request body: {media_types}.') if media_types else ''}"
        f"{_render_table(parameters)}{_render_table(responses)}</details>"
    )


def _render_table(rows: Sequence[tuple[str, ...]]) -> str:
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}' for cell in row)}" for row in rows)
    return f"<table>{lines}</table>" if rows else ""


def _render_paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(part)}</p>" for part in text.strip().split("\n\n") if part)
