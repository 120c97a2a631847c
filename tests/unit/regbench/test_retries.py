"""Retries: of which requests, when, and that nothing is created twice."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from regbench.client import Regbench
from regbench.errors import ProblemError, Unreachable, WaitTimeout
from tests.unit.regbench.conftest import Service
from tests.unit.regbench.documents import job, page, problem

BUSY = (503, problem(503, title="Unavailable", detail="no database"))


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The duration of each sleep; no test really sleeps."""
    pauses: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", pauses.append)
    return pauses


def test_transient_errors_are_retried_with_exponential_backoff(service: Service, slept: list[float]) -> None:
    service.answer("GET /v1/jobs/job_1", *[BUSY] * 5, (200, job()))
    with Regbench(service.url) as client:
        assert client.job("job_1").id == "job_1"
    assert len(slept) == 5
    assert all(pause <= 0.5 * 2**number for number, pause in enumerate(slept))
    assert len(set(slept)) == 5, "the pauses are not drawn by chance"
    assert len({request.headers["X-Request-Id"] for request in service.requests}) == 1


def test_a_permanent_outage_is_not_retried_forever(service: Service, slept: list[float]) -> None:
    service.answer("GET /v1/jobs/job_1", BUSY)
    with Regbench(service.url, retries=2) as client, pytest.raises(ProblemError) as refused:
        client.job("job_1")
    assert (len(slept), len(service.requests)) == (2, 3)
    assert refused.value.status == 503


def test_retry_after_is_honoured(service: Service, slept: list[float]) -> None:
    service.answer("GET /v1/jobs/job_1", (429, problem(429), {"Retry-After": "7"}), (200, job()))
    with Regbench(service.url) as client:
        client.job("job_1")
    [pause] = slept
    assert 7.0 <= pause < 7.5


def test_a_retry_after_of_an_hour_is_not_honoured(service: Service, slept: list[float]) -> None:
    service.answer("POST /v1/jobs", (429, problem(429), {"Retry-After": "3600"}))
    with Regbench(service.url) as client, pytest.raises(ProblemError) as refused:
        client.submit_job({})
    assert slept == []
    assert refused.value.retry_after == 3600


@pytest.mark.parametrize(
    ("path", "create"),
    [
        ("/v1/jobs", lambda client: client.submit_job({"seed": 1})),
        ("/v1/jobs/batch", lambda client: client.submit_jobs([{"seed": 1}])),
        ("/v1/experiments", lambda client: client.create_experiment({"preset": "dropout-vs-none"})),
        ("/v1/jobs/job_1/retry", lambda client: client.retry("job_1")),
        ("/v1/experiments/exp_1/extend", lambda client: client.extend("exp_1", {"seeds": [5]})),
        ("/v1/experiments/exp_1/retry-failed", lambda client: client.retry_failed("exp_1")),
    ],
)
def test_creating_requests_are_retried_with_the_same_key_and_content(
    service: Service, slept: list[float], path: str, create: Callable[[Regbench], Any]
) -> None:
    under_way = (409, problem(409), {"Retry-After": "1"})
    created = page(job()) | job(id="exp_1", progress=None) if path.endswith("batch") else job()
    if "experiment" in path:
        created = {"id": "exp_1", "name": "dropout"}
    service.answer(f"POST {path}", (502, b""), under_way, (202, created))
    with Regbench(service.url) as client:
        create(client)
        create(client)
    first, second, third, other = service.requests
    assert (
        first.headers["Idempotency-Key"]
        == second.headers["Idempotency-Key"]
        == third.headers["Idempotency-Key"]
    )
    assert first.body == second.body == third.body
    assert other.headers["Idempotency-Key"] != first.headers["Idempotency-Key"]


def test_an_action_that_may_have_been_executed_is_not_retried(service: Service, slept: list[float]) -> None:
    service.answer("POST /v1/jobs/job_1/cancel", (502, b""))
    with Regbench(service.url) as client, pytest.raises(ProblemError):
        client.cancel("job_1")
    assert len(service.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500])
def test_a_permanent_error_is_not_retried(service: Service, slept: list[float], status: int) -> None:
    service.answer("POST /v1/jobs", (status, problem(status)))
    with Regbench(service.url) as client, pytest.raises(ProblemError):
        client.submit_job({})
    assert (slept, len(service.requests)) == ([], 1)


@pytest.mark.parametrize(
    ("failure", "tries"),
    [(httpx.ConnectError("no"), 3), (httpx.ReadError("torn"), 1), (httpx.ReadTimeout(""), 1)],
)
def test_an_action_is_retried_only_if_it_was_not_sent(
    slept: list[float], failure: httpx.TransportError, tries: int
) -> None:
    sent: list[httpx.Request] = []

    def fail(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        raise failure

    with (
        Regbench("http://regbench.test", retries=2, transport=httpx.MockTransport(fail)) as client,
        pytest.raises(Unreachable) as unreachable,
    ):
        client.pause("job_1")
    assert len(sent) == tries
    assert unreachable.value.request_id == sent[0].headers["X-Request-Id"]


def test_every_refusal_has_its_request_id_and_code(service: Service) -> None:
    document = problem(422, type="http://127.0.0.1/problems/over_budget", request_id=None)
    service.answer("POST /v1/jobs", (422, document, {"X-Request-Id": "req_7"}))
    with Regbench(service.url) as client, pytest.raises(ProblemError) as refused:
        client.submit_job({})
    assert (refused.value.request_id, refused.value.code) == ("req_7", "over_budget")


@pytest.mark.parametrize("timeout", [60, None])
def test_waiting_for_a_job_sends_the_last_etag(service: Service, timeout: float | None) -> None:
    tag = {"ETag": 'W/"1"'}
    service.answer(
        "GET /v1/jobs/job_1", (200, job("running"), tag), (304, b"", tag), (200, job("succeeded"), tag)
    )
    service.answer("POST /v1/jobs", (202, job()))
    with Regbench(service.url) as client:
        assert client.submit_job({}).wait(timeout).state == "succeeded"
    waits = service.requests[1:]
    assert [request.headers.get("If-None-Match") for request in waits] == [None, 'W/"1"', 'W/"1"']
    assert [request.headers["Prefer"] for request in waits] == ["wait=20"] * 3


def test_waiting_for_a_job_times_out(service: Service) -> None:
    service.answer("GET /v1/jobs/job_1", (200, job("running"), {"X-Request-Id": "req_7"}))
    began = time.monotonic()
    with Regbench(service.url) as client, pytest.raises(WaitTimeout, match="job_1") as late:
        client.wait_for_job("job_1", timeout=0.3)
    assert isinstance(late.value, TimeoutError)
    assert late.value.request_id == "req_7"
    assert time.monotonic() - began < 5
    assert not [request for request in service.requests if request.method == "POST"]


def test_an_experiment_is_waited_for(service: Service) -> None:
    progress = {"counts": {}, "total": 2, "fraction": 0.5, "finished": False, "eta_seconds": None}
    experiment = {"id": "exp_1", "name": "dropout", "progress": progress}
    service.answer(
        "GET /v1/experiments/exp_1",
        (200, experiment, {"ETag": 'W/"a"'}),
        (304, b"", {"ETag": 'W/"a"'}),
        (200, experiment | {"progress": progress | {"finished": True}}),
    )
    with Regbench(service.url) as client:
        assert client.wait_for_experiment("exp_1", 60).finished
        assert [request.headers.get("If-None-Match") for request in service.requests] == [
            None,
            'W/"a"',
            'W/"a"',
        ]
        service.answer("GET /v1/experiments/exp_1", (200, experiment))
        with pytest.raises(WaitTimeout, match="exp_1"):
            client.wait_for_experiment("exp_1", 0.3)
