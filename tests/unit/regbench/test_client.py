"""regbench.client: what is sent, and how each kind of response is handled."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from models import states
from models.spec import JobSpec
from regbench.client import Regbench
from regbench.connection import DEFAULT_URL, find_address_and_key
from regbench.errors import ClientError, FieldError, ProblemError, Unreachable
from regbench.reports import Report
from regbench.resources import JobState
from tests import comparisons
from tests.unit.regbench.conftest import Service
from tests.unit.regbench.documents import epoch, job, page, predictions, problem


def test_a_job_is_sent_with_only_the_fields_that_were_set(service: Service) -> None:
    service.answer("POST /v1/jobs", (202, job()))
    with Regbench(service.url) as client:
        stored = client.submit_job(JobSpec.model_validate({"seed": 3, "regularization": {"dropout": {}}}))
    assert (stored.id, stored.state) == ("job_1", JobState.QUEUED)
    assert service.requests[0].body == {"seed": 3, "regularization": {"dropout": {}}}


def test_non_finite_numbers_are_left_to_the_service(service: Service) -> None:
    errors = [{"pointer": "/seed", "detail": "Input should be a finite number"}]
    service.answer("POST /v1/jobs", (422, problem(422, errors=errors)))
    with Regbench(service.url) as client, pytest.raises(ProblemError) as refused:
        client.submit_job({"seed": float("inf"), "name": "\ud800"})
    assert refused.value.errors == [FieldError("/seed", "Input should be a finite number")]
    assert service.requests[0].body == {"seed": float("inf"), "name": "\ud800"}


def test_the_clients_states_equal_the_services() -> None:
    service_states = {str(state): state.terminal for state in states.JobState}
    assert {str(state): state.terminal for state in JobState} == service_states


def test_unknown_fields_are_preserved(service: Service) -> None:
    service.answer("GET /v1/jobs/job_1", (200, job(invented_later=[1, 2])))
    with Regbench(service.url) as client:
        assert '"invented_later": [\n' in client.job("job_1").to_json()


@pytest.mark.parametrize("action", ["pause", "resume", "retry_failed", "cancel"])
def test_experiment_actions_use_its_own_endpoints(service: Service, action: str) -> None:
    route = f"/v1/experiments/exp_1/{action.replace('_', '-')}"
    service.answer("GET /v1/experiments/exp_1", (200, {"id": "exp_1", "name": "mine"}))
    service.answer(f"POST {route}", (202, {"id": "exp_1", "name": "mine"}))
    with Regbench(service.url) as client:
        assert getattr(client.experiment("exp_1"), action)().id == "exp_1"
    assert service.requests[-1].path == route


def test_listing_goes_through_all_pages(service: Service) -> None:
    service.answer(
        "GET /v1/jobs",
        (200, page(job(id="job_3"), job(id="job_2"), next_cursor="c1")),
        (200, page(job(id="job_1"))),
    )
    with Regbench(service.url) as client:
        listed = client.jobs(states=[JobState.QUEUED, JobState.RUNNING], experiment="exp_1")
        assert [item.id for item in listed] == ["job_3", "job_2", "job_1"]
    assert [request.query.get("cursor") for request in service.requests] == [None, ["c1"]]
    assert {tuple(request.query["state"]) for request in service.requests} == {("queued", "running")}
    assert {tuple(request.query["experiment"]) for request in service.requests} == {("exp_1",)}


def test_an_experiments_jobs_are_listed_in_order_of_creation(service: Service) -> None:
    service.answer("GET /v1/jobs", (200, page(job(id="job_2"), job(id="job_1"))))
    with Regbench(service.url) as client:
        assert [item.id for item in client.jobs_of("exp_1")] == ["job_1", "job_2"]


def test_each_action_is_a_post_that_returns_the_job(service: Service) -> None:
    with Regbench(service.url) as client:
        for verb, request in (
            ("cancel", client.cancel),
            ("pause", client.pause),
            ("resume", client.resume),
            ("retry", client.retry),
        ):
            service.answer(f"POST /v1/jobs/job_1/{verb}", (200, job(id=f"job after {verb}")))
            assert request("job_1").id == f"job after {verb}"


def test_changes_are_sent_as_a_merge_patch(service: Service) -> None:
    service.answer("PATCH /v1/jobs/job_1", (200, job()))
    service.answer("PATCH /v1/experiments/exp_1", (200, {"id": "exp_1", "name": "n"}))
    service.answer("DELETE /v1/jobs/job_1", (204, b""))
    service.answer("DELETE /v1/experiments/exp_1", (204, b""))
    with Regbench(service.url) as client:
        client.update_job("job_1", labels={"a": None}, archived=True).delete()
        client.update_experiment("exp_1", notes=None).delete(keep_jobs=True)
    assert [(request.method, request.body) for request in service.requests] == [
        ("PATCH", {"labels": {"a": None}, "archived": True}),
        ("DELETE", None),
        ("PATCH", {"notes": None}),
        ("DELETE", None),
    ]
    assert service.requests[-1].query == {"keep_jobs": ["true"]}


def test_epochs_are_requested_after_a_specified_one(service: Service) -> None:
    service.answer("GET /v1/jobs/job_1/epochs", (200, {"items": [epoch(3)]}))
    with Regbench(service.url) as client:
        assert [record.epoch for record in client.epochs("job_1", after=2)] == [3]
    assert service.requests[0].query == {"after": ["2"]}


def test_a_report_is_requested_in_its_format_and_returned_unchanged(service: Service) -> None:
    service.answer("GET /v1/experiments/exp_1/report", (200, "größer".encode()))
    service.answer("GET /v1/reports", (200, b"a,b\n"))
    with Regbench(service.url) as client:
        assert client.report("exp_1", "md").decode() == "größer"
        assert client.report_of_jobs(["job_1", "job_2"], "csv") == b"a,b\n"
    assert [request.query for request in service.requests] == [
        {"format": ["md"]},
        {"job": ["job_1", "job_2"], "format": ["csv"]},
    ]


def test_a_service_that_is_not_ready_says_what_is_missing(service: Service) -> None:
    checks = {"database": "ok", "worker": "no worker answers"}
    service.answer("GET /readyz", (503, {"status": "not ready", "checks": checks}))
    with Regbench(service.url) as client:
        readiness = client.readiness()
    assert not readiness.ready
    assert readiness.missing == ["worker"]


def test_an_error_preserves_the_whole_problem_document(service: Service) -> None:
    errors = [{"pointer": "/training/epochs", "detail": "must be at least 1"}]
    service.answer("POST /v1/jobs", (422, problem(422, errors=errors)))
    with Regbench(service.url) as client, pytest.raises(ProblemError) as caught:
        client.submit_job({"training": {"epochs": 0}})
    assert caught.value.status == 422
    assert caught.value.errors == [FieldError("/training/epochs", "must be at least 1")]
    assert caught.value.request_id == "req_1"
    assert caught.value.message == "Invalid: One field is wrong."
    assert caught.value.hint == "/training/epochs: must be at least 1"
    assert not caught.value.temporary


def test_an_error_named_by_the_detail_is_not_repeated(service: Service) -> None:
    fault = {"pointer": "/seed", "detail": "must not be negative"}
    document = problem(422, detail="/seed: must not be negative", errors=[fault])
    service.answer("POST /v1/jobs", (422, document))
    with Regbench(service.url) as client, pytest.raises(ProblemError) as caught:
        client.submit_job({"seed": -1})
    assert caught.value.hint == ""


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"[]", b""])
def test_an_error_without_a_problem_document_is_described_by_its_status(
    service: Service, body: bytes
) -> None:
    service.answer("GET /v1/jobs/job_1", (502, body))
    with Regbench(service.url, retries=0) as client, pytest.raises(ProblemError) as caught:
        client.job("job_1")
    assert caught.value.message == "HTTP 502 Bad Gateway"
    assert caught.value.temporary


@pytest.mark.parametrize("body", [b"<html>hello</html>", b'{"id": "job_1"}'])
def test_a_response_of_another_program_is_an_error(service: Service, body: bytes) -> None:
    service.answer("GET /v1/jobs/job_1", (200, body))
    with Regbench(service.url) as client, pytest.raises(Unreachable, match="is not Regbench"):
        client.job("job_1")


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (httpx.ConnectError("refused"), "No service responds at http://regbench.test"),
        (httpx.ReadTimeout("slow"), "did not respond in time"),
        (httpx.RemoteProtocolError("torn"), "No service responds"),
    ],
)
def test_every_failure_of_the_network_is_one_error(failure: httpx.TransportError, message: str) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise failure

    with (
        Regbench("http://regbench.test/", retries=0, transport=httpx.MockTransport(fail)) as client,
        pytest.raises(Unreachable, match=message),
    ):
        client.job("job_1")


@pytest.mark.parametrize("url", ["regbench", "ftp://127.0.0.1", "http://[", "http://127.0.0.1:port"])
def test_an_invalid_address_is_unreachable(url: str) -> None:
    with pytest.raises(Unreachable), Regbench(url) as client:
        client.readiness()


def test_a_proxy_is_not_used_for_loopback(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    service.answer("GET /healthz", (200, {"status": "ok"}))
    with Regbench(service.url) as client:
        assert client.is_alive()


@pytest.mark.parametrize(
    ("api_key", "sent"), [(None, "Bearer rb_env"), ("rb_own\n", "Bearer rb_own"), ("", None)]
)
def test_a_key_is_sent_with_each_request(
    monkeypatch: pytest.MonkeyPatch, api_key: str | None, sent: str | None
) -> None:
    monkeypatch.setenv("REGBENCH_API_KEY", "rb_env")

    def refuse(request: httpx.Request) -> httpx.Response:
        assert request.headers.get("Authorization") == sent
        return httpx.Response(401, json={"title": "An API key is needed", "detail": "Send one."})

    with (
        Regbench("http://regbench.test", api_key=api_key, transport=httpx.MockTransport(refuse)) as client,
        pytest.raises(ProblemError, match="REGBENCH_API_KEY"),
    ):
        client.job("job_1")


@pytest.mark.parametrize(
    ("environment", "dotenv", "base_url", "expected"),
    [
        ({}, {}, None, (DEFAULT_URL, "")),
        ({}, {"URL": "http://a.test/", "API_KEY": "rb_a"}, None, ("http://a.test", "rb_a")),
        ({}, {"API_KEY": "rb_a"}, "http://b.test/", ("http://b.test", "rb_a")),
        ({"URL": "http://b.test"}, {"API_KEY": "rb_a"}, None, ("http://b.test", "rb_a")),
        ({"URL": "http://b.test", "API_KEY": "rb_b"}, {"API_KEY": "rb_a"}, None, ("http://b.test", "rb_b")),
        # Another address than the key's own.
        ({}, {"URL": "http://a.test", "API_KEY": "rb_a"}, "http://b.test", ("http://b.test", "")),
        ({"URL": "http://b.test"}, {"URL": "http://a.test", "API_KEY": "rb_a"}, None, ("http://b.test", "")),
        ({"API_KEY": "rb_b"}, {"URL": "http://a.test"}, None, (DEFAULT_URL, "rb_b")),
    ],
)
def test_f14_a_key_is_sent_only_to_the_address_that_is_configured_with_it(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    environment: dict[str, str],
    dotenv: dict[str, str],
    base_url: str | None,
    expected: tuple[str, str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("URL", "API_KEY"):
        monkeypatch.delenv(f"REGBENCH_{name}", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(f"REGBENCH_{name}", value)
    Path(".env").write_text("".join(f"REGBENCH_{name}={value}\n" for name, value in dotenv.items()))
    assert find_address_and_key(base_url, None) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_f14_f21_the_address_and_the_key_are_read_after_a_byte_order_mark(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("URL", "API_KEY"):
        monkeypatch.delenv(f"REGBENCH_{name}", raising=False)
    lines = "REGBENCH_URL=http://a.test\nREGBENCH_API_KEY=rb_a\n"
    Path(".env").write_bytes(lines.encode(encoding))
    assert find_address_and_key(None, None) == ("http://a.test", "rb_a")
    Path(".env").write_bytes(lines.encode("utf-16"))
    with pytest.raises(ClientError, match="not text in UTF-8"):
        find_address_and_key(None, None)


def test_f19_numbers_and_arrays_of_numpy_are_sent_as_numbers(service: Service) -> None:
    service.answer("POST /v1/jobs", (202, job()))
    service.answer("POST /v1/jobs/batch", (202, {"items": [job()]}))
    service.answer("POST /v1/experiments/exp_1/extend", (202, {"id": "exp_1", "name": "dropout"}))
    model = JobSpec.model_validate({"training": {"epochs": 4}}).training
    with Regbench(service.url) as client:
        client.submit_job({"training": {"epochs": np.int64(3)}, "seed": np.uint8(7), "reuse": np.bool_(True)})
        client.submit_jobs([{"model": {"hidden_units": np.array([16, 8])}, "rate": np.float32(0.5)}])
        client.submit_job({"training": model})
        client.extend("exp_1", {"seeds": list(np.arange(3))})
    assert [request.body for request in service.requests] == [
        {"training": {"epochs": 3}, "seed": 7, "reuse": True},
        {"jobs": [{"model": {"hidden_units": [16, 8]}, "rate": 0.5}]},
        {"training": {"epochs": 4}},
        {"seeds": [0, 1, 2]},
    ]


CIRCLE: dict[str, Any] = {}
CIRCLE["base"] = CIRCLE


@pytest.mark.parametrize(
    "document", [{"seed": {1, 2}}, {"rate": Decimal("0.5")}, {"name": b"x"}, {(1, 2): 3}, CIRCLE]
)
def test_f19_what_json_cannot_express_is_a_client_error(document: dict[str, Any]) -> None:
    with Regbench("http://127.0.0.1:9") as client, pytest.raises(ClientError, match="written as JSON"):
        client.submit_job(document)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_c10_ssl_cert_file_applies_on_loopback(
    tls_service: Service, certificate: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    tls_service.answer("GET /healthz", (200, {"status": "ok"}))
    url = tls_service.url.replace("localhost", host)
    with Regbench(url) as client, pytest.raises(Unreachable, match="no secure connection"):
        client.job("job_1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with Regbench(url) as client:
        assert client.is_alive()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_name("absent.pem")))
    with pytest.raises(Unreachable, match="SSL_CERT_FILE"):
        Regbench(url)


def test_images_are_sent_as_a_form(service: Service) -> None:
    service.answer("POST /v1/jobs/job_1/predict", (200, predictions(7)))
    with Regbench(service.url) as client:
        answer = client.predict("job_1", [b"one file", b"another"], center="true")
    assert answer.predictions[0].label == 7
    assert service.requests[0].query == {"invert": ["auto"], "center": ["true"]}
    form = service.requests[0].body
    assert form.count(b'name="image"; filename=') == 2
    assert b"one file" in form
    assert b"another" in form


def test_a_notebook_shows_reports_experiments_and_jobs_with_names_escaped(service: Service) -> None:
    text = comparisons.full(("none", "<script>")).model_dump_json()
    service.answer("GET /v1/experiments/exp_1/report", (200, text.encode()))
    service.answer("GET /v1/experiments/exp_1/charts/cost", (200, b"<svg/>"))
    service.answer("GET /v1/jobs/job_1", (200, job(name="<b>")))
    service.answer("GET /v1/experiments/exp_1", (200, {"id": "exp_1", "name": "<i>", "headline": "a < b"}))
    with Regbench(service.url) as client:
        report = client.comparison("exp_1")
        page = report._repr_html_()
        assert "<script>" not in page
        assert "&lt;script&gt;" in page
        assert report.headline in page
        table = report.table()
        assert list(table.index) == ["none", "<script>"]
        assert table.loc["none", "test_accuracy_low"] < table.loc["none", "test_accuracy"]
        assert report.plot("cost")._repr_svg_() == "<svg/>"
        assert "&lt;b&gt;" in client.job("job_1")._repr_html_()
        assert "a &lt; b" in client.experiment("exp_1")._repr_html_()
    with pytest.raises(ClientError):
        Report.model_validate_json(text).plot()
    along = Report.model_validate_json(comparisons.along_axis((250, 1000)).model_dump_json())
    table = along.table()
    assert list(table.index.names) == ["variant", "/dataset/train_samples"]
    assert list(table.loc["dropout"].index) == [250, 1000]
    assert {row["/dataset/train_samples"] for row in along.rows()} == {250, 1000}
    assert "<td>1000</td>" in along._repr_html_()
    assert "<b>dropout</b>, /dataset/train_samples 250: " in along._repr_html_()
