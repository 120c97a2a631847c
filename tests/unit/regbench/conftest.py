"""A small real HTTP server with configured responses, in place of the service."""

import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Service:
    """Responses by method and path; of several, each is sent once, and the last one repeatedly.

    A response is status and body, and headers if it has any.
    """

    url: str = ""
    answers: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def answer(self, route: str, *answers: tuple[Any, ...]) -> None:
        self.answers[route] = list(answers)

    def next_answer(self, route: str) -> tuple[Any, ...]:
        waiting = self.answers.get(route, [(404, {"title": "Not found", "detail": f"no {route}"})])
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


@pytest.fixture
def service() -> Iterator[Service]:
    with serve() as service:
        yield service


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that no authority has signed, for localhost, and in `key.pem` its key."""
    if not shutil.which("openssl"):
        pytest.skip("openssl, which makes the certificate, is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem "
    names = "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -out cert.pem"
    subprocess.run((command + names).split(), cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem"


@pytest.fixture
def tls_service(certificate: Path) -> Iterator[Service]:
    """The same over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with serve(context) as service:
        yield service


@contextmanager
def serve(tls: ssl.SSLContext | None = None) -> Iterator[Service]:
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            parts = urlsplit(self.path)
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            is_form = self.headers.get("Content-Type", "").startswith("multipart/")
            body = json.loads(content) if content and not is_form else content or None
            service.requests.append(
                Request(self.command, parts.path, parse_qs(parts.query), body, dict(self.headers))
            )
            status, answer, *headers = service.next_answer(f"{self.command} {parts.path}")
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            for name, value in (headers[0] if headers else {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815 (http.server's names)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    port = server.server_address[1]
    service.url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
    yield service
    server.shutdown()
    thread.join()
    server.server_close()
