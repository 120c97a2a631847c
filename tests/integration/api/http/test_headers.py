"""Headers of requests and responses according to the HTTP standards."""

import hashlib
import socket
from base64 import b64encode
from collections.abc import Iterator

import httpx
import pytest

from models.artifacts import ArtifactStore
from models.settings import Settings
from models.store.database import Database
from tests.applications import application
from tests.factories import finished_job, result_record
from tests.integration.api.conftest import TestClient
from tests.integration.api.serving import serving

pytestmark = pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)

JOB = {"dataset": {"name": "mnist_5k"}, "training": {"epochs": 1}}
MODEL = bytes(range(256)) * 64
ORIGIN = "https://lab.example"
Lines = list[tuple[str, str]]


@pytest.fixture
def job(client: TestClient) -> str:
    job_id: str = client.post("/v1/jobs", json=JOB).json()["id"]
    return job_id


@pytest.fixture
def model_path(database: Database, settings_with_broker: Settings) -> str:
    digest = ArtifactStore(settings_with_broker).put("jobs/x/1/model.keras", MODEL)
    result = result_record(model_path="jobs/x/1/model.keras", model_sha256=digest)
    return f"/v1/jobs/{finished_job(database, result=result).id}/model"


@pytest.fixture
def port(settings_with_broker: Settings, database: Database) -> Iterator[int]:
    with serving(settings_with_broker) as port:
        yield port


@pytest.mark.parametrize(
    ("path", "lines", "media_type"),
    [
        ("epochs", ["text/html", "text/csv"], "text/csv"),
        (
            "epochs",
            ["image/png", "application/json;q=0.5", "text/csv;q=0.1"],
            "application/json",
        ),
        ("events", ["text/html", "application/json"], "application/json"),
    ],
)
def test_f12_accept_on_several_lines_is_one_list(
    client: TestClient, job: str, path: str, lines: list[str], media_type: str
) -> None:
    answer = client.get(f"/v1/jobs/{job}/{path}", headers=[("Accept", line) for line in lines])
    assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (200, media_type)


def test_f12_a_report_reads_accept_on_several_lines(client: TestClient, model_path: str) -> None:
    job_id = model_path.split("/")[3]
    lines: Lines = [("Accept", "image/png"), ("Accept", "text/markdown")]
    answer = client.get(f"/v1/reports?job={job_id}", headers=lines)
    assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (200, "text/markdown")


@pytest.mark.parametrize(
    "lines", [["respond-async", "wait=1"], ["wait=1", "respond-async"], ["handling=lenient", "wait=1"]]
)
def test_f12_prefer_on_several_lines_is_one_list(client: TestClient, job: str, lines: list[str]) -> None:
    answer = client.get(f"/v1/jobs/{job}", headers=[("Prefer", line) for line in lines])
    assert answer.headers["Preference-Applied"] == "wait=1"


def test_f12_if_none_match_on_several_lines_is_one_list(client: TestClient, job: str) -> None:
    tag = client.get(f"/v1/jobs/{job}").headers["ETag"]
    lines: Lines = [("If-None-Match", '"another"'), ("If-None-Match", tag)]
    assert client.get(f"/v1/jobs/{job}", headers=lines).status_code == 304


def test_f12_accept_encoding_on_several_lines_is_one_list(client: TestClient) -> None:
    lines: Lines = [("Accept-Encoding", "br"), ("Accept-Encoding", "gzip")]
    assert client.get("/openapi.json", headers=lines).headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /healthz HTTP/1.1\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n", 400),
        ("GET /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1\r\n", 400),
        ("GET /v1/jobs HTTP/1.1\r\nHost: evil.example\r\nhost: 127.0.0.1\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n", 200),
        ("GET /healthz HTTP/1.0\r\n", 200),
    ],
)
def test_c12_a_request_has_one_host(port: int, head: str, status: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert int(answer.split()[1]) == status
    assert b"x-request-id" in answer.lower()


def test_c12_the_document_is_compressed_and_conditional(client: TestClient) -> None:
    plain = client.get("/openapi.json", headers={"Accept-Encoding": "identity"})
    packed = client.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.json() == plain.json()
    assert int(packed.headers["Content-Length"]) < 100_000 < int(plain.headers["Content-Length"])
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert packed.headers["ETag"] == plain.headers["ETag"]
    for encoding in ("identity", "gzip"):
        headers = {"If-None-Match": plain.headers["ETag"], "Accept-Encoding": encoding}
        again = client.get("/openapi.json", headers=headers)
        assert (again.status_code, again.content) == (304, b"")


def test_c12_a_compressed_script_has_a_weak_tag_that_revalidates(client: TestClient) -> None:
    packed = client.get("/static/new-experiment.js", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["ETag"].startswith('W/"')
    again = client.get("/static/new-experiment.js", headers={"If-None-Match": packed.headers["ETag"]})
    assert again.status_code == 304


def test_c12_small_bodies_event_streams_and_models_are_not_compressed(
    client: TestClient, job: str, model_path: str
) -> None:
    assert "Content-Encoding" not in client.get(f"/v1/jobs/{job}").headers
    client.post(f"/v1/jobs/{job}/cancel")
    stream = client.get(f"/v1/jobs/{job}/events", headers={"Accept": "text/event-stream"})
    assert (stream.status_code, stream.headers.get("Content-Encoding")) == (200, None)
    assert "event: end" in stream.text
    assert "Content-Encoding" not in client.get(model_path).headers


def test_c12_pages_of_listed_origins_may_call_the_api(
    settings_with_broker: Settings, database: Database
) -> None:
    settings = settings_with_broker.model_copy(update={"cors_origins": f"{ORIGIN}/, https://other.example"})
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    headers |= {"Access-Control-Request-Headers": "content-type,idempotency-key,prefer"}
    with TestClient(application(settings)) as client:
        preflight = client.options("/v1/jobs", headers=headers)
        assert preflight.status_code == 200
        assert preflight.headers["Access-Control-Allow-Origin"] == ORIGIN
        created = client.post(
            "/v1/jobs", json=JOB, headers={"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}
        )
        assert (created.status_code, created.headers["Access-Control-Allow-Origin"]) == (202, ORIGIN)
        assert "Location" in created.headers["Access-Control-Expose-Headers"]
        problem = client.get("/v1/jobs/none", headers={"Origin": ORIGIN})
        assert (problem.status_code, problem.headers["Access-Control-Allow-Origin"]) == (404, ORIGIN)
        stranger = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        refused = client.post("/v1/jobs", json=JOB, headers=stranger)
        assert (refused.status_code, "Access-Control-Allow-Origin" in refused.headers) == (403, False)


def test_c12_without_the_setting_no_origin_is_allowed(client: TestClient) -> None:
    answer = client.get("/v1/jobs", headers={"Origin": ORIGIN})
    assert "Access-Control-Allow-Origin" not in answer.headers
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    assert client.options("/v1/jobs", headers=headers).status_code == 405


def test_c9_a_model_has_a_tag_and_a_digest(client: TestClient, model_path: str) -> None:
    whole = client.get(model_path)
    digest = hashlib.sha256(MODEL).digest()
    assert whole.content == MODEL
    assert whole.headers["ETag"] == f'"{digest.hex()}"'
    assert whole.headers["Repr-Digest"] == f"sha-256=:{b64encode(digest).decode()}:"
    assert whole.headers["Accept-Ranges"] == "bytes"
    again = client.get(model_path, headers={"If-None-Match": whole.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


SIZE = len(MODEL)


@pytest.mark.parametrize(
    ("requested_range", "first", "last"),
    [
        ("bytes=0-99", 0, 99),
        ("bytes=100-", 100, SIZE - 1),
        ("bytes=-7", SIZE - 7, SIZE - 1),
        (f"bytes=5-{SIZE * 9}", 5, SIZE - 1),
        (f"bytes=-{SIZE * 9}", 0, SIZE - 1),
        (f"bytes={SIZE - 1}-{SIZE - 1}", SIZE - 1, SIZE - 1),
    ],
)
def test_c9_a_part_of_a_model(
    client: TestClient, model_path: str, requested_range: str, first: int, last: int
) -> None:
    part = client.get(model_path, headers={"Range": requested_range})
    assert (part.status_code, part.content) == (206, MODEL[first : last + 1])
    assert part.headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"


@pytest.mark.parametrize(
    "requested_range", ["bytes=9-3", "bytes=-", "lines=0-9", "bytes=0-1,4-5", "bytes=x-"]
)
def test_c9_an_invalid_range_is_ignored(client: TestClient, model_path: str, requested_range: str) -> None:
    whole = client.get(model_path, headers={"Range": requested_range})
    assert (whole.status_code, whole.content) == (200, MODEL)


@pytest.mark.parametrize("requested_range", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 9}", "bytes=-0"])
def test_c9_a_range_beyond_the_end_is_416(client: TestClient, model_path: str, requested_range: str) -> None:
    beyond: httpx.Response = client.get(model_path, headers={"Range": requested_range})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{SIZE}")


def test_c9_a_part_of_another_version_is_the_whole_file(client: TestClient, model_path: str) -> None:
    tag = client.get(model_path).headers["ETag"]
    same = client.get(model_path, headers={"Range": "bytes=0-9", "If-Range": tag})
    other = client.get(model_path, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (same.status_code, other.status_code, other.content) == (206, 200, MODEL)
