"""A walk through the whole API: requests and responses become the examples of the OpenAPI document."""

import re
from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock, Mock, patch

import httpx
import numpy as np
from fastapi import FastAPI

from api import health
from api.app import create_app
from api.http.problems import MEDIA_TYPE
from api.jobs.updates import JobUpdates
from models import predictions
from models.artifacts import ArtifactStore
from models.scopes import Scope
from models.settings import Settings
from models.states import JobState
from models.store import idempotency, queue
from models.store.database import Database
from models.store.experiment_runs import get_runs
from models.store.keys import create_key
from models.store.tables import LOCAL_OWNER
from models.store.transitions import get_database_now
from models.test_predictions import TestPredictions
from tests.factories import finish_job, finished_job, job_in, result_record
from tests.integration.api.conftest import TestClient
from tests.unit.api.datasets.forms import as_keras, draw

JOB = {
    "name": "dropout",
    "labels": {"study": "first"},
    "dataset": {"name": "mnist_5k"},
    "model": {"hidden_units": [32]},
    "regularization": {"dropout": {"rate": 0.3}},
    "training": {"epochs": 2},
}
EXPERIMENT = {
    "name": "Does dropout help?",
    "base": {"dataset": {"name": "mnist_5k"}, "model": {"hidden_units": [32]}, "training": {"epochs": 2}},
    "variants": [
        {"name": "none", "changes": {}},
        {"name": "dropout", "changes": {"regularization": {"dropout": {"rate": 0.3}}}},
    ],
    "replicates": 2,
    "baseline": "none",
}
STROKE = [[float(12 < column < 16 and 4 <= row < 24) for column in range(28)] for row in range(28)]
ONE = [0.003, 0.941, 0.008, 0.006, 0.007, 0.004, 0.005, 0.013, 0.009, 0.004]
JSON = {"Content-Type": "application/json"}
# Binary files and images are no useful examples in a JSON document.
EXAMPLE_CONTENT_TYPE = re.compile(r"application/(.+\+)?json|text/(csv|markdown|plain)")


class Recorder:
    """A client that records the first response of each operation, status and format as its example."""

    def __init__(self, client: TestClient, app: FastAPI) -> None:
        self.client = client
        self.examples: dict[str, Any] = {"problems": {}}
        self._operations = {
            (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path))): operation["operationId"]
            for path, operations in app.openapi()["paths"].items()
            for method, operation in operations.items()
        }

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request, and record the response."""
        answer = self.client.request(method, path, **request)
        essence = answer.headers.get("Content-Type", "").partition(";")[0]
        assert answer.is_success or path == "/readyz" or essence == MEDIA_TYPE, answer.text
        if essence == MEDIA_TYPE:
            document = answer.json()
            self.examples["problems"].setdefault(document["type"].rpartition("/")[2], document)
        else:
            self._keep(method, answer, essence, request.get("json"))
        return answer

    def _keep(self, method: str, answer: httpx.Response, essence: str, posted: Any) -> None:
        example = self.examples.setdefault(self._operation(method, answer.url.path), {"responses": {}})
        if posted is not None:
            example.setdefault("request", posted)
        if answer.content and EXAMPLE_CONTENT_TYPE.fullmatch(essence):
            content = answer.json() if essence.endswith("json") else answer.text
            example["responses"].setdefault(str(answer.status_code), {}).setdefault(essence, content)

    def _operation(self, method: str, path: str) -> str:
        # A literal path, such as /charts, goes before one with a parameter in its place.
        fitting = [
            (len(pattern.pattern), name)
            for (verb, pattern), name in self._operations.items()
            if verb == method and pattern.fullmatch(path)
        ]
        return max(fitting)[1]


def walk(settings: Settings, database: Database) -> dict[str, Any]:
    """The responses of every operation, by operation id; under `problems` a document of each type."""
    app = create_app(settings)

    @app.get("/broken", include_in_schema=False)
    def broken() -> None:
        raise RuntimeError

    with TestClient(app) as client:
        recorder = Recorder(client, app)
        _about(recorder)
        _jobs(recorder, settings, database)
        _experiments(recorder, database)
        _batches(recorder)
        _datasets(recorder)
        _keys(recorder)
        _webhooks(recorder, database)
        _refusals(recorder)
        _sent_again(recorder, database)
        _from_elsewhere(recorder)
    _with_keys(recorder, settings, database)
    lost = settings.model_copy(update={"database_url": "sqlite:////nowhere/at/all.db"})
    with TestClient(create_app(lost)) as client:
        recorder.client = client
        recorder.request("GET", "/v1/jobs")
    return recorder.examples


def _about(recorder: Recorder) -> None:
    parts = ("database", "migrations", "broker", "worker")
    checks = AsyncMock(return_value=dict.fromkeys(parts, "ok"))
    with patch.object(health.ReadinessCheck, "get_checks", checks):
        recorder.request("GET", "/readyz")
    for path in ("/", "/healthz", "/readyz", "/metrics", "/problems/conflict", "/v1/techniques/dropout"):
        recorder.request("GET", path)
    for path in ("techniques", "presets", "datasets", "presets/l1-vs-l2", "datasets/mnist_5k"):
        recorder.request("GET", f"/v1/{path}")


def _jobs(recorder: Recorder, settings: Settings, database: Database) -> None:
    job = recorder.request("POST", "/v1/jobs", json=JOB).json()["id"]
    here = f"/v1/jobs/{job}"
    model = ArtifactStore(settings).put(f"jobs/{job}/1/model.keras", b"a model")
    predicted = TestPredictions(np.log(np.float32([[0.75, 0.25], [0.5, 0.5]])), np.array([0, 1], np.int32))
    predictions = ArtifactStore(settings).put(f"jobs/{job}/1/test_predictions.npz", predicted.to_bytes())
    finish_job(
        database,
        job,
        result=result_record(
            epochs_run=2,
            model_path=f"jobs/{job}/1/model.keras",
            model_sha256=model,
            predictions_path=f"jobs/{job}/1/test_predictions.npz",
            predictions_sha256=predictions,
        ),
        epochs=2,
    )
    recorder.request("POST", "/v1/jobs?dry_run=true", json=JOB)
    recorder.request("PATCH", here, json={"labels": {"study": None, "course": "ml1"}, "notes": "Odd curve"})
    for path in ("/v1/jobs", here, f"{here}/epochs", f"{here}/events", f"{here}/model"):
        recorder.request("GET", path)
    for path in ("epochs", "test-predictions"):
        recorder.request("GET", f"{here}/{path}", headers={"Accept": "text/csv"})
    recorder.request("GET", f"{here}/model", headers={"Range": "bytes=7-"})
    for index in (3, 1_000):
        recorder.request("GET", f"{here}/test-images?index={index}")
    recorder.request("POST", f"{here}/cancel")
    waiting, running, failed = (
        f"/v1/jobs/{job_in(database, state)}"
        for state in (JobState.QUEUED, JobState.RUNNING, JobState.FAILED)
    )
    for verb in ("pause", "resume"):
        recorder.request("POST", f"{waiting}/{verb}")
    for verb in ("pause", "cancel"):
        recorder.request("POST", f"{running}/{verb}")
    recorder.request("POST", f"{waiting}/cancel")
    for _ in range(2):
        recorder.request("POST", f"{failed}/retry")
    _predictions(recorder, job)
    recorder.request("DELETE", here)


def _predictions(recorder: Recorder, job: str) -> None:
    posted = {"images": [STROKE], "scale": "unit"}
    recorder.request("POST", f"/v1/jobs/{job}/predict", json=posted)
    # No predictor runs in a test of the API; tests/integration/worker/test_predictor.py has the real answers.
    with patch.object(predictions, "predict", lambda _settings, job_ids, _images: [[ONE]] * len(job_ids)):
        recorder.request("POST", f"/v1/jobs/{job}/predict", json=posted)
        recorder.request("POST", f"/v1/predict?job={job}", json=posted)


def _datasets(recorder: Recorder) -> None:
    form = {"data": {"name": "letters"}, "files": [("files", tuple(*as_keras(draw(2, 2, 2)).items()))]}
    recorder.request("POST", "/v1/datasets?dry_run=true", **form)
    recorder.request("POST", "/v1/datasets", **form)
    recorder.request("DELETE", "/v1/datasets/letters")


def _experiments(recorder: Recorder, database: Database) -> None:
    recorder.request("POST", "/v1/experiments?dry_run=true", json=EXPERIMENT)
    experiment = recorder.request("POST", "/v1/experiments", json=EXPERIMENT).json()["id"]
    here = f"/v1/experiments/{experiment}"
    for verb in ("pause", "resume"):
        recorder.request("POST", f"{here}/{verb}")
    _while_one_runs(recorder, database)
    jobs = [job["id"] for job in recorder.client.get(f"/v1/jobs?experiment={experiment}").json()["items"]]
    for number, job in enumerate(jobs):
        finish_job(
            database, job, result=result_record(epochs_run=2, test_accuracy=0.96 + number / 500), epochs=2
        )
    for path in (
        "",
        "/events",
        "/report",
        "/curves",
        "/charts",
        "/charts/accuracy-by-seed",
        "/bias-variance",
        "/mistakes",
        "/memorization",
        "/ensembles",
        "/time-to-target",
        "/time-to-target?metric=validation_accuracy&target=0.9",
        "/bias-variance?format=csv",
    ):
        recorder.request("GET", here + path)
    for form in ("md", "csv", "html"):
        recorder.request("GET", f"{here}/report?format={form}")
        recorder.request("GET", f"/v1/reports?job={jobs[0]}&job={jobs[-1]}&format={form}")
    recorder.request("GET", f"/v1/reports?job={jobs[0]}&job={jobs[-1]}")
    recorder.request("POST", "/v1/recommendations", json={"train_examples": 1000, "parameters": 100_000})
    bundle = recorder.request("GET", f"{here}/bundle").content
    recorder.request("POST", "/v1/bundles", content=bundle, headers={"Content-Type": "application/zip"})
    frozen = recorder.request("POST", f"{here}/reports").headers["Location"]
    for path in (f"{here}/reports", frozen, *(f"{frozen}?format={form}" for form in ("md", "csv", "html"))):
        recorder.request("GET", path)
    recorder.request("PATCH", here, json={"labels": {"course": "ml1"}, "priority": 5})
    recorder.request("POST", f"{here}/extend", json={"seeds": [2]})
    recorder.request("POST", f"{here}/cancel")
    rate = {"low": 1e-4, "high": 1e-2, "scale": "log"}
    tuned = EXPERIMENT | {
        "tune": {"parameters": {"/training/optimizer/learning_rate": rate}, "trials": 2, "seed": 1}
    }
    experiment = recorder.client.post("/v1/experiments", json=tuned).json()["id"]
    for job in recorder.client.get(f"/v1/jobs?experiment={experiment}").json()["items"][-4:]:
        finish_job(database, job["id"], epochs=2)
    for form in ("json", "csv"):
        recorder.request("GET", f"/v1/experiments/{experiment}/trials?format={form}")
    recorder.request("POST", f"{here}/retry-failed")
    recorder.request("GET", "/v1/experiments")
    # All of its runs are jobs of the first one, which stay.
    again = recorder.client.post("/v1/experiments", json=EXPERIMENT).json()["id"]
    recorder.request("DELETE", f"/v1/experiments/{again}")


def _while_one_runs(recorder: Recorder, database: Database) -> None:
    experiment = recorder.client.post("/v1/experiments", json=EXPERIMENT).json()["id"]
    with database.write() as session:
        queue.claim(session, get_runs(session, experiment)[0].job.id, owner="worker", lease_seconds=30)
    for verb in ("pause", "cancel"):
        recorder.request("POST", f"/v1/experiments/{experiment}/{verb}")


def _batches(recorder: Recorder) -> None:
    jobs = {"jobs": [JOB, JOB | {"seed": 1}]}
    recorder.request("POST", "/v1/jobs/batch?dry_run=true", json=jobs)
    recorder.request("POST", "/v1/jobs/batch", json=jobs)
    recorder.request("POST", "/v1/jobs/cancel?label=study%3Dfirst&limit=2")


def _keys(recorder: Recorder) -> None:
    key = recorder.request(
        "POST", "/v1/keys", json={"name": "laptop", "owner": "ada", "scope": "write"}
    ).json()
    recorder.request("GET", "/v1/keys")
    recorder.request("POST", f"/v1/keys/{key['id']}/revoke")
    recorder.request("GET", "/v1/audit")


def _webhooks(recorder: Recorder, database: Database) -> None:
    document = {"url": "https://example.org/regbench", "states": ["succeeded", "failed"]}
    here = recorder.request("POST", "/v1/webhooks", json=document).headers["Location"]
    finished_job(database)
    for path in ("/v1/webhooks", here, f"{here}/deliveries"):
        recorder.request("GET", path)
    message = recorder.request("POST", f"{here}/test").json()["id"]
    recorder.request("POST", f"{here}/deliveries/{message}/redeliver")
    recorder.request("DELETE", here)


def _sent_again(recorder: Recorder, database: Database) -> None:
    key = {"Idempotency-Key": "0f6f0f0e-first-try"}
    recorder.request("POST", "/v1/jobs", json=JOB, headers=key)
    recorder.request("POST", "/v1/jobs", json=JOB | {"seed": 1}, headers=key)
    with database.write() as session:
        claim = idempotency.claim_key(session, LOCAL_OWNER, "k", "")
    with patch("api.http.idempotency.hashlib.sha256", return_value=Mock(hexdigest=lambda: "")):
        recorder.request("POST", "/v1/jobs", json=JOB, headers={"Idempotency-Key": "k"})
    with database.write() as session:
        assert isinstance(claim, idempotency.KeyClaim)
        idempotency.release(session, claim)


def _from_elsewhere(recorder: Recorder) -> None:
    recorder.request("GET", "/v1/jobs", headers={"Host": "evil.example"})
    recorder.request("POST", "/v1/jobs", json=JOB, headers={"Origin": "http://evil.example"})
    waiting = recorder.client.post("/v1/jobs", json=JOB).json()["links"]["events"]
    with patch.object(JobUpdates, "is_full", return_value=True):
        recorder.request("GET", waiting, headers={"Accept": "text/event-stream"})


def _with_keys(recorder: Recorder, settings: Settings, database: Database) -> None:
    """The responses of an installation that requires keys and limits their requests."""
    with database.write() as session:
        _, reads = create_key(session, name="reader", owner="ada", scope=Scope.READ)
        _, writes = create_key(session, name="writer", owner="ada", scope=Scope.WRITE)
        old, expired = create_key(session, name="old", owner="ada", scope=Scope.READ, expires_days=1)
        old.expires_at = get_database_now(session) - timedelta(days=1)
    strict = settings.model_copy(
        update={"api_keys_required": "true", "max_queued_jobs": 1, "max_reads_per_minute": 1}
    )
    with TestClient(create_app(strict)) as client:
        recorder.client = client
        for headers in ({}, _bearer(f"rb_{'x' * 43}"), _bearer(expired)):
            recorder.request("GET", "/v1/jobs", headers=headers)
        recorder.request("POST", "/v1/jobs", json=JOB, headers=_bearer(reads))
        for _ in range(2):
            recorder.request("GET", "/v1/jobs", headers=_bearer(reads))
        for _ in range(2):
            recorder.request("POST", "/v1/jobs", json=JOB, headers=_bearer(writes))


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _refusals(recorder: Recorder) -> None:
    recorder.request("PUT", "/v1/jobs")
    recorder.request("GET", "/v1/jobs/job_none")
    recorder.request("GET", "/v1/jobs?limit=0&sort_by=age")
    recorder.request("GET", "/problems/conflict", headers={"Accept": "image/png"})
    recorder.request("POST", "/v1/jobs", content="{'seed': 1}", headers=JSON)
    recorder.request("POST", "/v1/jobs", content=" " * 70_000, headers=JSON)
    recorder.request("POST", "/v1/jobs", content="seed=1")
    recorder.request("POST", "/v1/jobs", json={"epoch": 3})
    recorder.request("POST", "/v1/jobs", json=JOB | {"model": {"hidden_units": [4096, 4096, 4096]}})
    recorder.request("POST", "/v1/jobs", json={"dataset": {"name": "mnist"}})
    recorder.request("GET", "/broken")
