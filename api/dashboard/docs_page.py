"""GET /docs: every operation on one page, made from the OpenAPI document.

FastAPI's own page loads its scripts from a content delivery network, which a closed installation may not
reach and would have to trust; this one loads the dashboard's own.
"""

import json
import shlex
from collections.abc import Iterator, Sequence
from html import escape
from itertools import chain
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from markupsafe import Markup

from api.dashboard.filters import render_inline_code
from api.dashboard.rendering import RenderPageDep
from api.http.etags import IfNoneMatch, build_not_modified, compute_document_etag, match_etag
from api.http.root_path import add_root
from api.http.routing import StrictQueryRoute

router = APIRouter(include_in_schema=False, route_class=StrictQueryRoute)

_FOR_MODELS = """\
A job trains one network (`POST /v1/jobs`, `{}` is valid); an experiment trains variants with several
seeds and compares them with a baseline (`POST /v1/experiments`, `{"preset": "dropout-vs-none",
"replicates": 6}`). Ask for the cost first: `?dry_run=true`. Follow with `Prefer: wait=20` and `If-None-
Match`, then read `/report?format=md`: quote its `headline` and `call`s, and claim no difference that
they do not. Errors are RFC 9457 documents whose `errors` point to each field. `regbench mcp` serves the
same as tools."""


@router.get("/openapi.json")
def download_openapi(request: Request, if_none_match: IfNoneMatch = None) -> Response:
    """The OpenAPI document."""
    servers = [server | {"url": add_root(server["url"])} for server in request.app.openapi()["servers"]]
    content = request.app.openapi() | {"servers": servers}
    document = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    tag = compute_document_etag(document)
    if match_etag(if_none_match, tag):
        return build_not_modified(tag)
    return Response(document, media_type="application/json", headers={"ETag": tag})


@router.get("/docs")
def show_documentation(request: Request, render: RenderPageDep) -> Response:
    """Every operation by tag, as HTML."""
    document: dict[str, Any] = request.app.openapi()
    sections: dict[str, str] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parameters = [
                (parameter["name"], parameter["in"], parameter.get("description", ""))
                for parameter in operation.get("parameters", ())
            ]
            responses = [
                (status, response.get("description", ""), ", ".join(response.get("content", ())))
                for status, response in operation["responses"].items()
            ]
            body = ", ".join(operation.get("requestBody", {}).get("content", ()))
            tag = operation["tags"][0]
            sections[tag] = sections.get(tag, f"<section><h2>{escape(tag.capitalize())}</h2>") + (
                f"<details><summary><code>{method.upper()} {escape(path)}</code> "
                f"{escape(operation['summary'])}</summary>"
                f"{_render_paragraphs(operation.get('description', ''))}"
                f"{_render_paragraphs(f'Request body: {body}.') if body else ''}"
                f"{_render_body(document, method, path, operation)}"
                f"{_render_table(parameters)}{_render_table(responses)}</details>"
            )
    sections = {tag: f"{section}</section>" for tag, section in sections.items()}
    return render(
        "docs.html.jinja",
        heading=f"{document['info']['title']} {document['info']['version']}",
        about=Markup(_render_paragraphs(document["info"]["description"])),  # noqa: S704 (escaped there)
        sections=[Markup(section) for section in sections.values()],  # noqa: S704 (escaped above)
    )


def _render_body(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    """The fields of a JSON body with their bounds, an example, and curl to copy."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return ""
    schema = content["schema"]
    fields_of_options = [
        _iter_fields(document["components"]["schemas"], option, "")
        for option in schema.get("anyOf", [schema])
    ]
    # The other forms of a body: `from` or `preset`, and what they mean.
    notes = [option["description"] for option in schema.get("anyOf", []) if "description" in option]
    rows = [*dict.fromkeys(chain.from_iterable(fields_of_options))]
    fields = f"<h3>Fields</h3>{''.join(map(_render_paragraphs, notes))}{_render_table(rows)}" if rows else ""
    if "example" not in content:
        return fields
    example = json.dumps(content["example"], ensure_ascii=False, indent=1)
    command = (
        f"curl -sS -X {method.upper()} http://127.0.0.1:8000{path} "
        f"-H 'Content-Type: application/json' -d {shlex.quote(example)}"
    )
    return f'{fields}<h3>Example</h3><pre tabindex="0">{escape(command)}</pre>'


def _iter_fields(
    schemas: dict[str, Any], schema: dict[str, Any], prefix: str
) -> Iterator[tuple[str, str, str]]:
    """Each field of an object, and of the objects in it: path with dots, values and default, description."""
    schema = _resolve(schemas, schema)
    for name, inner in schema.get("properties", {}).items():
        options = [_resolve(schemas, option) for option in inner.get("anyOf", inner.get("oneOf", [inner]))]
        values = " or ".join(dict.fromkeys(filter(None, map(_describe_values, options))))
        is_scalar = not isinstance(inner.get("default", {}), dict | list)
        default = f"; default {json.dumps(inner['default'])}" if is_scalar else ""
        yield f"{prefix}{name}", values + default, inner.get("description", "")
        for option in options:
            nested = _resolve(schemas, option["items"]) if "items" in option else option
            marker = "[]." if "items" in option else "."
            yield from _iter_fields(schemas, nested, f"{prefix}{name}{marker}")


def _resolve(schemas: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    resolved: dict[str, Any] = schemas[reference.rpartition("/")[2]] if reference else schema
    return resolved


def _describe_values(schema: dict[str, Any]) -> str:
    if "enum" in schema or "const" in schema:
        return ", ".join(map(str, schema.get("enum", [schema.get("const")])))
    bounds = [f"{words} {schema[key]}" for key, words in _BOUNDS.items() if key in schema]
    return ", ".join([str(schema.get("type", "any")), *bounds])


_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
    "maxLength": "characters at most",
    "minItems": "items at least",
    "maxItems": "items at most",
}


@router.get("/llms.txt")
def show_llms_txt(request: Request) -> PlainTextResponse:
    """What a language model needs to use the service, as Markdown (llmstxt.org)."""
    document: dict[str, Any] = request.app.openapi()
    lines = [
        f"# {document['info']['title']}",
        f"> {' '.join(document['info']['description'].split())}",
        _FOR_MODELS,
        "## Documents",
        f"- [OpenAPI document]({add_root('/openapi.json')}): every operation with its schema and examples",
        f"- [Reference]({add_root('/docs')}): the same as a page",
        f"- [Techniques]({add_root('/v1/techniques')}): each with its parameters and pitfalls",
        f"- [Presets]({add_root('/v1/presets')}): experiments that are ready to run",
    ]
    tag = ""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                lines.append(f"## {tag.capitalize()}")
            lines.append(f"- `{method.upper()} {path}`: {operation['summary']}")
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/markdown")


def _render_table(rows: Sequence[tuple[str, ...]]) -> str:
    lines = "".join(f"<tr>{''.join(f'<td>{render_inline_code(cell)}' for cell in row)}" for row in rows)
    return f"<table>{lines}</table>" if rows else ""


def _render_paragraphs(text: str) -> str:
    return "".join(f"<p>{render_inline_code(part)}</p>" for part in text.strip().split("\n\n") if part)
