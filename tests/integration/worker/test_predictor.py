"""A real predictor, used through the API: one process for all tests, started by an installation's command."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import httpx
import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from PIL import Image
from redis import Redis
from typer.testing import CliRunner

from api.app import create_app
from models import predictions
from models.artifacts import ArtifactStore
from models.dataset_arrays import Dataset, load
from models.settings import Settings
from models.spec import JobSpec
from models.store import jobs
from models.store.database import Database
from models.test_predictions import TestPredictions
from regbench import Regbench
from regbench.cli.main import app
from regbench.local.stack import PREDICTOR
from tests.factories import finish_job, job_spec, result_record
from tests.integration.api.conftest import TestClient
from tests.integration.api.http.test_problems import problem
from worker import artifacts
from worker.model_cache import load_network
from worker.network import KerasLayers, build_network, export_model
from worker.runner import Runner
from worker.weights import compute_weights_sha256

DEADLINE_SECONDS = 180  # TensorFlow's import alone takes tens of seconds on a busy machine
CACHED_MODELS = 2
CNN = {"family": "cnn", "filters": [4, 6], "kernel_size": 3, "hidden_units": [8]}
SPECS = {
    "plain": job_spec(),
    "batch-normalization": job_spec(
        regularization={"dropout": {"rate": 0.5, "input_rate": 0.2}, "batch_normalization": {}}
    ),
    "normalization-after": job_spec(
        model={"hidden_units": [16, 12], "activation": "tanh"},
        regularization={
            "batch_normalization": {"position": "after_activation"},
            "gaussian_dropout": {"rate": 0.5},
            "gaussian_noise": {"sigma": 0.3},
        },
    ),
    "cnn": job_spec(
        model=CNN, regularization={"spatial_dropout": {"rate": 0.5}, "layer_normalization": {}, "dropout": {}}
    ),
}


class Collector(HTTPServer):
    """Receives spans as OpenTelemetry's collector does, by OTLP over HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), CollectorHandler)
        self.exports: list[ExportTraceServiceRequest] = []

    def get_spans(self, trace_id: str) -> list[Any]:
        """The spans of a trace that have arrived."""
        return [
            span
            for export in self.exports
            for resource in export.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
            if span.trace_id.hex() == trace_id
        ]


class CollectorHandler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.exports.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Not into the output of tests."""


@dataclass(frozen=True)
class Service:
    """An API with a predictor, its database and its log."""

    client: TestClient
    settings: Settings
    database: Database
    log: Path
    pid: int
    collector: "Collector"

    def predict(self, job_id: str, images: NDArray[Any]) -> NDArray[np.float64]:
        """Probabilities (n, 10) of images (n, 28, 28), 0 to 255."""
        answer = self.client.post(f"/v1/jobs/{job_id}/predict", json={"images": images.tolist()})
        assert answer.status_code == 200, answer.text + self.log.read_text()
        predictions = answer.json()["predictions"]
        for prediction in predictions:
            assert prediction["confidence"] == max(prediction["probabilities"])
            assert prediction["label"] == int(np.argmax(prediction["probabilities"]))
        return np.array([prediction["probabilities"] for prediction in predictions])

    def job_of(self, spec: JobSpec, seed: int = 0, **changes: Any) -> str:
        """A job that has succeeded, with random weights; `changes` are its result's."""
        network = build_network(spec, KerasLayers())
        rng = np.random.default_rng(seed)
        for weight in network.weights:
            values = rng.normal(0, 0.2, weight.shape)
            weight.assign(abs(values) if weight.name == "moving_variance" else values)
        with self.database.write() as session:
            job_id = jobs.create_jobs(session, [jobs.NewJob(spec)])[0].id
        store = ArtifactStore(self.settings)
        predictions = TestPredictions(np.zeros((1, 10), np.float32), np.zeros(1, np.int32))
        saved = artifacts.save_artifacts(store, job_id, 1, export_model(spec, network), predictions)
        result = saved | {"weights_sha256": compute_weights_sha256(network)} | changes
        return finish_job(self.database, job_id, result=result_record(**result)).id

    def loads(self, job_id: str) -> int:
        """How often the predictor has loaded a job's model."""
        return self.log.read_text().count(f"loading the model of job {job_id}")


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path, redis_socket: Path
) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("predictor")
    collector = Collector()
    Thread(target=collector.serve_forever, daemon=True).start()
    (home / "regbench.db").write_bytes(migrated_sqlite.read_bytes())
    settings = Settings(
        home=home,
        broker_url=f"redis+socket://{redis_socket}",
        predictor_models=CACHED_MODELS,
        prediction_seconds=60,
    )
    environment = {
        **os.environ,
        "REGBENCH_HOME": str(home),
        "REGBENCH_BROKER_URL": settings.broker_url,
        "REGBENCH_PREDICTOR_MODELS": str(CACHED_MODELS),
        "REGBENCH_TRACING": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    log = home / "predictor.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *PREDICTOR], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    database = Database(settings)
    try:
        _wait_until_ready(redis_socket, process, log)
        with TestClient(create_app(settings)) as client:
            yield Service(client, settings, database, log, process.pid, collector)
    finally:
        process.terminate()
        process.wait(timeout=60)
        database.close()
        collector.shutdown()
        collector.server_close()


def _wait_until_ready(redis_socket: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    with Redis(unix_socket_path=str(redis_socket)) as redis:
        redis.delete(predictions.READY)
        while not redis.exists(predictions.READY):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def mnist_5k() -> Dataset:
    return load("mnist_5k", Settings())


@pytest.fixture(scope="module")
def trained(service: Service) -> str:
    """A job whose model has learned the digits."""
    spec = job_spec(
        model={"hidden_units": [128]},
        regularization={"dropout": {"rate": 0.2}, "batch_normalization": {}},
        training={"epochs": 10},
    )
    with service.database.write() as session:
        job_id = jobs.create_jobs(session, [jobs.NewJob(spec)])[0].id
    runner = Runner(service.settings)
    runner.run_next()
    runner.close()
    return job_id


@pytest.mark.parametrize("name", SPECS)
def test_predictions_equal_those_of_the_downloaded_model(
    service: Service, mnist_5k: Dataset, tmp_path: Path, name: str
) -> None:
    job_id = service.job_of(SPECS[name])
    images = mnist_5k.test_images[::100]
    (tmp_path / "model.keras").write_bytes(service.client.get(f"/v1/jobs/{job_id}/model").content)
    downloaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    expected = downloaded.predict(images.reshape(-1, 784) / np.float32(255), verbose=0)
    assert np.abs(service.predict(job_id, images) - expected).max() < 1e-5
    # Predictions differ between images, so the comparison above can fail.
    assert np.ptp(expected, axis=0).max() > 1e-3


def test_the_command_shows_that_stock_keras_predicts_what_was_stored(
    service: Service, trained: str, mnist_5k: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Transport(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            answer = service.client.request(request.method, str(request.url), headers=dict(request.headers))
            kept = {name: answer.headers[name] for name in ("Repr-Digest",) if name in answer.headers}
            return httpx.Response(answer.status_code, headers=kept, content=answer.content)

    def connect(_: str | None) -> Regbench:
        return Regbench("http://testserver", transport=Transport())

    monkeypatch.setattr("regbench.cli.predict.connect", connect)
    file = tmp_path / "model.keras"
    command = ["model", trained, "--output", str(file), "--check", "--json"]
    checked = json.loads(CliRunner().invoke(app, command, catch_exceptions=False).stdout)
    assert file.stat().st_size == checked["bytes"]
    assert [image["label"] for image in checked["images"]] == list(range(10))
    assert checked["largest_difference"] < 1e-6
    right = [image["label"] == image["predicted"] for image in checked["images"]]
    assert checked["accuracy"] == pytest.approx(sum(right) / 10)
    # The images are those that the predictions were made from.
    index = checked["images"][3]["index"]
    with connect(None) as client:
        assert client.test_images(trained, [index])[0].pixels == mnist_5k.test_images[index].ravel().tolist()
    refused = service.client.get(f"/v1/jobs/{trained}/test-images?index=1000")
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "?index")
    # Another model's predictions are not taken for this one's.
    other = service.job_of(next(iter(SPECS.values())))
    real = Regbench.test_predictions
    monkeypatch.setattr(Regbench, "test_predictions", lambda self, job, form="npz": real(self, other, form))
    refusal = CliRunner().invoke(app, command)
    assert refusal.exit_code == 1
    assert "predicts otherwise than was stored" in refusal.stderr


def test_a_prediction_does_not_depend_on_other_images(
    service: Service, trained: str, mnist_5k: Dataset
) -> None:
    images = mnist_5k.test_images[:256]
    together = service.predict(trained, images)
    assert np.array_equal(service.predict(trained, images), together)
    assert np.array_equal(service.predict(trained, images[::-1]), together[::-1])
    for number in (0, 37, 255):
        assert np.array_equal(
            service.predict(trained, images[number : number + 1]), together[number : number + 1]
        )


def drawn(image: NDArray[np.uint8]) -> bytes:
    """A digit as a user might draw it: dark on 200x200 pixels of light paper, away from the middle."""
    ink = Image.fromarray(255 - image).resize((120, 120), Image.Resampling.BICUBIC)
    paper = Image.new("L", (200, 200), 255)
    paper.paste(ink, (70, 15))
    content = io.BytesIO()
    paper.save(content, "PNG")
    return content.getvalue()


def test_drawn_digits_are_recognized(service: Service, trained: str, mnist_5k: Dataset) -> None:
    images, labels = mnist_5k.test_images[:200], mnist_5k.test_labels[:200]
    as_they_are = (service.predict(trained, images).argmax(axis=1) == labels).mean()
    assert as_they_are > 0.88
    files = [("image", (f"{number}.png", drawn(image))) for number, image in enumerate(images)]
    answer = service.client.post(f"/v1/jobs/{trained}/predict", files=files)
    recognized = np.array([prediction["label"] for prediction in answer.json()["predictions"]])
    assert (recognized == labels).mean() > as_they_are - 0.03
    # This is the effect of the preprocessing.
    as_drawn = service.client.post(f"/v1/jobs/{trained}/predict?center=false", files=files).json()
    assert (
        np.mean(
            [
                prediction["label"] == label
                for prediction, label in zip(as_drawn["predictions"], labels, strict=True)
            ]
        )
        < 0.5
    )


def test_several_models_predict_the_same_images(service: Service, trained: str, mnist_5k: Dataset) -> None:
    other = service.job_of(job_spec(), seed=5)
    images = mnist_5k.test_images[:3]
    answer = service.client.post(f"/v1/predict?job={other}&job={trained}", json={"images": images.tolist()})
    items = answer.json()["items"]
    assert [item["job_id"] for item in items] == [other, trained]
    for item in items:
        apart = service.predict(item["job_id"], images)
        assert np.array_equal([prediction["probabilities"] for prediction in item["predictions"]], apart)


@pytest.mark.parametrize("name", ["batch-normalization", "normalization-after", "cnn"])
def test_dropout_samples_spread_around_the_prediction(service: Service, mnist_5k: Dataset, name: str) -> None:
    job_id = service.job_of(SPECS[name])
    images = mnist_5k.test_images[:3]

    def sample(samples: int, chosen: NDArray[Any]) -> list[dict[str, Any]]:
        answer = service.client.post(
            f"/v1/jobs/{job_id}/predict?dropout_samples={samples}", json={"images": chosen.tolist()}
        )
        assert answer.status_code == 200, answer.text + service.log.read_text()
        items: list[dict[str, Any]] = answer.json()["predictions"]
        return items

    predictions = sample(50, images)
    assert sample(50, images) == predictions
    # Nor does an image's answer depend on the others.
    assert sample(50, images[2:]) == predictions[2:]
    for prediction in predictions:
        spread, mean = prediction["dropout"], np.array(prediction["probabilities"])
        assert sum(mean) == pytest.approx(1)
        assert max(spread["sd"]) > 0.001
        assert spread["predictive_entropy"] == pytest.approx(-(mean * np.log(mean)).sum())
        assert 0 < spread["mutual_information"] < spread["predictive_entropy"]
    # The network itself, its dropout layers alone being as in training: other masks, the same distribution.
    with service.database.read() as session:
        result = jobs.get_result(jobs.get_jobs(session, [job_id])[0])
        content = ArtifactStore(service.settings).get(result.model_path, sha256=result.model_sha256)
    network = load_network(SPECS[name], content)
    x = np.repeat(images[:1].reshape(1, -1) / np.float32(255), 4000, axis=0)
    for layer in network.layers[1:]:
        x = layer(x, training="dropout" in layer.name)
    expected, sd = np.mean(x, axis=0), np.std(x, axis=0)
    assert (np.abs(predictions[0]["probabilities"] - expected) < 5 * sd / 50**0.5 + 1e-3).all()
    assert predictions[0]["dropout"]["sd"] == pytest.approx(sd, rel=0.6, abs=1e-3)


@pytest.mark.parametrize("name", ["prediction", "failure"])
def test_a_prediction_continues_its_requests_trace(
    service: Service, mnist_5k: Dataset, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    trace_id, request = uuid4().hex, "00000000000000ab"
    celery = predictions._get_celery(service.settings)
    # As Celery's instrumentation in the API does.
    headers = {"traceparent": f"00-{trace_id}-{request}-01"}
    monkeypatch.setattr(celery, "send_task", partial(celery.send_task, headers=headers))
    changes = {"weights_sha256": "0" * 64} if name == "failure" else {}
    job_id = service.job_of(SPECS["plain"], **changes)
    images = mnist_5k.test_images[:3].tolist()
    answer = service.client.post(f"/v1/jobs/{job_id}/predict", json={"images": images})
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not service.collector.get_spans(trace_id):
        assert time.monotonic() < deadline, service.log.read_text()
        time.sleep(0.05)
    [span] = service.collector.get_spans(trace_id)
    assert (span.name, span.parent_span_id.hex()) == ("run/regbench.predict", request)
    attributes = {attribute.key: attribute.value for attribute in span.attributes}
    assert [value.string_value for value in attributes["regbench.job_ids"].array_value.values] == [job_id]
    assert attributes["regbench.images"].int_value == 3
    failed = [event.name for event in span.events]
    if name == "failure":
        assert (answer.status_code, failed, span.status.code) == (409, ["failed"], 2)
    else:
        assert (answer.status_code, failed) == (200, [])


def test_the_models_that_were_used_last_stay_loaded(service: Service, mnist_5k: Dataset) -> None:
    first, second, third = (service.job_of(job_spec(), seed) for seed in range(3))
    images = mnist_5k.test_images[:1]
    for job_id in (first, second, first, third, first):
        service.predict(job_id, images)
    assert [service.loads(job_id) for job_id in (first, second, third)] == [1, 1, 1]
    service.predict(second, images)
    assert service.loads(second) == 2


def test_concurrent_prediction_requests(service: Service, trained: str, mnist_5k: Dataset) -> None:
    images = mnist_5k.test_images[:24]
    expected = service.predict(trained, images)
    with ThreadPoolExecutor(12) as pool:
        predicted = list(
            pool.map(lambda number: service.predict(trained, images[number : number + 1])[0], range(24))
        )
    assert np.array_equal(predicted, expected)


def test_a_result_that_arrives_after_the_timeout_expires(
    service: Service, trained: str, mnist_5k: Dataset, redis_socket: Path
) -> None:
    question = {"images": mnist_5k.test_images[:1].tolist()}
    service.predict(trained, mnist_5k.test_images[:1])
    with Redis(unix_socket_path=str(redis_socket)) as redis:
        assert redis.keys(f"{predictions.REPLIES}*") == []
        short = service.settings.model_copy(update={"prediction_seconds": 0.5})
        os.kill(service.pid, signal.SIGSTOP)
        try:
            with TestClient(create_app(short)) as client, ThreadPoolExecutor(4) as pool:
                path = f"/v1/jobs/{trained}/predict"
                answers = list(pool.map(lambda _: client.post(path, json=question), range(4)))
        finally:
            os.kill(service.pid, signal.SIGCONT)
        for answer in answers:
            assert "did not answer within 0.5 s" in problem(answer, 503)["detail"]
        service.predict(trained, mnist_5k.test_images[:1])
        assert redis.llen(predictions.QUEUE) == 0
        # A late response expires soon.
        assert all(0 < redis.ttl(key) <= 60 for key in redis.keys(f"{predictions.REPLIES}*"))


def test_a_loaded_model_is_not_used_once_its_job_is_deleted(service: Service, mnist_5k: Dataset) -> None:
    job_id = service.job_of(job_spec(), seed=9)
    service.predict(job_id, mnist_5k.test_images[:1])
    assert service.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    answer = service.client.post(
        f"/v1/jobs/{job_id}/predict", json={"images": mnist_5k.test_images[:1].tolist()}
    )
    assert "no job" in problem(answer, 404)["detail"]


def test_a_tampered_model_is_never_loaded(service: Service, tmp_path: Path) -> None:
    job_id, other = service.job_of(job_spec(), seed=7), service.job_of(job_spec(), seed=8)
    store = ArtifactStore(service.settings)
    with service.database.read() as session:
        own, others = (jobs.get_result(job) for job in jobs.get_jobs(session, [job_id, other]))
    # A model that could be loaded, but is not this one.
    store.put(own.model_path, store.get(others.model_path, sha256=others.model_sha256))
    answer = service.client.post(f"/v1/jobs/{job_id}/predict", json={"images": [[[0] * 28] * 28]})
    assert "damaged" in problem(answer, 409)["detail"]
    log = service.log.read_text()
    assert f"not loaded: The file {own.model_path} is damaged" in log
    assert service.loads(job_id) == 0
    store.remove(own.model_path)
    answer = service.client.post(f"/v1/jobs/{job_id}/predict", json={"images": [[[0] * 28] * 28]})
    assert "has been removed" in problem(answer, 404)["detail"]


def test_weights_with_another_digest_are_never_used(service: Service) -> None:
    job_id = service.job_of(job_spec(), weights_sha256="0" * 64)
    answer = service.client.post(f"/v1/jobs/{job_id}/predict", json={"images": [[[0] * 28] * 28]})
    assert "differ from the trained ones" in problem(answer, 409)["detail"]


def test_an_incompatible_model_is_an_error_and_the_next_request_succeeds(
    service: Service, trained: str, mnist_5k: Dataset
) -> None:
    job_id = service.job_of(job_spec(model={"hidden_units": [8]}))
    with service.database.write() as session:
        [job] = jobs.get_jobs(session, [job_id])
        job.spec = job_spec(model={"hidden_units": [9]}).model_dump(mode="json")
    answer = service.client.post(f"/v1/jobs/{job_id}/predict", json={"images": [[[0] * 28] * 28]})
    problem(answer, 500)
    service.predict(trained, mnist_5k.test_images[:1])


def test_a_predictor_trains_no_jobs(service: Service) -> None:
    """A predictor must not be reported as a worker."""
    checks = service.client.get("/readyz").json()["checks"]
    assert checks["broker"] == "ok"
    assert "no worker responds" in checks["worker"]


def test_the_predictor_survives_a_broker_that_returns_errors(
    service: Service, redis_socket: Path, trained: str, mnist_5k: Dataset
) -> None:
    service.predict(trained, mnist_5k.test_images[:1])
    with Redis(unix_socket_path=str(redis_socket)) as redis:
        redis.replicaof("127.0.0.1", 1)  # what a failover does to the old primary
        try:
            time.sleep(4)
        finally:
            redis.replicaof("NO", "ONE")
    service.predict(trained, mnist_5k.test_images[:1])


def test_the_predictor_runs_at_lower_priority_than_training(service: Service) -> None:
    assert os.getpriority(os.PRIO_PROCESS, service.pid) > os.getpriority(os.PRIO_PROCESS, 0)


def test_the_predictor_logs_no_predictions(service: Service, trained: str, mnist_5k: Dataset) -> None:
    service.predict(trained, mnist_5k.test_images[:1])
    assert "succeeded in" not in service.log.read_text()
