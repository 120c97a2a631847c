"""Bodies of requests: parsed and priced once, and refused with the reason."""

import gzip
import io
import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pydantic_core
import pytest
from PIL import Image
from pydantic import BaseModel

from models import cost
from tests.integration.api.conftest import TestClient

pytestmark = pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)

JOB = {"dataset": {"name": "mnist_5k"}, "training": {"epochs": 1}, "labels": {"test": "bodies"}}
EXPERIMENT = {"name": "bodies", "base": JOB, "variants": [{"name": "none"}], "seeds": [0, 1, 2]}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def count_prices(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    cost.estimate_cost.cache.clear()
    estimates = Mock(wraps=cost.CostEstimate)
    monkeypatch.setattr(cost, "CostEstimate", estimates)
    return lambda: estimates.call_count


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often documents of each model were parsed."""
    parse, counts = BaseModel.model_validate_json.__func__, Counter[str]()  # type: ignore[attr-defined]  # a classmethod

    def count(model: type[BaseModel], body: bytes, **options: Any) -> BaseModel:
        counts[model.__name__] += 1
        result: BaseModel = parse(model, body, **options)
        return result

    monkeypatch.setattr(BaseModel, "model_validate_json", classmethod(count))
    monkeypatch.setattr(pydantic_core, "from_json", Mock(side_effect=AssertionError("parsed once more")))
    return counts


def test_a_posted_job_is_parsed_and_priced_once(
    client: TestClient, count_prices: Callable[[], int], parsed: Counter[str]
) -> None:
    assert client.post("/v1/jobs", json=JOB).status_code == 202
    assert (count_prices(), parsed) == (1, {"JobSpec": 1})


def test_a_posted_experiment_is_parsed_once_and_each_variant_priced_once(
    client: TestClient, count_prices: Callable[[], int], parsed: Counter[str]
) -> None:
    assert client.post("/v1/experiments", json=EXPERIMENT).status_code == 202
    assert (count_prices(), parsed["ExperimentSpec"]) == (1, 1)


@pytest.mark.parametrize("key", ["preset", "\\u0070reset"])
def test_a_preset_is_recognized_however_it_is_spelt(client: TestClient, key: str) -> None:
    body = f'{{"{key}": "dropout-vs-none", "base": {{"dataset": {{"name": "mnist_5k"}}}}}}'
    answer = client.post("/v1/experiments?dry_run=true", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["jobs"] > 1) == (200, True)


def test_f21_a_byte_order_mark_is_ignored(client: TestClient) -> None:
    body = json.dumps(JOB)
    for path, document in (("/v1/jobs", body), ("/v1/experiments", json.dumps(EXPERIMENT))):
        answer = client.post(path, content=b"\xef\xbb\xbf" + document.encode(), headers=JSON)
        assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_f21_another_encoding_than_utf_8_is_named(client: TestClient, encoding: str) -> None:
    answer = client.post("/v1/jobs", content=json.dumps(JOB).encode(encoding), headers=JSON)
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/not_json")
    assert "UTF-8" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/experiments", "/v1/jobs:batch", "/v1/webhooks"])
@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "x-gzip"])
def test_f21_a_compressed_body_is_415(client: TestClient, path: str, encoding: str) -> None:
    body = gzip.compress(json.dumps(JOB).encode())
    answer = client.post(path, content=body, headers=JSON | {"Content-Encoding": encoding})
    assert (answer.status_code, answer.headers["Accept-Encoding"]) == (415, "identity")
    assert encoding in answer.json()["detail"]
    identity = client.post("/v1/jobs", json=JOB, headers={"Content-Encoding": "identity"})
    assert identity.status_code == 202


def test_f21_images(client: TestClient) -> None:
    file = io.BytesIO()
    Image.new("L", (28, 28), 255).save(file, "png")
    headers = {"Content-Type": "image/png", "Content-Encoding": "gzip"}
    path = "/v1/jobs/job_00000000000000000000000000000000/predict"
    assert client.post(path, content=gzip.compress(file.getvalue()), headers=headers).status_code == 415
    jpg = client.post(path, content=file.getvalue(), headers={"Content-Type": "image/jpg"})
    assert jpg.status_code != 415
    other = client.post(path, content=file.getvalue(), headers={"Content-Type": "image/gif"})
    assert (other.status_code, other.json()["title"]) == (415, "The body's format is not supported")
    assert "image/jpeg" in other.json()["detail"]
