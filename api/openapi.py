"""The OpenAPI document: the posted models, and problem documents in place of FastAPI's own errors."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.problems import MEDIA_TYPE, ProblemDocument
from models.experiments import ExperimentSpec, Extension
from models.spec import JobSpec

_COMPONENT = "#/components/schemas/{model}"

PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    # "default" covers every error, so FastAPI adds none of its own.
    "default": {
        "description": "Any error, as a problem document (RFC 9457)",
        "content": {MEDIA_TYPE: {"schema": {"$ref": _COMPONENT.format(model="ProblemDocument")}}},
    }
}

PRESET_EXPERIMENT: dict[str, Any] = {
    "type": "object",
    "title": "A preset with overrides",
    "description": "The other fields are an experiment's, as a JSON merge patch (RFC 7396) on the preset: "
    "objects merge, null removes, lists are replaced whole. Giving `replicates` drops the preset's seeds.",
    "required": ["preset"],
    "properties": {"preset": {"type": "string"}},
    "additionalProperties": True,
}


def takes(*models: type[BaseModel], also: dict[str, Any] | None = None) -> dict[str, Any]:
    """The part of an operation that says which JSON documents it takes."""
    schemas = [{"$ref": _COMPONENT.format(model=model.__name__)} for model in models]
    schemas += [also] if also else []
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def install(app: FastAPI) -> None:
    """Add the schemas that routes refer to but FastAPI does not see."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        fresh = app.openapi_schema is None
        # FastAPI keeps what it generated, so the additions stay too.
        document = generate()
        if fresh:
            document["components"]["schemas"] |= _components()
        return document

    # FastAPI's documented way to extend the document.
    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents


def _components() -> dict[str, Any]:
    from api.predictions import PostedImages  # noqa: PLC0415 (which needs this module's neighbours)

    models: list[type[BaseModel]] = [JobSpec, ExperimentSpec, Extension, PostedImages, ProblemDocument]
    _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_COMPONENT)
    found: dict[str, Any] = definitions["$defs"]
    return found
