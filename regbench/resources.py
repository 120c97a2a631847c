"""What the service returns, as far as the client knows it. Unknown fields are kept.

What a `Regbench` returned has methods that send requests (`job.wait()`), until it is closed.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol, Unpack

from pydantic import Field

from regbench.base import (
    Document,
    Edit,
    ReportFormat,
    Resource,
    render_html_table,
    to_one_line,
)
from regbench.errors import ClientError
from regbench.reports import Report


class JobState(StrEnum):
    """The state of a job; docs/reference/states.md."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether a job in this state never changes again."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


class Client(Protocol):
    """What resources call, of `regbench.client.Regbench`, which imports this module."""

    def job(self, job_id: str) -> "Job": ...
    def wait_for_job(self, job_id: str, timeout: float | None = None) -> "Job": ...
    def epochs(self, job_id: str, *, after: int = 0) -> "list[Epoch]": ...
    def cancel(self, job_id: str) -> "Job": ...
    def pause(self, job_id: str) -> "Job": ...
    def resume(self, job_id: str) -> "Job": ...
    def retry(self, job_id: str) -> "Job": ...
    def update_job(self, job_id: str, **changes: Unpack[Edit]) -> "Job": ...
    def delete_job(self, job_id: str) -> None: ...
    def experiment(self, experiment_id: str) -> "Experiment": ...
    def wait_for_experiment(self, experiment_id: str, timeout: float | None = None) -> "Experiment": ...
    def jobs_of(self, experiment_id: str) -> "list[Job]": ...
    def comparison(self, experiment_id: str) -> Report: ...
    def report(self, experiment_id: str, form: ReportFormat) -> bytes: ...
    def extend(self, experiment_id: str, extension: Document) -> "Experiment": ...
    def confirm(self, experiment_id: str, **changes: Any) -> "Experiment": ...
    def cancel_experiment(self, experiment_id: str) -> "Experiment": ...
    def pause_experiment(self, experiment_id: str) -> "Experiment": ...
    def resume_experiment(self, experiment_id: str) -> "Experiment": ...
    def retry_failed(self, experiment_id: str) -> "Experiment": ...
    def update_experiment(self, experiment_id: str, **changes: Unpack[Edit]) -> "Experiment": ...
    def delete_experiment(self, experiment_id: str, *, keep_jobs: bool = False) -> None: ...


class _Acting(Resource):
    """A resource with methods that send requests."""

    @property
    def _client(self) -> Client:
        if self._origin is None:
            name = type(self).__name__
            raise ClientError(f"This {name} was not returned by a `Regbench`, so it cannot send requests.")
        client: Client = self._origin
        return client


class Progress(Resource):
    """How far a job is: `epoch` of `epochs` done, `fraction` of all steps, seconds left if known."""

    epoch: int
    epochs: int
    fraction: float
    eta_seconds: float | None


class JobFailure(Resource):
    """Why a job failed."""

    code: str
    message: str


class Result(Resource):
    """What a job measured, in part: accuracies are fractions, losses nats per example.

    Those on the test images are None where the specification asks for none (`evaluation.test`).
    """

    test_accuracy: float | None
    test_loss: float | None
    training_seconds: float | None = None


class Epoch(Resource):
    """One row of a job's history."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None


class Job(_Acting):
    """A job."""

    id: str
    name: str | None
    state: JobState
    variant: str | None
    point: dict[str, Any] | None = None
    experiment_id: str | None
    spec: dict[str, Any]
    progress: Progress
    error: JobFailure | None
    result: Result | None

    @property
    def title(self) -> str:
        """What people call it, on one line: its name, else its variant, else its id, and its seed."""
        name, seed = to_one_line(self.name or self.variant or self.id), f"seed {self.spec.get('seed')}"
        # The names that experiments give have it already.
        return name if seed in name.split(", ") else f"{name}, {seed}"

    def _repr_html_(self) -> str:
        facts: dict[str, object] = {"job": self.title, "id": self.id, "state": self.state}
        facts["epoch"] = f"{self.progress.epoch} of {self.progress.epochs}"
        if self.result and self.result.test_accuracy is not None and self.result.test_loss is not None:
            facts["test accuracy"] = f"{self.result.test_accuracy:.4f}"
            facts["test loss"] = f"{self.result.test_loss:.4f}"
        if self.error:
            facts["error"] = self.error.message
        return render_html_table(list(facts), [list(facts.values())])

    def refresh(self) -> "Job":
        """The job in its present state."""
        return self._client.job(self.id)

    def wait(self, timeout: float | None = None) -> "Job":
        """The job once it has ended, well or not; see `state`. A paused one is waited for.

        Raises:
            WaitTimeout: it has not ended after `timeout` seconds, and continues.
        """
        return self._client.wait_for_job(self.id, timeout)

    def history(self, *, after: int = 0) -> list[Epoch]:
        """Its epochs, those that follow `after`."""
        return self._client.epochs(self.id, after=after)

    def cancel(self) -> "Job":
        """Cancel it; a running job stops within about a second."""
        return self._client.cancel(self.id)

    def pause(self) -> "Job":
        """Pause it; a running job stops within about a second."""
        return self._client.pause(self.id)

    def resume(self) -> "Job":
        """Resume it, if it is paused."""
        return self._client.resume(self.id)

    def retry(self) -> "Job":
        """The new job that trains its specification again, if it has failed or been cancelled."""
        return self._client.retry(self.id)

    def update(self, **changes: Unpack[Edit]) -> "Job":
        """Change its `name`, `labels`, `notes` or `priority`, or archive it (`archived=True`).

        What is not named stays; None resets a field or removes a label.
        """
        return self._client.update_job(self.id, **changes)

    def delete(self) -> None:
        """Remove it with its history and model; it must have ended."""
        self._client.delete_job(self.id)


class ExperimentProgress(Resource):
    """How far an experiment is, over all its jobs; `finished`: all have ended and none will be added."""

    counts: dict[str, int]
    total: int
    fraction: float
    finished: bool
    eta_seconds: float | None
    reused: int = 0


class Experiment(_Acting):
    """An experiment."""

    id: str
    name: str
    preset: str | None = None
    baseline: str = ""
    spec: dict[str, Any] = Field({})
    progress: ExperimentProgress | None = None
    headline: str | None = None
    best: Document | None = None

    @property
    def title(self) -> str:
        """Its name, on one line."""
        return to_one_line(self.name)

    @property
    def finished(self) -> bool:
        """Whether all its jobs have ended and none will be added."""
        return self.progress is not None and self.progress.finished

    @property
    def planned_trials(self) -> int:
        """How many settings its tuning tries, of all variants; 0 without tuning, as in a follow-up."""
        tune = None if self.spec.get("confirms") else self.spec.get("tune")
        return tune["trials"] * len(self.spec["variants"]) if tune else 0

    def _repr_html_(self) -> str:
        facts: dict[str, object] = {"experiment": self.title, "id": self.id}
        if self.progress:
            facts |= {state: count for state, count in self.progress.counts.items() if count}
        facts["headline"] = self.headline or "not finished"
        return render_html_table(list(facts), [list(facts.values())])

    def refresh(self) -> "Experiment":
        """The experiment in its present state."""
        return self._client.experiment(self.id)

    def wait(self, timeout: float | None = None) -> "Experiment":
        """The experiment once all its jobs have ended, well or not.

        Raises:
            WaitTimeout: they have not after `timeout` seconds, and continue.
        """
        return self._client.wait_for_experiment(self.id, timeout)

    def jobs(self) -> list[Job]:
        """Its jobs, oldest first."""
        return self._client.jobs_of(self.id)

    def report(self) -> Report:
        """The comparison of its variants as far as they have finished."""
        return self._client.comparison(self.id)

    def report_as(self, form: ReportFormat) -> bytes:
        """The same as a document: Markdown, HTML, JSON or CSV, in UTF-8."""
        return self._client.report(self.id, form)

    def extend(self, *, seeds: Sequence[int] = (), variants: Sequence[Document] = ()) -> "Experiment":
        """Add seeds, or variants (`{"name": ..., "changes": ...}`); only what is new is trained."""
        return self._client.extend(self.id, {"seeds": list(seeds), "variants": list(variants)})

    def confirm(self, *, variants: Sequence[str] = (), seeds: Sequence[int] = ()) -> "Experiment":
        """Submit a follow-up of these variants, or of all, on fresh seeds; only its own runs are tested."""
        changes: Document = {"variants": [{"name": name} for name in variants]} if variants else {}
        return self._client.confirm(self.id, **changes, **({"seeds": list(seeds)} if seeds else {}))

    def cancel(self) -> "Experiment":
        """Cancel all its jobs that have not ended."""
        return self._client.cancel_experiment(self.id)

    def pause(self) -> "Experiment":
        """Pause all its jobs that have not ended."""
        return self._client.pause_experiment(self.id)

    def resume(self) -> "Experiment":
        """Resume all its paused jobs."""
        return self._client.resume_experiment(self.id)

    def retry_failed(self) -> "Experiment":
        """Train its failed and cancelled jobs again, as new jobs in their places."""
        return self._client.retry_failed(self.id)

    def update(self, **changes: Unpack[Edit]) -> "Experiment":
        """The same changes as of a job; `priority` and `archived` apply to its own jobs, too."""
        return self._client.update_experiment(self.id, **changes)

    def delete(self, *, keep_jobs: bool = False) -> None:
        """Remove it with the jobs that no other experiment uses; all must have ended."""
        self._client.delete_experiment(self.id, keep_jobs=keep_jobs)


class Technique(Resource):
    """What a regularization technique is."""

    name: str
    title: str
    formula: str
    in_training: str
    at_inference: str
    when_to_use: str
    cost: str
    pitfall: str
    source: str
    parameters: list[dict[str, Any]]


class Preset(Resource):
    """A ready experiment, and what should come out of it."""

    name: str
    title: str
    expect: str
    jobs: int
    document: Document


class CostEstimate(Resource):
    """What a job or an experiment would cost, if it were submitted."""

    training_flops: float
    robustness_flops: float = 0.0
    memory_bytes: int
    estimated_seconds: float | None


class Dataset(Resource):
    """A dataset, and whether it is on the service's machine."""

    name: str
    title: str
    available: bool
    digest: str
    classes: int
    train_examples: int
    test_examples: int
    counts: tuple[dict[str, Any], ...] = ()
    decisions: tuple[dict[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


class Readiness(Resource):
    """Whether the service can train now; each check is `ok` or describes the failure."""

    status: str
    checks: dict[str, str]

    @property
    def ready(self) -> bool:
        """Whether every check passed."""
        return self.status == "ready"

    @property
    def missing(self) -> list[str]:
        """The checks that have not passed."""
        return [name for name, outcome in self.checks.items() if outcome != "ok"]


class DropoutSpread(Resource):
    """How far a model's predictions for an image are apart with active dropout; entropies in nats."""

    samples: int
    sd: list[float]
    predictive_entropy: float
    mutual_information: float


class Prediction(Resource):
    """A model's prediction for one image: a probability of each class, and why it is doubtful."""

    label: int
    confidence: float
    probabilities: list[float]
    warnings: list[str]
    dropout: DropoutSpread | None = None


class Predictions(Resource):
    """The predictions of a job's model, in the order of the images."""

    job_id: str
    predictions: list[Prediction]
    class_names: list[str] | None = None
    """Of each label; None where classes are called by their numbers."""

    def get_class_name(self, label: int) -> str:
        """What the class with this label is called."""
        return self.class_names[label] if self.class_names else str(label)


class TestImage(Resource):
    """A test image: 784 pixels from 0 (background) to 255 (ink), row by row."""

    __test__ = False  # for pytest, which would collect it

    index: int
    label: int
    pixels: list[int]
