"""Attacks of a hostile client, with bytes that a well-behaved client cannot send."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from celery import Celery
from redis import Redis

from api.app import create_app
from api.http import server_protocol
from models.artifacts import ArtifactStore
from models.dispatch import QUEUE, build_celery_settings
from models.settings import Settings
from models.store.database import Database
from tests.factories import finished_job, result_record
from tests.integration.api.conftest import TestClient, over_sqlite
from tests.integration.api.http.test_problems import JSON, pointers, problem, stored
from tests.integration.api.serving import serving

WAIT_SECONDS = 20
MEGABYTE = 1 << 20
MOST_ERRORS = 50


@pytest.fixture
def port(settings: Settings, migrated_sqlite: Path) -> Iterator[int]:
    """The address of a real server over SQLite."""
    (settings.home / "regbench.db").write_bytes(migrated_sqlite.read_bytes())
    with serving(settings) as port:
        yield port


def exchange(port: int, sent: bytes, *, patience: float = WAIT_SECONDS) -> bytes:
    """The server's response to these bytes, until it closes or is silent for `patience` seconds."""
    response = b""
    address = ("127.0.0.1", port)
    with (
        socket.create_connection(address, timeout=patience) as connection,
        suppress(TimeoutError, ConnectionError),
    ):
        connection.sendall(sent)
        while piece := connection.recv(65536):
            response += piece
    return response


def get(target: str, *headers: str) -> bytes:
    lines = [f"GET {target} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def alive(port: int) -> bool:
    return exchange(port, get("/healthz")).startswith(b"HTTP/1.1 200 ")


HOSTILE_IDS = [
    "..",
    "../../../../etc/passwd",
    "..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%5c..%5cregbench.db",
    "%2fetc%2fpasswd",
    "....//regbench.db",
    "job_1%00.keras",
    "%c0%ae%c0%ae%2f",
    "%ed%a0%80",
    "a" * 5000,
    "%27%20OR%201=1--",
]


def test_no_path_parameter_escapes_the_service(port: int) -> None:
    paths = httpx.get(f"http://127.0.0.1:{port}/openapi.json").json()["paths"]
    tested = [path for path, operations in paths.items() if "{" in path and "get" in operations]
    assert len(tested) >= 8
    for path, hostile in product(tested, HOSTILE_IDS):
        target = "/".join(hostile if part.startswith("{") else part for part in path.split("/"))
        answer = exchange(port, get(target))
        assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 422 ", b"HTTP/1.1 400 ")), target
        assert b"root:" not in answer
        assert b"SQLite format" not in answer


def test_an_endless_body_is_refused_before_it_ends(port: int) -> None:
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        # Never ended by a chunk of length 0.
        connection.sendall((b"4000\r\n" + b" " * 0x4000 + b"\r\n") * 5)
        assert connection.recv(12) == b"HTTP/1.1 413"
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS) as connection:
        connection.sendall(head + b"Content-Length: 99999999999\r\n\r\n" + b" " * 70_000)
        assert connection.recv(12) == b"HTTP/1.1 413"
    assert alive(port)


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Content-Length: -1"],
        ["Content-Length: 1e3"],
        ["Transfer-Encoding: chunked, identity"],
    ],
)
def test_a_body_of_ambiguous_length_smuggles_no_request(port: int, headers: list[str]) -> None:
    lines = ["POST /v1/jobs HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers, "", ""]
    smuggled = "0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = exchange(port, ("\r\n".join(lines) + smuggled).encode(), patience=0.5)
    assert not answer.startswith(b"HTTP/1.1 2")
    assert b'"status":"ok"' not in answer
    assert alive(port)


@pytest.mark.parametrize(
    "offered",
    [
        "a%0d%0aSet-Cookie:x=1",
        "a\nSet-Cookie: x=1",
        "a\rSet-Cookie: x=1",
        "a\r\n Set-Cookie: x=1",
        "a\0b",
        "ä",
    ],
)
def test_echoed_values_inject_no_header(port: int, offered: str) -> None:
    answer = exchange(port, get("/healthz", f"X-Request-Id: {offered}"))
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert b"set-cookie" not in head
    assert b"%0d" not in head
    assert alive(port)


def test_a_link_to_the_next_page_stays_one_header(client: httpx.Client) -> None:
    for _ in range(2):
        client.post("/v1/jobs", json={"dataset": {"name": "mnist_5k"}, "labels": {"a": "\r\nSet-Cookie: b"}})
    answer = client.get("/v1/jobs", params={"limit": 1, "label": "a=\r\nSet-Cookie: b"})
    assert answer.headers["Link"].endswith('; rel="next"')
    assert "Set-Cookie" not in answer.headers
    assert "\n" not in answer.headers["Link"]


@over_sqlite
@pytest.mark.parametrize("levels", [190, 10_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_deeply_nested_json_is_refused(client: httpx.Client, levels: int, opening: str, closing: str) -> None:
    deep = opening * levels + "1" + closing * levels
    variants = [{"name": "a", "changes": {}}, {"name": "b", "changes": {"model": "DEEP"}}]
    experiment = json.dumps({"name": "x", "variants": variants}).replace('"DEEP"', deep)
    for path, body in (("/v1/jobs", deep), ("/v1/experiments", deep), ("/v1/experiments", experiment)):
        problem(client.post(path, content=body[:65_536], headers=JSON), 400 if levels > 200 else 422)
    assert stored(client) == 0


def test_a_million_elements_are_refused_with_a_short_problem(database_settings: Settings) -> None:
    whole = json.dumps({"model": {"hidden_units": [0] * 10**6}})
    seeds = json.dumps({"name": "x", "variants": [{"name": "a"}], "seeds": list(range(10**6))})
    wide = database_settings.model_copy(update={"max_body_bytes": 16 * MEGABYTE})
    with TestClient(create_app(wide)) as client:
        for path, body in (("/v1/jobs", whole), ("/v1/experiments", seeds)):
            answer = client.post(path, content=body, headers=JSON)
            assert 0 < len(pointers(answer)) <= MOST_ERRORS
            assert len(answer.content) < 20_000
    with TestClient(create_app(database_settings)) as client:
        problem(client.post("/v1/jobs", content=whole, headers=JSON), 413)
        assert stored(client) == 0


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\udfff\ud800", "￿", "\x1b[2J", "a" * 60_000])
def test_strange_text_never_breaks_the_database(client: httpx.Client, text: str) -> None:
    documents: list[dict[str, Any]] = [
        {"name": text},
        {"labels": {text: "a"}},
        {"labels": {"a": text}},
        {"dataset": {"name": text}},
    ]
    for document in documents:
        body = json.dumps({"dataset": {"name": "mnist_5k"}} | document)
        answer = client.post("/v1/jobs?dry_run=true", content=body, headers=JSON)
        assert answer.status_code in {200, 400, 422}, answer.text
        assert client.post("/v1/jobs", content=body, headers=JSON).status_code in {202, 400, 422}
    quoted = "".join(f"%{byte:02x}" for byte in text[:200].encode("utf-8", "surrogatepass"))
    for parameter in ("label=a=", "experiment=", "technique=", "cursor=", "state=", "dataset="):
        assert client.get(f"/v1/jobs?{parameter}{quoted}").status_code in {200, 422}


def test_a_tampered_model_is_not_served(
    client: httpx.Client, database: Database, database_settings: Settings
) -> None:
    artifacts = ArtifactStore(database_settings)
    name = "jobs/x/1/model.keras"
    digest = artifacts.put(name, b"the model")
    job = finished_job(database, result=result_record(model_path=name, model_sha256=digest)).id
    assert client.get(f"/v1/jobs/{job}/model").content == b"the model"
    artifacts.put(name, b"another model")
    answer = client.get(f"/v1/jobs/{job}/model")
    assert "damaged" in problem(answer, 404)["detail"]
    assert b"another" not in answer.content


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


# In its own process: a worker's signal handlers would affect this one.
LISTENER = """
from pathlib import Path
from celery import Celery
from models.dispatch import build_celery_settings
from models.settings import Settings

app = Celery("regbench")
app.conf.update(build_celery_settings(Settings()))

@app.task(name="tests.received")
def received(path):
    Path(path).touch()

app.worker_main(["worker", "--pool", "solo", "--without-gossip", "--without-mingle", "--loglevel", "ERROR"])
"""


def test_a_pickle_in_the_broker_is_not_opened(settings: Settings, redis_socket: Path, tmp_path: Path) -> None:
    settings = settings.model_copy(update={"broker_url": f"redis+socket://{redis_socket}"})
    app = Celery("regbench", set_as_current=False)
    app.conf.update(build_celery_settings(settings))
    exploded, received = tmp_path / "exploded", tmp_path / "received"
    with Redis(unix_socket_path=str(redis_socket)) as redis:
        redis.delete(QUEUE)
        app.send_task("tests.received", kwargs={"path": Bomb(exploded)}, serializer="pickle")
        assert b"application/x-python-serialize" in redis.lrange(QUEUE, 0, -1)[0]
        app.send_task("tests.received", kwargs={"path": str(received)})
        environment = os.environ | {"REGBENCH_BROKER_URL": settings.broker_url}
        worker = subprocess.Popen([sys.executable, "-c", LISTENER], env=environment)
        try:
            # The worker has dropped the first message, and processes the next.
            wait_until(received.exists)
        finally:
            worker.terminate()
            worker.wait(WAIT_SECONDS)
        redis.delete(QUEUE)
    assert not exploded.exists()


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_endless_headers_are_refused(port: int) -> None:
    many = [f"X-{number}: {'a' * 1000}" for number in range(1000)]
    for headers in (["X-Long: " + "a" * MEGABYTE], many):
        sent = get("/healthz", *headers)
        # If data is unread when the server closes, the client may lose the response.
        assert exchange(port, sent) == b"" or exchange(port, sent).startswith(b"HTTP/1.1 400 ")
    assert exchange(port, get("/healthz", "X-Long: " + "a" * 8000)).startswith(b"HTTP/1.1 200 ")
    assert exchange(port, get("/" + "a" * MEGABYTE))[:13] in {b"", b"HTTP/1.1 400 "}
    assert alive(port)


@pytest.mark.parametrize("begun", [b"", b"GET /healthz HTTP/1.1\r\nX: a"])
def test_a_connection_without_a_request_times_out(
    port: int, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_protocol, "HEAD_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS) as connection:
        connection.sendall(begun)
        assert connection.recv(1) == b""


def test_d6_a_slow_body_is_not_awaited_for_ever(
    port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_protocol, "BODY_SECONDS", 0.2)
    head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\nkey="
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS) as connection:
        connection.sendall(head)
        assert connection.recv(1) == b""
    assert "Traceback" not in caplog.text
    assert alive(port)


def test_d6_a_body_that_arrives_steadily_may_take_longer(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_protocol, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(server_protocol, "MIN_BYTES_PER_SECOND", 1_000)
    head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS) as connection:
        connection.sendall(head)
        for _ in range(4):
            connection.sendall(b"a" * 500)
            time.sleep(0.2)
        assert connection.recv(100).startswith(b"HTTP/1.1 401 ")


def test_d6_a_response_that_nobody_reads_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_protocol, "UNREAD_SECONDS", 0.3)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(WAIT_SECONDS)
        connection.connect(("127.0.0.1", port))
        connection.sendall(get("/openapi.json") * 20)
        time.sleep(1.0)
        received = b""
        with suppress(ConnectionResetError):
            while piece := connection.recv(1_000_000):
                received += piece
    assert received.startswith(b"HTTP/1.1 200 ")
    # What the kernel had buffered, of all responses.
    assert len(received) < 20 * int(received.partition(b"content-length: ")[2].split()[0])
    assert alive(port)


def test_d13_a_long_head_in_one_piece_is_refused(port: int) -> None:
    many = [f"X-{number}: {'a' * 1000}" for number in range(100)]
    assert exchange(port, get("/healthz", *many)).startswith(b"HTTP/1.1 400 ")


def test_a_connection_is_reused_for_the_next_request(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(3):
            assert client.get("/healthz").status_code == 200
            assert client.post("/v1/jobs?dry_run=true", json={"epoch": 1}).status_code == 422
