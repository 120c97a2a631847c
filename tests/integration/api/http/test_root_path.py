"""C4: pages, assets, Location, Link, login and keys under the path prefix of a proxy."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import create_app
from models.scopes import Scope as KeyScope
from models.settings import Settings
from models.store import keys
from models.store.database import Database
from tests.chaos.outcomes import wait_until
from tests.chaos.services import api
from tests.factories import job_spec
from tests.integration.api.conftest import TestClient

ROOT = "/regbench"
PAGE = {"Accept": "text/html"}
pytestmark = pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)


class Nginx:
    """`location /regbench/ { proxy_pass http://api/; }`: takes the prefix off."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            assert scope["path"].startswith(f"{ROOT}/"), "such a request never reaches this service"
            scope = {**scope, "path": scope["path"].removeprefix(ROOT)}
        await self._app(scope, receive, send)


@pytest.fixture(params=["nginx", "the whole path", "uvicorn --root-path"])
def proxied(
    request: pytest.FixtureRequest, database_settings: Settings, database: Database
) -> Iterator[TestClient]:
    """A client that knows the address at the proxy; the API requires keys."""
    changes = {"api_keys_required": "true", "root_path": ROOT}
    if request.param == "uvicorn --root-path":
        del changes["root_path"]
    app = create_app(database_settings.model_copy(update=changes))
    served: ASGIApp = Nginx(app) if request.param == "nginx" else app
    # uvicorn puts its root path before the path, and so does this client.
    root_path = ROOT if request.param == "uvicorn --root-path" else ""
    with TestClient(served, base_url="http://host", root_path=root_path, follow_redirects=False) as client:
        yield client


def make_key(database: Database) -> str:
    with database.write() as session:
        return keys.create_key(session, name="test", owner="ours", scope=KeyScope.WRITE)[1]


def test_c4_the_api_works_behind_nginx(proxied: TestClient, database: Database) -> None:
    key = {"Authorization": f"Bearer {make_key(database)}"}
    assert proxied.get(f"{ROOT}/healthz").json() == {"status": "ok"}
    posted = proxied.post(f"{ROOT}/v1/jobs", json=job_spec().model_dump(mode="json"), headers=key)
    location = posted.headers["Location"]
    assert location == f"{ROOT}/v1/jobs/{posted.json()['id']}"
    job = proxied.get(location, headers=key).json()
    assert all(link.startswith(f"{ROOT}/v1/") for link in job["links"].values() if link)
    proxied.post(f"{ROOT}/v1/jobs", json=job_spec(seed=1).model_dump(mode="json"), headers=key)
    page = proxied.get(f"{ROOT}/v1/jobs?limit=1", headers=key)
    targets = re.findall(r"<(.*?)>", page.headers["Link"])
    assert len(targets) == 2
    assert [proxied.get(target, headers=key).status_code for target in targets] == [200, 200]
    index = proxied.get(f"{ROOT}/", headers=key).json()["links"]
    assert [proxied.get(path, headers=key).status_code for path in index.values() if "ready" not in path] == [
        *([200] * 6),
        403,  # metrics
    ]
    document = proxied.get(f"{ROOT}/openapi.json").json()
    assert document["servers"][0]["url"] == f"{ROOT}/"


def test_c4_pages_and_login_work_behind_nginx(proxied: TestClient, database: Database) -> None:
    proxied.base_url = "https://host"
    assert proxied.get(f"{ROOT}/", headers=PAGE).headers["Location"] == f"{ROOT}/login?next=%2F"
    login = proxied.get(f"{ROOT}/jobs?limit=3", headers=PAGE).headers["Location"]
    assert login.startswith(f"{ROOT}/login?")
    form = proxied.get(login, headers=PAGE)
    assert f'action="{ROOT}/login"' in form.text
    [next_page] = re.findall(r'name="next" value="(.*?)"', form.text)
    logged_in = proxied.post(f"{ROOT}/login", data={"key": make_key(database), "next": next_page})
    assert logged_in.headers["Location"] == f"{ROOT}/jobs?limit=3"
    assert "Path=/regbench;" in logged_in.headers["Set-Cookie"]
    learn = ("/learn", "/learn/dropout", "/docs")
    for path in ("/", "/jobs", "/experiments", "/new", "/new/experiment", "/try", "/webhooks", *learn):
        page = proxied.get(ROOT + path, headers=PAGE)
        assert page.status_code == 200
        links = set(re.findall(r'(?:href|src|action)="(/[^"]*)"', page.text))
        assert len(links) > 5
        assert {link for link in links if not link.startswith(f"{ROOT}/")} == set()
        assets = {link for link in links if "/static/" in link}
        assert [asset for asset in assets if proxied.get(asset).status_code != 200] == []
    assert proxied.post(f"{ROOT}/logout").headers["Location"] == f"{ROOT}/login"


@pytest.fixture(params=["passes the prefix on", "takes the prefix off"])
def behind_nginx(
    request: pytest.FixtureRequest, database_settings: Settings, tmp_path: Path
) -> Iterator[httpx.Client]:
    """A client of a real nginx, with the configuration of the documentation, in front of a real API."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    page = (Path(__file__).parents[4] / "docs/how-to/open-to-others.md").read_text()
    [location] = re.findall(r"^location /regbench/ \{.*?^\}$", page, flags=re.DOTALL | re.MULTILINE)
    settings = database_settings.model_copy(update={"api_keys_required": "true", "root_path": ROOT})
    with ExitStack() as stack:
        # Not pytest's own folder: a unix socket's path may have 107 bytes at most.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(api(settings, tmp_path / "api.log", str(folder / "api.sock")))
        address = f"http://unix:{folder}/api.sock" + ":/" * (request.param == "takes the prefix off")
        assert "http://127.0.0.1:8000;" in location
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        (folder / "nginx.conf").write_text(
            f"""{"user root;" if os.geteuid() == 0 else ""} daemon off; pid {folder}/nginx.pid; events {{}}
            http {{ access_log off; {" ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)}
            server {{ listen unix:{folder}/nginx.sock;
            {location.replace("http://127.0.0.1:8000", address)} }} }}"""
        )
        nginx = subprocess.Popen([program, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"])
        stack.callback(nginx.wait)
        stack.callback(nginx.terminate)
        wait_until(lambda: (folder / "nginx.sock").exists() or nginx.poll() is not None, seconds=20)
        transport = httpx.HTTPTransport(uds=str(folder / "nginx.sock"))
        yield stack.enter_context(httpx.Client(transport=transport, base_url="http://tools.example:8443"))


def test_c4_a_real_nginx_serves_api_login_and_streams(behind_nginx: httpx.Client, database: Database) -> None:
    key = make_key(database)
    headers = {"Authorization": f"Bearer {key}"}
    spec = job_spec().model_dump(mode="json")
    posted = behind_nginx.post(f"{ROOT}/v1/jobs", json=spec, headers=headers)
    location = posted.headers["Location"]
    assert location == f"{ROOT}/v1/jobs/{posted.json()['id']}"
    # Unbuffered: the first event arrives though the job does not end.
    with behind_nginx.stream("GET", f"{location}/events", headers=headers) as stream:
        assert "queued" in next(stream.iter_text())
    login = behind_nginx.get(f"{ROOT}/jobs", headers=PAGE).headers["Location"]
    assert login.startswith(f"{ROOT}/login?")
    form = {"key": key, "next": f"{ROOT}/jobs"}
    foreign = {"Origin": "http://tools.example"}
    assert behind_nginx.post(f"{ROOT}/login", data=form, headers=foreign).status_code == 403
    own = {"Origin": "http://tools.example:8443"}
    logged_in = behind_nginx.post(f"{ROOT}/login", data=form, headers=own)
    assert (logged_in.status_code, logged_in.headers["Location"]) == (303, f"{ROOT}/jobs")
    assert "Path=/regbench;" in logged_in.headers["Set-Cookie"]
    page = behind_nginx.get(f"{ROOT}/jobs", headers=PAGE)
    assets = set(re.findall(r'(?:href|src)="(/[^"]*/static/[^"]*)"', page.text))
    assert {behind_nginx.get(asset).status_code for asset in assets} == {200}


def test_c4_a_prefix_that_a_path_of_the_service_begins_with_is_refused(database_settings: Settings) -> None:
    for root_path in ("/jobs", "/v1/regbench", "regbench", "/regbench/", "//evil.example"):
        with pytest.raises(ValidationError, match="root_path"):
            Settings(root_path=root_path)
    assert Settings(root_path="/tools/regbench").root_path == "/tools/regbench"
