"""Regbench over HTTP: one small method for each thing that the service does."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Generic, Literal, Self, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from client.errors import ProblemError, Unreachable
from client.resources import Dataset, Epoch, Experiment, Job, Predictions, Readiness
from models.addresses import loopback_only
from models.errors import FieldError
from models.experiments import Document, ExperimentSpec
from models.settings import get_settings
from models.spec import JobSpec
from models.states import JobState

_ABOUT_KEYS = {
    401: "Put a key into REGBENCH_API_KEY; `regbench keys create NAME`, where the service runs, makes one."
}
DEFAULT_URL = "http://127.0.0.1:8000"
ReportFormat = Literal["md", "html", "json", "csv"]
Choice = Literal["auto", "true", "false"]

Shape = TypeVar("Shape")
Item = TypeVar("Item")


class Regbench:
    """A connection to one Regbench service, closed when its `with` block ends.

    Every method raises ProblemError where the service says no, and Unreachable where none answers.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`api_key` None: what REGBENCH_API_KEY says; empty: none.

        `timeout` in seconds, for each request; `transport` replaces the network, for tests.
        """
        self.base_url = base_url.rstrip("/")
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
            raise Unreachable(f"{base_url} is not an address: {error}.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def submit_job(self, spec: JobSpec | Document) -> Job:
        """Hand in a job; it is stored when this returns."""
        return self._read(self._send("POST", "/v1/jobs", **_body(spec)), Job)

    def job(self, job_id: str) -> Job:
        """The job as it stands now."""
        return self._read(self._send("GET", f"/v1/jobs/{job_id}"), Job)

    def jobs(
        self,
        *,
        states: Sequence[JobState] = (),
        experiment: str | None = None,
        page_size: int = 100,
    ) -> Iterator[Job]:
        """Jobs, newest first, page after page as they are asked for."""
        query: dict[str, Any] = {"limit": page_size, "state": [str(state) for state in states]}
        if experiment is not None:
            query["experiment"] = experiment
        while True:
            page = self._read(self._send("GET", "/v1/jobs", params=query), _Page[Job])
            yield from page.items
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

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
        return self._read(self._send("POST", f"/v1/jobs/{job_id}/retry"), Job)

    def create_experiment(
        self, document: ExperimentSpec | Document, *, timeout: float | None = None
    ) -> Experiment:
        """Hand in an experiment, or `{"preset": NAME, ...overrides}`; its jobs are stored when this returns.

        `timeout` in seconds: a service that has to download a dataset first takes its time.
        """
        answer = self._send("POST", "/v1/experiments", **_body(document), timeout=timeout)
        return self._read(answer, Experiment)

    def experiment(self, experiment_id: str) -> Experiment:
        """The experiment and how far it is."""
        return self._read(self._send("GET", f"/v1/experiments/{experiment_id}"), Experiment)

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
            params={"invert": invert, "center": center},
            files=[("image", ("image", content)) for content in images],
        )
        return self._read(answer, Predictions)

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

    def _send(
        self, method: str, path: str, *, timeout: float | None = None, **request: Any
    ) -> httpx.Response:
        answer = self._answer(method, path, timeout=timeout, **request)
        if not answer.is_success:
            raise _problem(answer)
        return answer

    def _answer(
        self, method: str, path: str, *, timeout: float | None = None, **request: Any
    ) -> httpx.Response:
        try:
            return self._http.request(
                method, path, timeout=httpx.USE_CLIENT_DEFAULT if timeout is None else timeout, **request
            )
        except httpx.TimeoutException:
            raise Unreachable(f"The service at {self.base_url} did not answer in time.") from None
        except httpx.TransportError as error:
            raise Unreachable(
                f"No service answers at {self.base_url} ({error}).",
                "Start one with `regbench up`, or name its address with --url or REGBENCH_URL.",
            ) from None

    def _read(self, answer: httpx.Response, shape: type[Shape]) -> Shape:
        try:
            return TypeAdapter(shape).validate_json(answer.content)
        except ValidationError:
            raise Unreachable(
                f"What answers at {self.base_url} is not Regbench.", "Is the address right? See --url."
            ) from None


class _Items(BaseModel, Generic[Item]):
    items: list[Item]


class _Page(_Items[Item], Generic[Item]):
    next_cursor: str | None


def _body(spec: BaseModel | Document) -> dict[str, Any]:
    document = spec.model_dump(mode="json", exclude_unset=True) if isinstance(spec, BaseModel) else spec
    # Not httpx's own JSON, which cannot write a NaN: the service refuses it, and says at which field.
    return {"content": json.dumps(document), "headers": {"Content-Type": "application/json"}}


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
        request_id=document.get("request_id"),
    )
