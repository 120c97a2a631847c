"""Regbench over HTTP: one small method for each thing that the service does."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Self, Unpack
from uuid import uuid4

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from regbench.base import (
    ChartFormat,
    Document,
    Edit,
    Items,
    Page,
    PredictionFormat,
    ReportFormat,
    Shape,
)
from regbench.connection import Connection, parse_retry_after
from regbench.documents import Axes, add_axes, is_experiment, to_body, to_document
from regbench.errors import Unreachable, WaitTimeout
from regbench.reports import BiasVariance, Recommendation, Report, Trial
from regbench.resources import (
    CostEstimate,
    Epoch,
    Experiment,
    Job,
    JobState,
    Readiness,
)
from regbench.sharing import SharingMethods
from regbench.uploads import CatalogueMethods

RETRIES = 5

# The longest that the service is asked to keep a request until a job changes; it allows 30 s.
_WAIT_SECONDS = 20
# Between two polls, where the service answers at once or names another time.
_MIN_POLL_SECONDS, _MAX_POLL_SECONDS = 0.5, 5.0
_PAGE_SIZE = 100


class Regbench(CatalogueMethods, SharingMethods):
    """A connection to one Regbench service, closed when its `with` block ends.

    Every method raises ProblemError where the service refuses, and Unreachable where none answers, both with
    the `request_id` that the service's log has. What is transient (a restart, a rate limit) is retried first,
    with growing pauses; what creates something has an `Idempotency-Key`, so that it is created once.

        with Regbench() as regbench:
            job = regbench.submit({"regularization": {"dropout": {"rate": 0.5}}}).wait(timeout=600)
    """

    _connect: ClassVar[type[Connection]] = Connection

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        retries: int = RETRIES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`base_url`, `api_key` None: what REGBENCH_URL and REGBENCH_API_KEY say; `api_key` empty: none.

        `timeout` in seconds, for each attempt of a request; `retries`: attempts after the first one;
        `transport` replaces the network, for tests.
        """
        self._http = self._connect(base_url, api_key, timeout=timeout, retries=retries, transport=transport)
        self.base_url = self._http.base_url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def submit(self, document: BaseModel | Document, *, axes: Axes | None = None) -> Job | Experiment:
        """Submit a job or an experiment: a document with `preset`, `confirms` or `variants` is the latter.

        With `from`, the id of a job or experiment, it is that one's with what the document changes.
        `axes` are values by field, `{"dataset.train_samples": [250, 1000]}`, at which to train every variant.
        """
        fields = add_axes(document, axes)
        return self.create_experiment(fields) if is_experiment(fields) else self.submit_job(fields)

    def submit_job(self, spec: BaseModel | Document) -> Job:
        """Submit a job; it is stored when this returns."""
        return self._read(self._create("/v1/jobs", spec), Job)

    def submit_jobs(self, specs: Sequence[BaseModel | Document]) -> list[Job]:
        """Submit up to 1,000 jobs: all are stored, or none is."""
        batch = {"jobs": [to_document(spec) for spec in specs]}
        return self._read(self._create("/v1/jobs/batch", batch), Items[Job]).items

    def estimate_cost(self, document: BaseModel | Document, *, axes: Axes | None = None) -> CostEstimate:
        """What a job, an experiment or `{"jobs": [...]}` would cost; nothing is stored."""
        document = add_axes(document, axes)
        path = "/v1/experiments" if is_experiment(document) else "/v1/jobs"
        if isinstance(document, dict) and "jobs" in document:
            path = "/v1/jobs/batch"
        response = self._http.request(
            "POST", path, params={"dry_run": True}, idempotent=True, **to_body(document)
        )
        return self._read(response, CostEstimate)

    def job(self, job_id: str) -> Job:
        """The job in its present state."""
        return self._get(f"/v1/jobs/{job_id}", Job)

    def wait_for_job(self, job_id: str, timeout: float | None = None) -> Job:
        """The job once it has ended; the service answers as soon as it changes.

        Raises:
            WaitTimeout: it has not ended after `timeout` seconds, and continues.
        """
        return self._wait(f"/v1/jobs/{job_id}", Job, lambda job: job.state.terminal, timeout, long_poll=True)

    def jobs(
        self,
        *,
        states: Sequence[JobState] = (),
        experiment: str | None = None,
        page_size: int = _PAGE_SIZE,
        **query: Any,
    ) -> Iterator[Job]:
        """Jobs, newest first, page after page as they are asked for.

        Further filters, and `sort`, have the API's names: `technique=["l2"]`, `dataset=["mnist"]`,
        `label=["sweep=7"]`, `metric=["test_accuracy>=0.98"]`, `created_after="2026-01-31T12:00:00Z"`,
        `sort="-test_accuracy"`.
        """
        query |= {"state": [str(state) for state in states]}
        if experiment is not None:
            query["experiment"] = experiment
        return self._iter_pages("/v1/jobs", Job, page_size, query)

    def epochs(self, job_id: str, *, after: int = 0) -> list[Epoch]:
        """The job's history from the epoch that follows `after` on."""
        return self._get(f"/v1/jobs/{job_id}/epochs", Items[Epoch], after=after).items

    def cancel(self, job_id: str) -> Job:
        """Cancel a job; a running job stops within about a second."""
        return self._post(f"/v1/jobs/{job_id}/cancel", Job)

    def pause(self, job_id: str) -> Job:
        """Pause a job; a running job stops within about a second."""
        return self._post(f"/v1/jobs/{job_id}/pause", Job)

    def resume(self, job_id: str) -> Job:
        """Resume a paused job."""
        return self._post(f"/v1/jobs/{job_id}/resume", Job)

    def retry(self, job_id: str) -> Job:
        """The new job that trains a failed or cancelled one's specification again."""
        return self._read(self._create(f"/v1/jobs/{job_id}/retry"), Job)

    def update_job(self, job_id: str, **changes: Unpack[Edit]) -> Job:
        """Change name, labels, notes, priority or `archived`; None resets a field or removes a label."""
        return self._read(self._patch(f"/v1/jobs/{job_id}", changes), Job)

    def delete_job(self, job_id: str) -> None:
        """Remove an ended job with its history and model."""
        self._http.request("DELETE", f"/v1/jobs/{job_id}")

    def create_experiment(
        self, document: BaseModel | Document, *, axes: Axes | None = None, timeout: float | None = None
    ) -> Experiment:
        """Submit an experiment, or `{"preset": NAME, ...overrides}`; its jobs are stored when this returns.

        `axes` are values by field, `{"dataset.train_samples": [250, 1000]}`, at which to train every variant.
        `timeout` in seconds: a service that has to download a dataset first takes its time.
        """
        body = add_axes(document, axes)
        return self._read(self._create("/v1/experiments", body, timeout=timeout), Experiment)

    def experiment(self, experiment_id: str) -> Experiment:
        """The experiment and how far it is."""
        return self._get(f"/v1/experiments/{experiment_id}", Experiment)

    def experiments(self, *, page_size: int = _PAGE_SIZE, **query: Any) -> Iterator[Experiment]:
        """Experiments, newest first, page after page as they are asked for.

        Filters, and `sort`, have the API's names: `q="dropout"`, `label=["course=ml1"]`, `finished=True`.
        """
        return self._iter_pages("/v1/experiments", Experiment, page_size, query)

    def wait_for_experiment(self, experiment_id: str, timeout: float | None = None) -> Experiment:
        """The experiment once all its jobs have ended; the service answers as soon as one of them does.

        Raises:
            WaitTimeout: they have not after `timeout` seconds, and continue.
        """
        path = f"/v1/experiments/{experiment_id}"
        return self._wait(path, Experiment, lambda item: item.finished, timeout, long_poll=True)

    def extend(self, experiment_id: str, extension: Document) -> Experiment:
        """Add `seeds`, or `variants`; only what is new is trained."""
        return self._read(self._create(f"/v1/experiments/{experiment_id}/extend", extension), Experiment)

    def confirm(self, experiment_id: str, **changes: Any) -> Experiment:
        """Submit a follow-up on fresh seeds; `changes`: its `variants`, `seeds` or other fields."""
        return self.create_experiment({"confirms": experiment_id, **changes})

    def pause_experiment(self, experiment_id: str) -> Experiment:
        """Pause all the experiment's jobs that have not ended."""
        return self._post(f"/v1/experiments/{experiment_id}/pause", Experiment)

    def resume_experiment(self, experiment_id: str) -> Experiment:
        """Resume all the experiment's paused jobs."""
        return self._post(f"/v1/experiments/{experiment_id}/resume", Experiment)

    def retry_failed(self, experiment_id: str) -> Experiment:
        """Train the experiment's failed and cancelled jobs again, as new jobs in their places."""
        return self._read(self._create(f"/v1/experiments/{experiment_id}/retry-failed"), Experiment)

    def update_experiment(self, experiment_id: str, **changes: Unpack[Edit]) -> Experiment:
        """The same of an experiment; `priority` and `archived` apply to its own jobs, too."""
        return self._read(self._patch(f"/v1/experiments/{experiment_id}", changes), Experiment)

    def delete_experiment(self, experiment_id: str, *, keep_jobs: bool = False) -> None:
        """Remove an experiment with the jobs that no other one uses, or without them."""
        self._http.request("DELETE", f"/v1/experiments/{experiment_id}", params={"keep_jobs": keep_jobs})

    def cancel_experiment(self, experiment_id: str) -> Experiment:
        """Cancel all the experiment's jobs that have not ended."""
        return self._post(f"/v1/experiments/{experiment_id}/cancel", Experiment)

    def jobs_of(self, experiment_id: str) -> list[Job]:
        """The experiment's jobs, oldest first."""
        return list(self.jobs(experiment=experiment_id))[::-1]

    def report(self, experiment_id: str, form: ReportFormat, *, baseline: str | None = None) -> bytes:
        """The experiment's report; a partial one says what is missing. UTF-8 in every format.

        `baseline`: another variant than planned to compare the others with.
        """
        path = f"/v1/experiments/{experiment_id}/report"
        query = {"format": form} | ({} if baseline is None else {"baseline": baseline})
        return self._http.request("GET", path, params=query).content

    def chart(self, experiment_id: str, name: str, form: ChartFormat, *, width: float | None = None) -> bytes:
        """One chart of the report, `width` inches wide (3 to 7)."""
        path = f"/v1/experiments/{experiment_id}/charts/{name}"
        query = {"format": form} | ({} if width is None else {"width": str(width)})
        return self._http.request("GET", path, params=query).content

    def trials(self, experiment_id: str) -> list[Trial]:
        """The settings that an experiment's tuning has tried, by variant and in their order."""
        return self._get(f"/v1/experiments/{experiment_id}/trials", Items[Trial]).items

    def bias_variance(self, experiment_id: str) -> BiasVariance:
        """Bias and variance over the parts of an experiment's training data."""
        return self._get(f"/v1/experiments/{experiment_id}/bias-variance", BiasVariance)

    def recommend(
        self,
        *,
        train_examples: int | None = None,
        parameters: int | None = None,
        seconds: float | None = None,
        needs: Sequence[str] = ("accuracy",),
    ) -> Recommendation:
        """What the service's own experiments say about choosing a technique for a task.

        `train_examples`: those held out for validation among them; `seconds`: how long one model may train.
        """
        task = {"train_examples": train_examples, "parameters": parameters, "seconds": seconds}
        body = to_body(task | {"needs": list(needs)})
        response = self._http.request("POST", "/v1/recommendations", idempotent=True, **body)
        return self._read(response, Recommendation)

    def report_of_jobs(self, job_ids: Sequence[str], form: ReportFormat) -> bytes:
        """The same comparison over any finished jobs."""
        return self._http.request("GET", "/v1/reports", params={"job": list(job_ids), "format": form}).content

    def test_predictions(self, job_id: str, form: PredictionFormat = "npz") -> bytes:
        """What a succeeded job's model says of each test image: a NumPy archive, or CSV.

        `log_probabilities` (n, classes), natural logarithms as 32-bit floats, and `labels` (n,).
        """
        path = f"/v1/jobs/{job_id}/test-predictions"
        return self._http.request("GET", path, params={"format": form}).content

    def comparison(self, experiment_id: str, *, baseline: str | None = None) -> Report:
        """The experiment's report, parsed."""
        query = {} if baseline is None else {"baseline": baseline}
        return self._get(f"/v1/experiments/{experiment_id}/report", Report, format="json", **query)

    def comparison_of_jobs(self, job_ids: Sequence[str]) -> Report:
        """The report of any finished jobs, parsed."""
        return self._get("/v1/reports", Report, job=list(job_ids), format="json")

    def is_alive(self) -> bool:
        """Whether the service answers at all."""
        try:
            return self._http.request_once("GET", "/healthz").is_success
        except Unreachable:
            return False

    def readiness(self) -> Readiness:
        """Whether the service can train now, and what is missing if not."""
        return self._read(self._http.request_once("GET", "/readyz"), Readiness)

    def _wait(
        self,
        path: str,
        shape: type[Shape],
        is_done: Callable[[Shape], bool],
        timeout: float | None,
        *,
        long_poll: bool = False,
    ) -> Shape:
        """Poll until it is done; a long poll asks the service to respond when it changes."""
        deadline, etag = math.inf if timeout is None else time.monotonic() + timeout, ""
        while True:
            sent_at = time.monotonic()
            wait = max(math.ceil(min(_WAIT_SECONDS, deadline - sent_at)), 1) if long_poll else 0
            headers = {"Prefer": f"wait={wait}"} if wait else {}
            if etag:
                headers["If-None-Match"] = etag
            response = self._http.request("GET", path, headers=headers, timeout=self._http.timeout + wait)
            if response.status_code != httpx.codes.NOT_MODIFIED:
                resource, etag = self._read(response, shape), response.headers.get("ETag", "")
                if is_done(resource):
                    return resource
            now = time.monotonic()
            if now >= deadline:
                name = f"{shape.__name__} {path.rpartition('/')[2]}"
                request_id = response.headers.get("X-Request-Id")
                raise WaitTimeout(f"{name} has not ended in time; it continues.", request_id=request_id)
            pause = min(parse_retry_after(response) or _MIN_POLL_SECONDS, _MAX_POLL_SECONDS)
            next_poll = sent_at + _MIN_POLL_SECONDS if long_poll else now + pause
            time.sleep(max(min(next_poll, deadline) - now, 0.0))

    def _get(self, path: str, shape: type[Shape], **query: Any) -> Shape:
        return self._read(self._http.request("GET", path, params=query), shape)

    def _post(self, path: str, shape: type[Shape]) -> Shape:
        return self._read(self._http.request("POST", path), shape)

    def _patch(self, path: str, changes: Edit) -> httpx.Response:
        # The same change twice is one change.
        return self._http.request("PATCH", path, idempotent=True, **to_body({**changes}))

    def _create(
        self, path: str, document: BaseModel | Document | None = None, *, timeout: float | None = None
    ) -> httpx.Response:
        request = {} if document is None else to_body(document)
        headers = request.pop("headers", {}) | {"Idempotency-Key": str(uuid4())}
        return self._http.request("POST", path, headers=headers, idempotent=True, timeout=timeout, **request)

    def _iter_pages(
        self, path: str, shape: type[Shape], page_size: int, query: dict[str, Any]
    ) -> Iterator[Shape]:
        query = query | {"limit": page_size}
        while True:
            page = self._get(path, Page[shape], **query)  # type: ignore[valid-type]  # built from a variable
            yield from page.items
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    def _read(self, response: httpx.Response, shape: type[Shape]) -> Shape:
        try:
            return TypeAdapter(shape).validate_json(response.content, context=self)
        except ValidationError:
            raise Unreachable(
                f"The program that responds at {self.base_url} is not Regbench.",
                "Is the address right? See --url.",
                request_id=response.headers.get("X-Request-Id"),
            ) from None
