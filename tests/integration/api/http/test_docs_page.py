"""/docs shows the fields of bodies with their bounds, examples and curl; /llms.txt every operation."""

import re
import shlex
from html import unescape

import pytest
from fastapi import FastAPI

from api.dashboard import docs_page
from api.http import openapi
from api.jobs import routes
from models.spec import JobSpec
from models.suggestions import list_field_paths
from tests.integration.api.conftest import TestClient


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI(
        docs_url=None,
        openapi_url=None,
        generate_unique_id_function=openapi.build_operation_id,
        description="About.",
    )
    openapi.install(app)
    app.include_router(routes.router)
    app.include_router(docs_page.router)
    return TestClient(app)


def test_every_field_of_a_job_is_described_with_its_bounds(client: TestClient) -> None:
    page = unescape(client.get("/docs").text)
    for path in list_field_paths(JobSpec):
        name = ".".join(path)
        assert f"<td>{name}<" in page, name
    assert "<td>training.optimizer.learning_rate<td>number, above 0, at most 10; default 0.001" in page
    assert "<td>from<td>string" in page, "a stored job with overrides"
    assert "as a JSON merge patch" in page


def test_an_example_is_curl_to_copy(client: TestClient) -> None:
    command, *_ = re.findall(r"<pre[^>]*>(curl .*?)</pre>", client.get("/docs").text, flags=re.DOTALL)
    words = shlex.split(unescape(command))
    assert words[:4] == ["curl", "-sS", "-X", "POST"]
    assert JobSpec.model_validate_json(words[-1])


def test_llms_txt_names_every_operation(client: TestClient) -> None:
    answer = client.get("/llms.txt")
    assert answer.headers["Content-Type"].startswith("text/markdown")
    assert "- `POST /v1/jobs`: Create Job" in answer.text
    assert "/openapi.json" in answer.text
