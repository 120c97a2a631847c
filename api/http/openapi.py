"""The OpenAPI document: what FastAPI generates from the routes, and additions.

FastAPI knows paths, parameters and answers. Added here: request bodies (`accepts` says which, at a route's
dependencies), each operation's problems by status (`problem_responses` in api/http/problem_types.py),
headers, and the examples in api/http/examples.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from itertools import groupby
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.http import problem_types
from api.http.problem_types import F, get_problem_types
from api.http.problems import MEDIA_TYPE, ProblemDocument

EXAMPLES = Path(__file__).parent / "examples"

_SCHEMA = "#/components/schemas/{model}"

TAGS = [
    {"name": "jobs", "description": "One training each: submit it, follow it, fetch what came out."},
    {"name": "experiments", "description": "Variants of one specification, each trained with each seed."},
    {
        "name": "reports",
        "description": "What a comparison of finished jobs shows, and what it cannot.",
    },
    {"name": "predictions", "description": "What trained models make of images."},
    {"name": "catalogue", "description": "What there is to choose from: techniques, datasets, presets."},
    {"name": "keys", "description": "API keys and the audit trail, for keys of the scope admin."},
    {"name": "webhooks", "description": "Addresses that are told when a job ends."},
    {"name": "health", "description": "Is the service alive, ready, and what has it done?"},
    {"name": "about", "description": "The service about itself: where to begin, and what its problems mean."},
]

HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "Name of this request in the service's log; the client's own, if it sent a plain one",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    },
    "Location": {
        "description": "Path of what was created",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Link": {
        "description": '`<path>; rel="next"`: the next page; absent on the last one',
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds until it is worth asking again; absent where nothing will change",
        "schema": {"type": "integer", "minimum": 0},
    },
    "ETag": {
        "description": "What this answer shows; send it back as `If-None-Match`",
        "schema": {"type": "string"},
    },
    "Preference-Applied": {
        "description": "`wait=N`, where `Prefer: wait=N` was honoured",
        "schema": {"type": "string"},
    },
    "Allow": {"description": "The methods that the path can be asked with", "schema": {"type": "string"}},
}


@dataclass(frozen=True)
class RequestBody:
    """What a dependency reads from a request's body."""

    model: type[BaseModel]
    content: dict[str, dict[str, Any]]
    """By media type, as OpenAPI has it."""


def accepts(
    model: type[BaseModel],
    *,
    or_else: dict[str, Any] | None = None,
    formats: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[F], F]:
    """Declare the JSON document that a dependency reads: the OpenAPI document shows it for each route.

    `or_else` is the schema of another JSON document, `formats` are schemas by other media types.
    """
    schema: dict[str, Any] = {"$ref": _SCHEMA.format(model=model.__name__)}
    schemas = {"application/json": {"anyOf": [schema, or_else]} if or_else else schema, **(formats or {})}
    body = RequestBody(model, {media_type: {"schema": schema} for media_type, schema in schemas.items()})

    def mark(function: F) -> F:
        function.__dict__["request_body"] = body
        return function

    return mark


def build_text_responses(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """The part of a route that says which texts it answers with."""
    return {200: {"content": {media_type: {"schema": {"type": "string"}} for media_type in media_types}}}


def response_headers(*headers: str, status: HTTPStatus = HTTPStatus.OK) -> Callable[[F], F]:
    """Say of a route which of `HEADERS` its answers of this status may carry."""

    def mark(function: F) -> F:
        by_status: dict[HTTPStatus, tuple[str, ...]] = function.__dict__.setdefault("headers", {})
        by_status[status] = headers
        return function

    return mark


def build_operation_id(route: APIRoute) -> str:
    """The name of a route as generated clients spell it: `list_jobs` gives `listJobs`."""
    first, *rest = route.name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def install(app: FastAPI) -> None:
    """Extend the document that FastAPI generates."""
    generate = app.openapi

    def generate_extended() -> dict[str, Any]:
        # FastAPI caches the document, including these additions.
        if app.openapi_schema is not None:
            return app.openapi_schema
        document = generate()
        # Either a key or none: an installation on one machine needs none.
        document["security"] = [{"key": []}, {}]
        models: list[type[BaseModel]] = [ProblemDocument]
        for route in iter_route_contexts(app.routes):
            for method in route.methods or ():
                operation = document["paths"].get(route.path_format, {}).get(method.lower())
                if operation is not None:
                    models += _extend_operation(operation, route)
        components = document["components"]
        components["headers"] = HEADERS
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        components["examples"] = {
            code: {"summary": problem_types.TYPES[code].title, "value": value}
            for code, value in read_examples()["problems"].items()
        }
        for validation in ("HTTPValidationError", "ValidationError"):
            components["schemas"].pop(validation, None)
        _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_SCHEMA)
        components["schemas"] |= definitions["$defs"]
        return document

    app.openapi = generate_extended  # type: ignore[method-assign]  # the way that FastAPI documents


def _extend_operation(operation: dict[str, Any], route: RouteContext) -> list[type[BaseModel]]:
    """Add request body, headers, problems and examples; returns the models of the request body."""
    dependants = list(_iter_dependants(route.dependant))
    bodies: list[RequestBody] = [
        dependant.call.__dict__["request_body"]
        for dependant in dependants
        if hasattr(dependant.call, "request_body")
    ]
    examples = read_examples().get(operation["operationId"], {})
    for body in bodies:
        operation["requestBody"] = {"required": True, "content": deepcopy(body.content)}
        if "request" in examples:
            operation["requestBody"]["content"]["application/json"]["example"] = examples["request"]
    responses = operation["responses"]
    for status, names in getattr(route.endpoint, "headers", {}).items():
        responses[str(status.value)].setdefault("headers", {}).update(_build_header_refs(*names))
    responses.pop("422", None)
    _add_problem_responses(responses, dependants)
    for response in responses.values():
        response.setdefault("headers", {}).update(_build_header_refs("X-Request-Id"))
    for status, by_type in examples.get("responses", {}).items():
        content = responses.get(status, {}).get("content", {})
        for media_type in content.keys() & by_type.keys():
            content[media_type]["example"] = by_type[media_type]
    operation["responses"] = dict(sorted(responses.items()))
    return [body.model for body in bodies]


def _add_examples(operation: dict[str, Any]) -> None:
    """Add the recorded requests and responses of api/http/examples."""
    examples = read_examples().get(operation["operationId"], {})
    posted = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if posted is not None and "request" in examples:
        posted["example"] = examples["request"]
    for code, by_type in examples.get("responses", {}).items():
        content = operation["responses"].get(code, {}).get("content", {})
        for media_type in by_type.keys() & content.keys():
            content[media_type]["example"] = by_type[media_type]


def _iter_dependants(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for dependency in dependant.dependencies:
        yield from _iter_dependants(dependency)


def _add_problem_responses(responses: dict[str, Any], dependants: list[Dependant]) -> None:
    # Any request can have an unknown parameter, and any code can fail.
    kinds = {problem_types.INVALID_PARAMETER, problem_types.INTERNAL_ERROR}
    for dependant in dependants:
        kinds.update(get_problem_types(dependant.call))
    ordered = sorted(kinds, key=lambda kind: (kind.status, kind.code))
    for status, group in groupby(ordered, lambda kind: kind.status):
        same_status = list(group)
        content = {
            "schema": {"$ref": _SCHEMA.format(model="ProblemDocument")},
            "examples": {kind.code: {"$ref": f"#/components/examples/{kind.code}"} for kind in same_status},
        }
        response: dict[str, Any] = {
            "description": "; or ".join(f"{kind.title} (`{kind.uri}`)" for kind in same_status),
            "content": {},
        }
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            response["headers"] = _build_header_refs("Retry-After")
        # A status may also be a regular response, as of readiness.
        responses.setdefault(str(status.value), response)["content"][MEDIA_TYPE] = content


def _build_header_refs(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


@lru_cache(maxsize=1)
def read_examples() -> dict[str, Any]:
    """The recorded examples by operation id; under `problems` one document of each type."""
    return {path.stem: json.loads(path.read_text()) for path in EXAMPLES.glob("*.json")}
