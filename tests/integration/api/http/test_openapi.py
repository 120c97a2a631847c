"""The OpenAPI document describes the whole API, and its checked-in copy is current.

After an intended change, rewrite examples and copy with `make openapi`, review the difference, and
commit it.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from api.app import create_app
from api.http import problem_types
from api.http.openapi import EXAMPLES, HEADERS, TAGS, read_examples
from api.http.problems import KINDS
from models import datasets
from models.dataset_cards import DATASETS
from models.errors import RegbenchError
from models.settings import Settings
from models.store.database import Database
from tests.integration.api import api_tour
from tests.integration.api.api_tour import EXAMPLE_CONTENT_TYPE

COPY = Path(__file__).parents[4] / "docs" / "reference" / "openapi.json"
WRITE = bool(os.environ.get("WRITE_OPENAPI"))
Document = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Document:
    return create_app(Settings()).openapi()


def operations(document: Document) -> Iterator[Document]:
    for path in document["paths"].values():
        yield from path.values()


def problem_codes(document: Document, responses: Document, status: str) -> set[str]:
    examples = responses[status]["content"]["application/problem+json"]["examples"]
    assert examples.keys() <= document["components"]["examples"].keys()
    return set(examples)


def contents(document: Document) -> Iterator[tuple[str, str, Document]]:
    """Every format of every request and response: operation id, location, and description."""
    for operation in operations(document):
        name = operation["operationId"]
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            yield name, f"request {media_type}", content
        for status, response in operation["responses"].items():
            for media_type, content in response.get("content", {}).items():
                yield name, f"{status} {media_type}", content


def examples_of(document: Document, content: Document) -> list[Any]:
    components = document["components"]["examples"]
    values = [components[name]["value"] for name in content.get("examples", {})]
    return values + ([content["example"]] if "example" in content else [])


def fits(document: Document, schema: Document, value: Any) -> None:
    jsonschema_rs.validator_for(
        schema
        | {"components": document["components"], "$schema": "https://json-schema.org/draft/2020-12/schema"}
    ).validate(value)


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
def test_the_examples_are_the_responses_of_the_service(
    database_settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Operations, statuses and formats, without ids and times, which change in every run."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setitem(DATASETS, "mnist", replace(DATASETS["mnist"], downloads=()))
    monkeypatch.setattr(datasets, "_failed_downloads", {})
    recorded = api_tour.walk(database_settings.model_copy(update={"data_dir": None}), database)
    if WRITE:
        _write(recorded)
    assert _outline(recorded) == _outline(read_examples())
    assert set(recorded["problems"]) == set(problem_types.TYPES)


def _write(recorded: Document) -> None:
    EXAMPLES.mkdir(exist_ok=True)
    for path in EXAMPLES.glob("*.json"):
        path.unlink()
    for name, example in recorded.items():
        (EXAMPLES / f"{name}.json").write_text(json.dumps(example, indent=1, ensure_ascii=False) + "\n")
    read_examples.cache_clear()


def _outline(examples: Document) -> set[tuple[str, ...]]:
    problems = {("problems", code) for code in examples["problems"]}
    return problems | {
        (name, status, media_type)
        for name, example in examples.items()
        if name != "problems"
        for status, by_type in example["responses"].items()
        for media_type in by_type
    }


def test_the_copy_in_the_repository_is_current(document: Document) -> None:
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    if WRITE:
        COPY.write_text(text)
    # Line by line, so that a failure shows what changed.
    assert text.splitlines() == COPY.read_text().splitlines()


def test_every_request_and_response_has_an_example(document: Document) -> None:
    required = [
        item for item in contents(document) if EXAMPLE_CONTENT_TYPE.fullmatch(item[1].rpartition(" ")[2])
    ]
    assert len(required) > 50
    assert [
        (name, location) for name, location, content in required if not examples_of(document, content)
    ] == []


def test_every_example_fits_its_schema(document: Document) -> None:
    for name, location, content in contents(document):
        for example in examples_of(document, content):
            try:
                fits(document, content["schema"], example)
            except jsonschema_rs.ValidationError as error:
                pytest.fail(f"{name} {location}: {error.message} at {error.instance_path}")


def test_every_operation_has_a_name_a_tag_and_a_description(document: Document) -> None:
    tags = {tag["name"] for tag in TAGS}
    names = [operation["operationId"] for operation in operations(document)]
    assert len(set(names)) == len(names)
    for operation in operations(document):
        assert re.fullmatch(r"[a-z]+([A-Z][a-z]+)+", operation["operationId"])
        assert set(operation["tags"]) <= tags
        assert operation["description"]
        undescribed = [
            parameter["name"]
            for parameter in operation.get("parameters", [])
            if not (parameter.get("description") or parameter["schema"].get("description"))
        ]
        assert undescribed == [], operation["operationId"]


def test_every_response_has_the_request_id(document: Document) -> None:
    for operation in operations(document):
        for response in operation["responses"].values():
            assert "X-Request-Id" in response["headers"]
            assert {header["$ref"].rpartition("/")[2] for header in response["headers"].values()} <= set(
                HEADERS
            )


def test_problems_are_listed_by_status(document: Document) -> None:
    for operation in operations(document):
        assert "default" not in operation["responses"]
        assert {"422", "500"} <= set(operation["responses"])
        if "requestBody" in operation:
            # A bundle's documents are named where they are no JSON: 422.
            is_bundle = operation["requestBody"]["content"].keys() == {"application/zip"}
            assert {"413", "415"} | (set() if is_bundle else {"400"}) <= set(operation["responses"])
    create = document["paths"]["/v1/jobs"]["post"]["responses"]
    assert problem_codes(document, create, "409") == {"idempotency_key_in_progress"}
    show = document["paths"]["/v1/jobs/{job_id}"]["get"]["responses"]
    assert "409" not in show
    assert problem_codes(document, create, "422") == {
        "dataset_unavailable",
        "idempotency_key_reused",
        "invalid_parameter",
        "invalid_spec",
        "over_budget",
    }


def test_every_error_of_the_service_has_a_problem_type_of_the_same_name() -> None:
    for error, kind in KINDS.items():
        assert kind in problem_types.TYPES.values()
        assert kind.code == error.code or error is RegbenchError


def test_c1_c2_client_generators_can_read_the_document(document: Document) -> None:
    assert document["servers"][0]["url"] == "/"
    assert document["info"]["license"] == {"name": "MIT", "identifier": "MIT"}
    schemas, text = document["components"]["schemas"], json.dumps(document)
    for schema, model in (("Job", "JobSpec"), ("JobDetails", "JobSpec"), ("Experiment", "ExperimentSpec")):
        assert schemas[schema]["properties"]["spec"]["$ref"] == f"#/components/schemas/{model}"
    for schema in iterate_schemas(document):
        assert schema.keys() <= KEYWORDS
        if "anyOf" in schema or "oneOf" in schema:
            assert not isinstance(schema.get("default"), dict)
    unused = [
        (kind, name)
        for kind in ("schemas", "headers", "examples")
        for name in document["components"][kind]
        if f'"#/components/{kind}/{name}"' not in text
    ]
    assert unused == []


def iterate_schemas(document: Document) -> Iterator[Document]:
    """Every schema of components, parameters, requests and responses, with those inside."""
    pending = list(document["components"]["schemas"].values())
    for operation in operations(document):
        pending += [parameter["schema"] for parameter in operation.get("parameters", [])]
    pending += [content["schema"] for _, _, content in contents(document)]
    while pending:
        schema = pending.pop()
        yield schema
        pending += [
            *schema.get("properties", {}).values(),
            *schema.get("anyOf", ()),
            *schema.get("oneOf", ()),
        ]
        pending += [schema[key] for key in ("items", "propertyNames") if key in schema]
        if isinstance(schema.get("additionalProperties"), dict):
            pending.append(schema["additionalProperties"])


KEYWORDS = {
    "$ref",
    "additionalProperties",
    "anyOf",
    "const",
    "default",
    "description",
    "discriminator",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "oneOf",
    "pattern",
    "prefixItems",
    "properties",
    "propertyNames",
    "required",
    "title",
    "type",
    "uniqueItems",
}


def test_an_interval_is_described_as_what_it_is(document: Document) -> None:
    schemas = document["components"]["schemas"]
    texts = [schemas[name]["description"] for name in ("Interval", "MetricSummary")]
    texts.append(schemas["Difference"]["properties"]["low"]["description"])
    assert all("of many such experiments 95 %" in " ".join(text.split()) for text in texts)
