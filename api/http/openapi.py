"""The OpenAPI document: what FastAPI generates from the routes, and additions.

FastAPI knows paths, parameters and responses. Added here: what `documented` declares of a route and its
dependencies (request bodies, problems by status, headers), and the examples in api/http/examples.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.http import problem_types
from api.http.problem_types import ProblemType
from api.http.problems import MEDIA_TYPE, ProblemDocument
from api.http.schemas import MODEL

F = TypeVar("F", bound=Callable[..., object])

EXAMPLES = Path(__file__).parent / "examples"

_SCHEMA = "#/components/schemas/{model}"

_TAG_DESCRIPTIONS = {
    "jobs": "One training each: submit, follow, fetch the result.",
    "experiments": "Variants of one specification, each trained with each seed.",
    "reports": "Comparisons of finished jobs, with their statistics and limits.",
    "predictions": "Predictions of trained models for images.",
    "datasets": "Built-in and uploaded images to train on.",
    "catalogue": "Available techniques and presets.",
    "keys": "API keys and the audit trail, for keys with the scope admin.",
    "webhooks": "URLs that receive a message when a job ends.",
    "health": "Liveness, readiness and metrics.",
    "about": "Entry points, and what each type of problem means.",
}
TAGS = [{"name": name, "description": description} for name, description in _TAG_DESCRIPTIONS.items()]

_TEXT = {"type": "string"}
_HEADER_DESCRIPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "X-Request-Id": (
        "Id of this request in the service's log; the client's own, if it sent a valid one",
        _TEXT | {"pattern": "^[A-Za-z0-9._-]{1,64}$"},
    ),
    "Location": ("Path of the created resource", _TEXT | {"format": "uri-reference"}),
    "Link": ('`<path>; rel="next"`: the next page; absent on the last one', _TEXT),
    "Retry-After": (
        "Seconds to wait before the next request; absent if nothing will change",
        {"type": "integer", "minimum": 0},
    ),
    "ETag": ("Version of this response; send it back as `If-None-Match`", _TEXT),
    "Repr-Digest": ("SHA-256 of the whole file in Base64: `sha-256=:...:` (RFC 9530)", _TEXT),
    "Preference-Applied": ("`wait=N`, if `Prefer: wait=N` was honoured", _TEXT),
}
HEADERS = {
    name: {"description": description, "schema": schema}
    for name, (description, schema) in _HEADER_DESCRIPTIONS.items()
}


@dataclass(frozen=True)
class RequestBody:
    """What a dependency reads from a request's body."""

    model: type[BaseModel]
    alternative: dict[str, Any] | None = None
    """Schema of another JSON document that is accepted, too."""
    formats: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Schemas by further media types."""
    is_json: bool = True
    """Whether the body may be the model's JSON document."""


def documented(
    *problems: ProblemType, headers: tuple[str, ...] = (), body: RequestBody | None = None
) -> Callable[[F], F]:
    """Declare for the OpenAPI document what a route or dependency responds with and reads.

    `headers` of `HEADERS` may be on each successful response. A route has those of its dependencies, too.
    """

    def attach(function: F) -> F:
        function.__dict__["documentation"] = _Documentation(problems, headers, body)
        return function

    return attach


@dataclass(frozen=True)
class _Documentation:
    problems: tuple[ProblemType, ...] = ()
    headers: tuple[str, ...] = ()
    body: RequestBody | None = None


def build_text_responses(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """The part of a route that says which texts it answers with."""
    return {200: {"content": {media_type: {"schema": {"type": "string"}} for media_type in media_types}}}


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
            # No operation responds with 405: it is for methods that the document does not have.
            if problem_types.TYPES[code] != problem_types.METHOD_NOT_ALLOWED
        }
        for validation in ("HTTPValidationError", "ValidationError"):
            components["schemas"].pop(validation, None)
        _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_SCHEMA)
        components["schemas"] |= definitions["$defs"]
        _refer_to_models(components["schemas"])
        return document

    app.openapi = generate_extended  # type: ignore[method-assign]  # the way that FastAPI documents


def _refer_to_models(schemas: dict[str, Any]) -> None:
    """Replace the schema of each field that holds a model's document by a reference to the model's."""
    for schema in schemas.values():
        for name, property_schema in schema.get("properties", {}).items():
            if MODEL in property_schema:
                reference = {"$ref": _SCHEMA.format(model=property_schema[MODEL])}
                schema["properties"][name] = reference | {"description": property_schema["description"]}


def _extend_operation(operation: dict[str, Any], route: RouteContext) -> list[type[BaseModel]]:
    """Add request body, headers, problems and examples; returns the models of the request body."""
    documentation: list[_Documentation] = [
        getattr(dependant.call, "documentation", _Documentation())
        for dependant in _iter_dependants(route.dependant)
    ]
    bodies = [part.body for part in documentation if part.body is not None]
    examples = read_examples().get(operation["operationId"], {})
    for body in bodies:
        schema: dict[str, Any] = {"$ref": _SCHEMA.format(model=body.model.__name__)}
        if body.alternative is not None:
            schema = {"anyOf": [schema, body.alternative]}
        formats = {**({"application/json": schema} if body.is_json else {}), **body.formats}
        content = {media_type: {"schema": schema} for media_type, schema in formats.items()}
        operation["requestBody"] = {"required": True, "content": content}
        if "request" in examples:
            operation["requestBody"]["content"]["application/json"]["example"] = examples["request"]
    responses = operation["responses"]
    headers = [name for part in documentation for name in part.headers]
    if "ETag" in headers:
        responses["304"] = {"description": "Not modified"}
    # FastAPI's own description of errors.
    responses.pop("422", None)
    for response in responses.values():
        response["headers"] = _build_header_refs(*headers, "X-Request-Id")
    _add_problem_responses(responses, [kind for part in documentation for kind in part.problems])
    for status, by_type in examples.get("responses", {}).items():
        content = responses.get(status, {}).get("content", {})
        for media_type in content.keys() & by_type.keys():
            content[media_type]["example"] = by_type[media_type]
    operation["responses"] = dict(sorted(responses.items()))
    return [body.model for body in bodies]


def _iter_dependants(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for dependency in dependant.dependencies:
        yield from _iter_dependants(dependency)


def _add_problem_responses(responses: dict[str, Any], declared: list[ProblemType]) -> None:
    # Any request can have an unknown parameter, and any code can fail.
    kinds = {problem_types.INVALID_PARAMETER, problem_types.INTERNAL_ERROR, *declared}
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
            "headers": _build_header_refs(
                "X-Request-Id", *(["Retry-After"] if status == HTTPStatus.SERVICE_UNAVAILABLE else ())
            ),
        }
        # A status may also be a regular response, as of readiness.
        responses.setdefault(str(status.value), response)["content"][MEDIA_TYPE] = content


def _build_header_refs(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


@lru_cache(maxsize=1)
def read_examples() -> dict[str, Any]:
    """The recorded examples by operation id; under `problems` one document of each type."""
    return {path.stem: json.loads(path.read_text()) for path in EXAMPLES.glob("*.json")}
