"""Regbench over HTTP: one small method for each thing that the service does."""

import json
import math
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any, Generic, Literal, Self, TypeVar, overload
from uuid import uuid4

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from models.errors import FieldError
from models.experiments import Document, ExperimentSpec
from models.network_address import loopback_only
from models.settings import get_settings
from models.spec import JobSpec
from models.states import JobState
from regbench.errors import NotInTime, ProblemError, Unreachable
from regbench.resources import (
    Dataset,
    Epoch,
    Experiment,
    Job,
    Predictions,
    Preset,
    Price,
    Readiness,
    Report,
    Technique,
)
from regbench.retries import sent_again

_ABOUT_KEYS = {
    401: "Put a key into REGBENCH_API_KEY; `regbench keys create NAME`, where the service runs, makes one."
}
DEFAULT_URL = "http://127.0.0.1:8000"
RETRIES = 5
ReportFormat = Literal["md", "html", "json", "csv"]
Choice = Literal["auto", "true", "false"]

# The longest that the service is asked to keep a request until a job changes; it allows 30 s.
_WAIT_SECONDS = 20
# Between two looks at what is waited for, where the service answers at once or names another time.
_LEAST_SECONDS, _MOST_SECONDS = 0.5, 5.0
_PAGE_SIZE = 100

# What fails before anything is sent.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

Shape = TypeVar("Shape")
Item = TypeVar("Item")


class Regbench:
    """A connection to one Regbench service, closed when its `with` block ends.

    Every method raises ProblemError where the service says no, and Unreachable where none answers, both with
    the `request_id` that the service's log has. What may pass (a restart, a rate limit) is tried again first,
    with growing pauses; what creates something has an `Idempotency-Key`, so that it is created once.

        with Regbench() as regbench:
            job = regbench.submit({"regularization": {"dropout": {"rate": 0.5}}}).wait(timeout=600)
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        retries: int = RETRIES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`base_url` None: what REGBENCH_URL says, else http://127.0.0.1:8000.

        `api_key` None: what REGBENCH_API_KEY says; empty: none.

        `timeout` in seconds, for each try of a request; `retries`: tries after the first one; `transport`
        replaces the network, for tests.
        """
        self._timeout, self._retries = timeout, retries
        self.base_url = (base_url or os.environ.get("REGBENCH_URL") or DEFAULT_URL).rstrip("/")
        key = get_settings().api_key if api_key is None else api_key
        try:
            self._http = httpx.Client(
                base_url=self.base_url,
                timeout=timeout,
                transport=transport,
                headers={"Authorization": f"Bearer {key.strip()}"} if key else {},
                # A proxy that the environment names cannot reach this machine's own loopback.
                trust_env=not loopback_only(httpx.URL(self.base_url).host),
            )
        except UnicodeEncodeError:
            raise Unreachable("The API key is not one: a key has letters, digits, - and _ only.") from None
        except httpx.InvalidURL as error:
            raise Unreachable(f"{self.base_url} is not an address: {error}.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    @overload
    def submit(self, document: JobSpec) -> Job: ...
    @overload
    def submit(self, document: ExperimentSpec) -> Experiment: ...
    @overload
    def submit(self, document: Document) -> Job | Experiment: ...
    def submit(self, document: JobSpec | ExperimentSpec | Document) -> Job | Experiment:
        """Hand in a job or an experiment: a document with `preset` or `variants` is the latter."""
        if isinstance(document, JobSpec):
            return self.submit_job(document)
        if isinstance(document, ExperimentSpec) or is_experiment(document):
            return self.create_experiment(document)
        return self.submit_job(document)

    def submit_job(self, spec: JobSpec | Document) -> Job:
        """Hand in a job; it is stored when this returns."""
        return self._read(self._create("/v1/jobs", spec), Job)

    def submit_jobs(self, specs: Sequence[JobSpec | Document]) -> list[Job]:
        """Hand in up to 1,000 jobs: all are stored, or none is."""
        batch = {"jobs": [_document(spec) for spec in specs]}
        return self._read(self._create("/v1/jobs:batch", batch), _Items[Job]).items

    def price(self, document: JobSpec | ExperimentSpec | Document) -> Price:
        """What a job or an experiment would cost; nothing is stored."""
        experimental = isinstance(document, ExperimentSpec) or (
            isinstance(document, dict) and is_experiment(document)
        )
        path = "/v1/experiments" if experimental else "/v1/jobs"
        answer = self._send("POST", path, params={"dry_run": True}, harmless=True, **_body(document))
        return self._read(answer, Price)

    def job(self, job_id: str) -> Job:
        """The job as it stands now."""
        return self._read(self._send("GET", f"/v1/jobs/{job_id}"), Job)

    def wait_for_job(self, job_id: str, timeout: float | None = None) -> Job:
        """The job once it has ended; the service answers as soon as it changes.

        Raises:
            NotInTime: it has not ended after `timeout` seconds, and goes on.
        """
        until, tag = _deadline(timeout), ""
        while True:
            asked_at = time.monotonic()
            wait = max(math.ceil(min(_WAIT_SECONDS, until - asked_at)), 1)
            headers = {"Prefer": f"wait={wait}"} | ({"If-None-Match": tag} if tag else {})
            answer = self._send("GET", f"/v1/jobs/{job_id}", headers=headers, timeout=self._timeout + wait)
            if answer.status_code != httpx.codes.NOT_MODIFIED:
                job, tag = self._read(answer, Job), answer.headers.get("ETag", "")
                if job.state.terminal:
                    return job
            _rest(f"Job {job_id}", until, asked_at + _LEAST_SECONDS, answer)

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
        `label=["sweep=7"]`, `created_after="2026-01-31T12:00:00Z"`, `sort="-test_accuracy"`.
        """
        query |= {"state": [str(state) for state in states]}
        if experiment is not None:
            query["experiment"] = experiment
        return self._pages("/v1/jobs", Job, page_size, query)

    def epochs(self, job_id: str, *, after: int = 0) -> list[Epoch]:
        """The job's history from the epoch that follows `after` on."""
        answer = self._send("GET", f"/v1/jobs/{job_id}/epochs", params={"after": after})
        return self._read(answer, _Items[Epoch]).items

    def cancel(self, job_id: str) -> Job:
        """Ask for a job's end; a running job stops within about a second."""
        return self._read(self._send("POST", f"/v1/jobs/{job_id}/cancel"), Job)

    def pause(self, job_id: str) -> Job:
        """Set a job aside; a running job stops within about a second."""
        return self._read(self._send("POST", f"/v1/jobs/{job_id}/pause"), Job)

    def resume(self, job_id: str) -> Job:
        """Let a paused job go on."""
        return self._read(self._send("POST", f"/v1/jobs/{job_id}/resume"), Job)

    def retry(self, job_id: str) -> Job:
        """The new job that trains a failed or cancelled one's specification again."""
        return self._read(self._create(f"/v1/jobs/{job_id}/retry"), Job)

    def create_experiment(
        self, document: ExperimentSpec | Document, *, timeout: float | None = None
    ) -> Experiment:
        """Hand in an experiment, or `{"preset": NAME, ...overrides}`; its jobs are stored when this returns.

        `timeout` in seconds: a service that has to download a dataset first takes its time.
        """
        return self._read(self._create("/v1/experiments", document, timeout=timeout), Experiment)

    def experiment(self, experiment_id: str) -> Experiment:
        """The experiment and how far it is."""
        return self._read(self._send("GET", f"/v1/experiments/{experiment_id}"), Experiment)

    def experiments(self, *, page_size: int = _PAGE_SIZE) -> Iterator[Experiment]:
        """Experiments, newest first, page after page as they are asked for."""
        return self._pages("/v1/experiments", Experiment, page_size, {})

    def wait_for_experiment(self, experiment_id: str, timeout: float | None = None) -> Experiment:
        """The experiment once all its jobs have ended; asked about as often as `Retry-After` says.

        Raises:
            NotInTime: they have not after `timeout` seconds, and go on.
        """
        until, tag = _deadline(timeout), ""
        while True:
            headers = {"If-None-Match": tag} if tag else {}
            answer = self._send("GET", f"/v1/experiments/{experiment_id}", headers=headers)
            if answer.status_code != httpx.codes.NOT_MODIFIED:
                experiment, tag = self._read(answer, Experiment), answer.headers.get("ETag", "")
                if experiment.finished:
                    return experiment
            pause = min(_retry_after(answer) or _LEAST_SECONDS, _MOST_SECONDS)
            _rest(f"Experiment {experiment_id}", until, time.monotonic() + pause, answer)

    def extend(self, experiment_id: str, extension: Document) -> Experiment:
        """Add `seeds`, or `variants`; only what is new is trained."""
        return self._read(self._create(f"/v1/experiments/{experiment_id}/extend", extension), Experiment)

    def pause_experiment(self, experiment_id: str) -> Experiment:
        """Set all the experiment's jobs aside that have not ended."""
        return self._read(self._send("POST", f"/v1/experiments/{experiment_id}/pause"), Experiment)

    def resume_experiment(self, experiment_id: str) -> Experiment:
        """Let all the experiment's paused jobs go on."""
        return self._read(self._send("POST", f"/v1/experiments/{experiment_id}/resume"), Experiment)

    def retry_failed(self, experiment_id: str) -> Experiment:
        """Train the experiment's failed and cancelled jobs anew, as new jobs in their places."""
        return self._read(self._create(f"/v1/experiments/{experiment_id}/retry-failed"), Experiment)

    def cancel_experiment(self, experiment_id: str) -> Experiment:
        """Ask for the end of all the experiment's jobs that have not ended."""
        return self._read(self._send("POST", f"/v1/experiments/{experiment_id}/cancel"), Experiment)

    def jobs_of(self, experiment_id: str) -> list[Job]:
        """The experiment's jobs, in the order in which they were made."""
        return list(self.jobs(experiment=experiment_id))[::-1]

    def report(self, experiment_id: str, form: ReportFormat) -> bytes:
        """The experiment's report; a partial one says what is missing. UTF-8 in every format."""
        path = f"/v1/experiments/{experiment_id}/report"
        return self._send("GET", path, params={"format": form}).content

    def report_of_jobs(self, job_ids: Sequence[str], form: ReportFormat) -> bytes:
        """The same comparison over any finished jobs."""
        return self._send("GET", "/v1/reports", params={"job": list(job_ids), "format": form}).content

    def predict(
        self, job_id: str, images: Sequence[bytes], *, invert: Choice = "auto", center: Choice = "auto"
    ) -> Predictions:
        """What a succeeded job's model makes of the contents of PNG or JPEG files, up to 256.

        `invert`: whether ink is dark; auto looks at the border. `center`: whether to box and centre the digit
        as MNIST does; auto leaves an image of 28x28 as it is.
        """
        answer = self._send(
            "POST",
            f"/v1/jobs/{job_id}/predict",
            harmless=True,
            params={"invert": invert, "center": center},
            files=[("image", ("image", content)) for content in images],
        )
        return self._read(answer, Predictions)

    def comparison(self, experiment_id: str) -> Report:
        """The experiment's report, to compute with."""
        answer = self._send("GET", f"/v1/experiments/{experiment_id}/report", params={"format": "json"})
        return self._read(answer, Report)

    def comparison_of_jobs(self, job_ids: Sequence[str]) -> Report:
        """The report of any finished jobs, to compute with."""
        answer = self._send("GET", "/v1/reports", params={"job": list(job_ids), "format": "json"})
        return self._read(answer, Report)

    def techniques(self) -> list[Technique]:
        """Every technique that the service knows."""
        return self._read(self._send("GET", "/v1/techniques"), _Items[Technique]).items

    def technique(self, name: str) -> Technique:
        """One technique."""
        return self._read(self._send("GET", f"/v1/techniques/{name}"), Technique)

    def presets(self) -> list[Preset]:
        """Every ready experiment."""
        return self._read(self._send("GET", "/v1/presets"), _Items[Preset]).items

    def datasets(self) -> list[Dataset]:
        """The datasets that the service knows."""
        return self._read(self._send("GET", "/v1/datasets"), _Items[Dataset]).items

    def alive(self) -> bool:
        """Whether the service answers at all."""
        try:
            return self._answer("GET", "/healthz").is_success
        except Unreachable:
            return False

    def readiness(self) -> Readiness:
        """Whether the service can train now, and what is missing if not."""
        return self._read(self._answer("GET", "/readyz"), Readiness)

    def _create(
        self, path: str, document: BaseModel | Document | None = None, *, timeout: float | None = None
    ) -> httpx.Response:
        request = {} if document is None else _body(document)
        headers = request.pop("headers", {}) | {"Idempotency-Key": str(uuid4())}
        return self._send("POST", path, headers=headers, harmless=True, timeout=timeout, **request)

    def _send(
        self,
        method: str,
        path: str,
        *,
        harmless: bool | None = None,
        timeout: float | None = None,
        headers: dict[str, str] | None = None,
        **request: Any,
    ) -> httpx.Response:
        """The answer, if it is no refusal. `harmless`: whether twice does no harm; None: if it reads."""
        # One for all tries, so that the service's log shows that they belong together.
        headers = {"X-Request-Id": secrets.token_hex(8)} | (headers or {})

        def once() -> httpx.Response:
            answer = self._answer(method, path, timeout=timeout, headers=headers, **request)
            if not (answer.is_success or answer.status_code == httpx.codes.NOT_MODIFIED):
                raise _problem(answer)
            return answer

        again = sent_again(self._retries, harmless=method == "GET" if harmless is None else harmless)
        return again(once)

    def _answer(
        self, method: str, path: str, *, timeout: float | None = None, **request: Any
    ) -> httpx.Response:
        request_id = (request.get("headers") or {}).get("X-Request-Id")
        try:
            return self._http.request(
                method, path, timeout=httpx.USE_CLIENT_DEFAULT if timeout is None else timeout, **request
            )
        except httpx.TimeoutException as error:
            raise Unreachable(
                f"The service at {self.base_url} did not answer in time.",
                sent=not isinstance(error, _NOT_SENT),
                passing=True,
                request_id=request_id,
            ) from None
        except httpx.TransportError as error:
            raise Unreachable(
                f"No service answers at {self.base_url} ({error}).",
                "Start one with `regbench up`, or name its address with --url or REGBENCH_URL.",
                sent=not isinstance(error, _NOT_SENT),
                passing=isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError),
                request_id=request_id,
            ) from None

    def _pages(self, path: str, shape: type[Shape], page_size: int, query: dict[str, Any]) -> Iterator[Shape]:
        query = query | {"limit": page_size}
        while True:
            page = self._read(self._send("GET", path, params=query), _Page[shape])  # type: ignore[valid-type]
            yield from page.items
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    def _read(self, answer: httpx.Response, shape: type[Shape]) -> Shape:
        try:
            return TypeAdapter(shape).validate_json(answer.content, context=self)
        except ValidationError:
            raise Unreachable(
                f"What answers at {self.base_url} is not Regbench.",
                "Is the address right? See --url.",
                request_id=answer.headers.get("X-Request-Id"),
            ) from None


class _Items(BaseModel, Generic[Item]):
    items: list[Item]


class _Page(_Items[Item], Generic[Item]):
    next_cursor: str | None


def is_experiment(document: Document) -> bool:
    """Whether a document that can be submitted is an experiment, and no job."""
    return bool({"preset", "variants"} & document.keys())


def _document(spec: BaseModel | Document) -> Document:
    return spec.model_dump(mode="json", exclude_unset=True) if isinstance(spec, BaseModel) else spec


def _body(spec: BaseModel | Document) -> dict[str, Any]:
    # Not httpx's own JSON, which cannot write a NaN: the service refuses it, and says at which field.
    return {"content": json.dumps(_document(spec)), "headers": {"Content-Type": "application/json"}}


def _deadline(timeout: float | None) -> float:
    return math.inf if timeout is None else time.monotonic() + timeout


def _rest(what: str, until: float, next_look: float, last: httpx.Response) -> None:
    """Sleep until the next look, or say that there is no time for it; `last`: what the last one showed."""
    now = time.monotonic()
    if now >= until:
        raise NotInTime(
            f"{what} has not ended in time; it goes on.", request_id=last.headers.get("X-Request-Id")
        )
    time.sleep(max(min(next_look, until) - now, 0.0))


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds; a moment, which HTTP allows too and this service never sends, counts as none."""
    given = answer.headers.get("Retry-After", "")
    return float(given) if given.isascii() and given.isdecimal() else None


def _problem(answer: httpx.Response) -> ProblemError:
    """The problem document, or the best that can be made of an answer that is none (a proxy's, say)."""
    try:
        document = json.loads(answer.content)
    except ValueError:
        document = {}
    if not isinstance(document, dict):
        document = {}
    return ProblemError(
        status=answer.status_code,
        title=str(document.get("title") or f"HTTP {answer.status_code} {answer.reason_phrase}"),
        detail=" ".join(
            filter(None, (str(document.get("detail") or ""), _ABOUT_KEYS.get(answer.status_code)))
        ),
        errors=[
            FieldError(
                str(error.get("pointer") or error.get("parameter") or ""), str(error.get("detail", ""))
            )
            for error in document.get("errors") or []
            if isinstance(error, dict)
        ],
        request_id=document.get("request_id") or answer.headers.get("X-Request-Id"),
        code=str(document.get("type") or "").rpartition("/")[2],
        retry_after=_retry_after(answer),
    )
