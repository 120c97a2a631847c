"""Access control: keys, scopes, owners, rates, quotas, and cross-site requests."""

import hashlib
import logging
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from sqlalchemy import event, select, update

from api.http import auth
from models.experiments import ExperimentSpec
from models.scopes import Scope
from models.settings import Settings
from models.store import experiments, jobs, keys
from models.store.database import Database
from models.store.service_tables import ApiKey, IdempotencyKey
from models.store.tables import Webhook
from models.store.transitions import get_database_now
from tests.applications import application
from tests.factories import finish_job, finished_job, job_spec
from tests.integration.api.conftest import TestClient, over_sqlite
from tests.integration.api.http.test_problems import problem

JOB = job_spec().model_dump(mode="json", exclude_unset=True)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def make_key(database: Database, scope: Scope = Scope.WRITE, owner: str = "ours", **named: Any) -> str:
    with database.write() as session:
        return keys.create_key(session, name="test", owner=owner, scope=scope, **named)[1]


@pytest.fixture
def closed(database_settings: Settings) -> Settings:
    return database_settings.model_copy(update={"api_keys_required": "auto"})


@pytest.fixture
def guarded(closed: Settings, database: Database) -> Iterator[TestClient]:
    """A client of an API that requires keys."""
    with TestClient(application(closed)) as client:
        yield client


def test_only_the_hash_of_a_key_is_stored(database: Database) -> None:
    key = make_key(database)
    assert re.fullmatch(r"rb_[A-Za-z0-9_-]{43}", key)
    with database.read() as session:
        (row,) = session.scalars(select(ApiKey)).all()
    assert row.key_sha256 == hashlib.sha256(key.encode()).hexdigest()
    values = [str(getattr(row, column.name)) for column in ApiKey.__table__.columns]
    assert not any(key[8:] in value for value in values)
    assert key.startswith(row.prefix)


def test_an_observer_reads_everything_and_writes_nothing(guarded: TestClient, database: Database) -> None:
    job_id = finished_job(database, owner="theirs").id
    observer, reader = bearer(make_key(database, Scope.OBSERVE)), bearer(make_key(database, Scope.READ))
    for path in (f"/v1/jobs/{job_id}", "/metrics"):
        assert guarded.get(path, headers=observer).status_code == 200
    assert guarded.get(f"/v1/jobs/{job_id}", headers=reader).status_code == 404
    assert [job["id"] for job in guarded.get("/v1/jobs", headers=observer).json()["items"]] == [job_id]
    # D13: the counts are of all owners.
    assert problem(guarded.get("/metrics", headers=reader), 403)["detail"].endswith("scope observe.")
    for method, path in (("POST", "/v1/jobs"), ("DELETE", f"/v1/jobs/{job_id}"), ("POST", "/v1/webhooks")):
        assert problem(guarded.request(method, path, headers=observer), 403)["detail"].endswith(
            "scope write."
        )
    for path in ("/v1/keys", "/v1/audit"):
        assert problem(guarded.get(path, headers=observer), 403)["detail"].endswith("scope admin.")


def test_the_duration_of_a_key_lookup_reveals_nothing_about_existing_keys(
    guarded: TestClient, database: Database
) -> None:
    key = make_key(database)
    guesses = [key[:-1] + letter for letter in "AEIMQUYcgk" if letter != key[-1]]
    compared: list[str] = []

    def note(_connection: Any, _cursor: Any, _statement: str, parameters: Any, *_: Any) -> None:
        values = parameters.values() if isinstance(parameters, dict) else parameters
        compared.extend(str(value) for value in values)

    engine = guarded.app.state.database.engine
    event.listen(engine, "before_cursor_execute", note)
    for guess in guesses:
        assert guarded.get("/v1/jobs", headers=bearer(guess)).status_code == 401
    event.remove(engine, "before_cursor_execute", note)
    # The database compares hashes, so an almost correct guess has no common prefix.
    hashed = [hashlib.sha256(guess.encode()).hexdigest() for guess in guesses]
    assert [value for value in compared if len(value) == 64] == hashed
    stored = hashlib.sha256(key.encode()).hexdigest()
    assert not any(digest.startswith(stored[:8]) for digest in hashed)
    assert not any(key[3:10] in value for value in compared)


def test_a_retried_key_creation_creates_and_shows_one_key(guarded: TestClient, database: Database) -> None:
    admin = bearer(make_key(database, Scope.ADMIN)) | {"Idempotency-Key": "once"}
    document = {"name": "n", "owner": "theirs", "scope": "read"}
    first, again = (guarded.post("/v1/keys", json=document, headers=admin) for _ in range(2))
    assert first.headers["Cache-Control"] == again.headers["Cache-Control"] == "no-store"
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json() | {"key": None}
    with database.read() as session:
        (stored,) = session.scalars(select(IdempotencyKey)).all()
    assert first.json()["key"].encode() not in (stored.body or b"")
    assert len(guarded.get("/v1/keys", headers=admin).json()["items"]) == 2


@pytest.mark.parametrize(
    "authorization", [None, "Bearer", "Bearer rb_x", "Basic YTpi", "Bearer rb_" + "a" * 43]
)
def test_requests_without_a_valid_key_are_refused(guarded: TestClient, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    for path in ("/v1/jobs", "/v1/presets", "/metrics", "/v1/keys", "/nothing/here"):
        answer = guarded.get(path, headers=headers)
        kind = "invalid_key" if authorization else "missing_key"
        assert problem(answer, 401)["type"] == f"/problems/{kind}"
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_some_pages_need_no_key(guarded: TestClient) -> None:
    assert guarded.get("/healthz").status_code == 200
    missing = guarded.get("/v1/jobs").json()["type"]
    assert "regbench keys create" in guarded.get(missing).text
    for path in ("/", "/docs", "/openapi.json", "/llms.txt"):
        assert guarded.get(path).status_code == 200
    assert guarded.get("/readyz").status_code in (200, 503)


def test_a_key_in_the_url_is_not_accepted(guarded: TestClient, database: Database) -> None:
    key = make_key(database)
    problem(guarded.get(f"/v1/jobs?key={key}&access_token={key}"), 401)


def test_each_scope_allows_its_operations(guarded: TestClient, database: Database) -> None:
    read, write, admin = (
        bearer(make_key(database, scope)) for scope in (Scope.READ, Scope.WRITE, Scope.ADMIN)
    )
    assert guarded.get("/v1/jobs", headers=read).status_code == 200
    refused = guarded.post("/v1/jobs", json=JOB, headers=read)
    assert problem(refused, 403)["type"] == "/problems/insufficient_scope"
    assert 'scope="write"' in refused.headers["WWW-Authenticate"]
    job = guarded.post("/v1/jobs", json=JOB, headers=write)
    assert job.status_code == 202
    for path in ("/v1/keys", "/v1/audit"):
        assert 'scope="admin"' in guarded.get(path, headers=write).headers["WWW-Authenticate"]
        assert guarded.get(path, headers=admin).status_code == 200
    with database.read() as session:
        assert jobs.get_job(session, job.json()["id"]).owner == "ours"


def test_an_expired_key_has_its_own_problem_type(guarded: TestClient, database: Database) -> None:
    key = make_key(database, expires_days=1)
    assert guarded.get("/v1/jobs", headers=bearer(key)).status_code == 200
    with database.write() as session:
        session.execute(update(ApiKey).values(expires_at=get_database_now(session) - timedelta(seconds=1)))
    forget(guarded)
    assert problem(guarded.get("/v1/jobs", headers=bearer(key)), 401)["type"].endswith("/expired_key")


def forget(client: TestClient) -> None:
    """As if the seconds for which a key is cached had passed."""
    layer: Any = client.app.middleware_stack  # type: ignore[attr-defined]
    while not isinstance(layer, auth.AuthMiddleware):
        layer = layer.app
    assert layer._keys is not None
    layer._keys._cache.clear()


def test_a_revoked_key_is_refused_once_it_is_no_longer_cached(
    closed: Settings, guarded: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "KEY_CACHE_SECONDS", 0.2)
    key, admin = make_key(database), bearer(make_key(database, Scope.ADMIN))
    assert guarded.get("/v1/jobs", headers=bearer(key)).status_code == 200
    row = next(
        row for row in guarded.get("/v1/keys", headers=admin).json()["items"] if row["scope"] == "write"
    )
    first = guarded.post(f"/v1/keys/{row['id']}/revoke", headers=admin)
    assert first.status_code == 200
    assert guarded.post(f"/v1/keys/{row['id']}/revoke", headers=admin).json() == first.json()
    time.sleep(0.3)
    assert problem(guarded.get("/v1/jobs", headers=bearer(key)), 401)["type"].endswith("/invalid_key")
    actions = [entry["action"] for entry in guarded.get("/v1/audit", headers=admin).json()["items"]]
    assert actions == ["key_revoked"]


def test_a_cached_key_costs_no_query(guarded: TestClient, database: Database) -> None:
    headers = bearer(make_key(database))
    guarded.get("/v1/presets", headers=headers)
    statements: list[str] = []
    engine = guarded.app.state.database.engine  # type: ignore[attr-defined]
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    assert guarded.get("/v1/presets", headers=headers).status_code == 200
    assert statements == []


def test_the_last_use_is_recorded_once_a_minute(guarded: TestClient, database: Database) -> None:
    def used() -> Any:
        with database.read() as session:
            return session.scalars(select(ApiKey.last_used_at)).one()

    headers = bearer(make_key(database))
    assert used() is None
    guarded.get("/v1/presets", headers=headers)
    first = used()
    assert first is not None
    forget(guarded)
    guarded.get("/v1/presets", headers=headers)
    assert used() == first


def test_a_key_created_by_an_admin_is_shown_once(guarded: TestClient, database: Database) -> None:
    admin = bearer(make_key(database, Scope.ADMIN))
    answer = guarded.post("/v1/keys", json={"name": "n", "owner": "theirs", "scope": "read"}, headers=admin)
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    key = answer.json()["key"]
    assert guarded.get("/v1/jobs", headers=bearer(key)).status_code == 200
    assert key not in guarded.get("/v1/keys", headers=admin).text
    page = guarded.get("/v1/keys?limit=1", headers=admin)
    assert page.json()["items"][0]["owner"] == "theirs"
    rest = guarded.get(f"/v1/keys?limit=1&cursor={page.json()['next_cursor']}", headers=admin).json()
    assert [item["owner"] for item in rest["items"]] == ["ours"]
    assert rest["next_cursor"] is None


@over_sqlite
@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({}, "/name"),
        ({"name": "n", "scope": "root"}, "/scope"),
        ({"name": "n", "owner": "a b"}, "/owner"),
        ({"name": "n", "owner": "a\n"}, "/owner"),
        ({"name": "n", "expires_days": 0}, "/expires_days"),
        ({"name": "n", "key": "mine"}, "/key"),
    ],
)
def test_an_invalid_key_document_is_refused(client: httpx.Client, document: Any, pointer: str) -> None:
    refusal = problem(client.post("/v1/keys", json=document), 422)
    assert [error["pointer"] for error in refusal["errors"]] == [pointer]
    assert client.get("/v1/keys").json()["items"] == []


BODIES: dict[str, Any] = {
    "/v1/experiments/{experiment_id}/extend": {"seeds": [7]},
    "/v1/jobs/{job_id}/predict": {"images": [[[0] * 28] * 28]},
}


def test_no_route_reveals_another_owners_rows(guarded: TestClient, database: Database) -> None:
    spec = ExperimentSpec.model_validate(
        {"name": "e", "base": JOB, "variants": [{"name": "a"}], "seeds": [0]}
    )
    with database.write() as session:
        experiment, (job,) = experiments.create_experiment(session, spec, preset=None, owner="theirs")
        hook = Webhook(
            owner="theirs", url="https://example.org", secret=job.id, states=[], created_at=job.created_at
        )
        session.add(hook)
        session.flush()
    finish_job(database, job.id)
    ids = {"job_id": job.id, "experiment_id": experiment.id, "webhook_id": hook.id}
    ours, theirs = (bearer(make_key(database, owner=owner)) for owner in ("ours", "theirs"))
    tried = 0
    for route in iter_route_contexts(guarded.app.routes):  # type: ignore[attr-defined]
        if not any(f"{{{name}}}" in route.path for name in ids):
            continue
        path = route.path.format_map(_Any(ids | {"chart": "differences", "name": "x"}))
        path += "?index=0" if path.endswith("/test-images") else ""
        for method in sorted(route.methods or ()):
            body = BODIES.get(route.path, {} if method == "PATCH" else None)
            answer = guarded.request(method, path, headers=ours, json=body)
            assert answer.status_code == 404, (method, route.path, answer.text)
            tried += 1
    assert tried >= 15
    assert guarded.get(f"/v1/reports?job={job.id}", headers=ours).status_code == 404
    images = BODIES["/v1/jobs/{job_id}/predict"]
    own = finish_job(database, guarded.post("/v1/jobs", json=JOB, headers=ours).json()["id"])
    for query in (f"job={job.id}", f"job={own.id}&job={job.id}"):
        assert guarded.post(f"/v1/predict?{query}", json=images, headers=ours).status_code == 404
    # A request for its own job is allowed; no predictor answers here.
    assert guarded.post(f"/v1/predict?job={own.id}", json=images, headers=ours).status_code == 503
    assert [item["id"] for item in guarded.get("/v1/jobs", headers=ours).json()["items"]] == [own.id]
    assert guarded.get("/v1/experiments", headers=ours).json()["items"] == []
    assert guarded.get(f"/v1/jobs/{job.id}", headers=theirs).json()["state"] == "succeeded"
    assert (
        guarded.get(f"/v1/jobs/{job.id}", headers=bearer(make_key(database, Scope.ADMIN))).status_code == 200
    )


class _Any(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "x"


def test_reads_and_writes_are_counted_separately(closed: Settings, database: Database) -> None:
    few = closed.model_copy(update={"max_reads_per_minute": 2, "max_writes_per_minute": 1})
    headers, others = bearer(make_key(database)), bearer(make_key(database, owner="others"))
    with TestClient(application(few)) as client:
        first = client.get("/v1/presets", headers=headers)
        assert first.headers["RateLimit-Policy"] == '"reads";q=2;w=60'
        assert re.fullmatch(r'"reads";r=1;t=\d+', first.headers["RateLimit"])
        assert client.post("/v1/jobs?dry_run=true", json=JOB, headers=headers).status_code == 200
        assert client.get("/v1/presets", headers=headers).status_code == 200
        refused = client.get("/v1/presets", headers=headers)
        assert problem(refused, 429)["type"] == "/problems/rate_limited"
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert refused.headers["RateLimit"].startswith('"reads";r=0;')
        assert client.post("/v1/jobs?dry_run=true", json=JOB, headers=headers).status_code == 429
        assert client.get("/v1/presets", headers=others).status_code == 200


@pytest.mark.parametrize("quota", [{"max_queued_jobs": 1}, {"max_flops_per_day": 1.0}])
def test_a_job_over_a_quota_is_not_stored(
    closed: Settings, database: Database, quota: dict[str, Any]
) -> None:
    headers, others = bearer(make_key(database)), bearer(make_key(database, owner="others"))
    experiment = {"name": "e", "base": JOB, "variants": [{"name": "a"}, {"name": "b"}], "seeds": [0, 1]}
    experiment["variants"][1]["changes"] = {"regularization": {"l2": {}}}
    with TestClient(application(closed.model_copy(update=quota))) as client:
        refused = client.post("/v1/experiments", json=experiment, headers=headers)
        assert problem(refused, 429)["type"] == "/problems/over_quota"
        assert int(refused.headers["Retry-After"]) > 0
        assert "left" in refused.json()["detail"]
        assert client.get("/v1/experiments", headers=headers).json()["items"] == []
        if "max_queued_jobs" in quota:
            assert client.post("/v1/jobs", json=JOB, headers=headers).status_code == 202
            assert client.post("/v1/jobs", json=JOB, headers=others).status_code == 202
        assert client.post("/v1/jobs", json=JOB, headers=headers).status_code == 429


def test_the_floating_point_operations_of_a_day_are_added_up(closed: Settings, database: Database) -> None:
    headers = bearer(make_key(database))
    with TestClient(application(closed)) as client:
        cost = client.post("/v1/jobs?dry_run=true", json=JOB, headers=headers).json()["training_flops"]
    with TestClient(application(closed.model_copy(update={"max_flops_per_day": 1.5 * cost}))) as client:
        assert client.post("/v1/jobs", json=JOB, headers=headers).status_code == 202
        refused = client.post("/v1/jobs", json=JOB, headers=headers)
        assert problem(refused, 429)["type"].endswith("/over_quota")
        assert 86_000 < int(refused.headers["Retry-After"]) <= 86_400


@over_sqlite
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "["])
def test_without_keys_another_hosts_name_is_refused(client: httpx.Client, host: str) -> None:
    refused = client.get("/v1/presets", headers={"Host": host})
    assert problem(refused, 421)["type"] == "/problems/wrong_host"


@over_sqlite
@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000", "testserver"])
def test_without_keys_loopback_and_allowed_names_are_served(client: httpx.Client, host: str) -> None:
    assert client.get("/v1/presets", headers={"Host": host}).status_code == 200


@over_sqlite
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://testserver:81"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://testserver"},
    ],
)
def test_without_keys_another_sites_page_cannot_change_jobs(
    client: httpx.Client, headers: dict[str, str]
) -> None:
    refused = client.post("/v1/jobs", json=JOB, headers=headers)
    assert problem(refused, 403)["type"] == "/problems/cross_origin"
    assert client.get("/v1/jobs").json()["items"] == []


@pytest.mark.parametrize("headers", [{"Origin": "http://testserver"}, {"Sec-Fetch-Site": "same-origin"}, {}])
def test_without_keys_the_services_own_pages_and_programs_can_change_jobs(
    client: httpx.Client, headers: dict[str, str]
) -> None:
    assert client.post("/v1/jobs", json=JOB, headers=headers).status_code == 202


@over_sqlite
@pytest.mark.parametrize("path", ["/v1/jobs", "/healthz", "/docs", "/nothing", "/v1/jobs/job_1", "/metrics"])
def test_every_response_forbids_use_by_other_sites(client: httpx.Client, path: str) -> None:
    headers = client.get(path, headers={"Origin": "https://evil.example"}).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Cache-Control"] == "private, no-cache"
    assert not any(name.startswith("access-control") for name in headers)


def test_the_api_page_shows_every_operation_and_loads_only_the_services_scripts(client: httpx.Client) -> None:
    page = client.get("/docs").text
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for method in operations:
            assert f"<code>{method.upper()} {path}</code>" in page
    preloads = r'<link rel="modulepreload" href="/static/[a-z-]+\.js\?v=\w+">'
    others = re.sub(preloads, "", page.split("<h2>", 1)[1])
    assert not re.search(r"<(link|img|iframe)|(src|href)=.https?://", others)
    scripts = re.findall(r'<script(?: type="module")? src="(/static/.*?)">', page)
    assert len(scripts) == page.count("<script")
    assert any(script.startswith("/static/docs-search.js") for script in scripts)
    for script in scripts:
        assert client.get(script).status_code == 200, "without a key, as /docs itself"


def test_two_concurrent_requests_do_not_exceed_a_quota(closed: Settings, database: Database) -> None:
    headers = bearer(make_key(database))
    few = closed.model_copy(update={"max_queued_jobs": 2})
    with TestClient(application(few)) as client, ThreadPoolExecutor(8) as several:
        answers = several.map(lambda _: client.post("/v1/jobs", json=JOB, headers=headers), range(8))
        assert sorted(answer.status_code for answer in answers) == [202] * 2 + [429] * 6


def test_no_key_is_logged(guarded: TestClient, database: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    good, bad = make_key(database), "rb_" + "b" * 43
    for key in (good, bad):
        guarded.get("/v1/jobs", headers=bearer(key))
        guarded.post("/v1/jobs", content="{", headers=bearer(key) | {"Content-Type": "application/json"})
    assert good[8:] not in caplog.text
    assert bad[8:] not in caplog.text


def test_a_deleted_job_is_in_the_audit_trail(client: httpx.Client, database: Database) -> None:
    for _ in range(2):
        job = client.post("/v1/jobs", json=JOB).json()["id"]
        client.post(f"/v1/jobs/{job}/cancel")
        deleted = client.delete(f"/v1/jobs/{job}")
    page = client.get("/v1/audit?limit=1").json()
    (entry,) = page["items"]
    assert (entry["action"], entry["subject"], entry["owner"]) == ("job_deleted", job, "local")
    assert entry["request_id"] == deleted.headers["X-Request-Id"]
    rest = client.get(f"/v1/audit?limit=1&cursor={page['next_cursor']}").json()
    assert len(rest["items"]) == 1
    assert rest["next_cursor"] is None
    assert client.get("/v1/audit?cursor=x").status_code == 422
