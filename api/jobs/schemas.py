"""Response bodies about jobs. Each field is always present, null if unknown.

Losses are in nats per example, accuracies and shares are fractions, times are in seconds.
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.http.schemas import MODEL, ResponseModel
from models import cost
from models.metrics import EvaluationMetrics
from models.records import EpochRecord, LayerRecord, RobustnessRecord
from models.run_key import Purpose
from models.states import Action, JobState


class Progress(ResponseModel):
    """A job's progress."""

    epoch: int = Field(description="Epochs that are done; for a queued job, those in its checkpoint")
    epochs: int = Field(description="Epochs of the specification")
    fraction: float = Field(description="Share of all steps that are done, 0 to 1")
    eta_seconds: float | None = Field(description="Null while no worker trains it")


class JobError(ResponseModel):
    """Why a job failed."""

    code: str
    message: str
    retryable: bool = Field(description="Whether the same specification could succeed")


class Engine(ResponseModel):
    """The software and hardware that trained a job."""

    tensorflow: str
    keras: str
    device: str
    threads: int
    regbench: str | None = Field(description="Null in results older than this field")


class Layer(ResponseModel, LayerRecord):
    """One layer's kernel, measured at the reported epoch."""


class Robustness(ResponseModel, RobustnessRecord):
    """Accuracies on damaged test images, after MNIST-C (Mu and Gilmer 2019)."""


class Result(ResponseModel, EvaluationMetrics):
    """Metrics of a finished job, measured without penalty and in inference mode."""

    weights_sha256: str = Field(description="Of every weight's name, shape and bytes")
    dataset_sha256: str = Field(description="Of the images and labels that the worker read")
    engine: Engine = Field(description="What trained it: TensorFlow, Keras, processor and threads")


class ResultDetails(Result):
    """A result with what is too large for a list. Null in results older than this field."""

    layers: list[Layer] | None = Field(description="One for each kernel, first to last")
    confusion_matrix: list[list[int]] | None = Field(
        description="Counts of test images: a row per true class, a column per predicted class"
    )
    per_class_accuracy: list[float | None] | None = Field(
        description="Share of each true class's test images classified correctly; null if it has none"
    )
    robustness: Robustness | None = Field(
        description="Accuracies on damaged test images; null unless `evaluation.robustness` asked for them"
    )


class JobLinks(ResponseModel):
    """Links to a job's other resources and actions."""

    self: str
    epochs: str
    events: str
    model: str | None = Field(description="The trained `.keras` file; null until there is one")
    cancel: str | None = Field(description="POST to it; null if the state forbids it, as for those below")
    pause: str | None
    resume: str | None
    retry: str | None


class Job(ResponseModel):
    """A training job."""

    id: str
    name: str | None
    state: JobState
    requested_action: Action | None = Field(
        description="The action requested from its worker and not done yet; `release`: back into the queue"
    )
    spec: dict[str, Any] = Field(
        description="The specification including all defaults", json_schema_extra={MODEL: "JobSpec"}
    )
    spec_hash: str = Field(description="Equal hashes give equal weights on the same data and engine")
    experiment_id: str | None
    variant: str | None
    point: dict[str, Any] | None = Field(
        description="The value of each axis of its experiment, by field; null without axes"
    )
    part: int | None = Field(
        description="The index of the part of the training data that it has in its experiment; "
        "null where that is not divided"
    )
    purpose: Purpose = Field(description="`judge`: it is compared; `tune`: it only helps to choose settings")
    retry_of: str | None = Field(description="The job that this one retries")
    labels: dict[str, str]
    notes: str | None
    archived: bool = Field(description="Whether lists leave it out unless they are asked for archived ones")
    priority: int
    attempt: int
    crashes: int
    queue_position: int | None = Field(description="1 is next; null once a worker has claimed it")
    progress: Progress
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    stop_reason: str | None
    error: JobError | None
    result: Result | None
    links: JobLinks


class JobDetails(Job):
    """A training job, its result in full."""

    result: ResultDetails | None


class JobPage(ResponseModel):
    """Jobs in the requested order. Their results lack layers, confusion matrix and per-class accuracy."""

    items: list[Job]
    next_cursor: str | None


class JobList(ResponseModel):
    """The jobs of a batch, in the posted order."""

    items: list[Job]


class Cancellation(ResponseModel):
    """The outcome for one job."""

    id: str
    state: JobState
    outcome: Literal["cancelled", "requested", "ended"] = Field(
        description="`cancelled`; `requested` from its worker, which stops within a chunk of steps; `ended` "
        "in the meantime"
    )


class Cancellations(ResponseModel):
    """The outcomes for the matching jobs, oldest first."""

    items: list[Cancellation]
    more: bool = Field(description="Whether more jobs match: repeat the request")


class CostEstimate(ResponseModel, cost.CostEstimate):
    """The estimated cost of a job; nothing was stored."""

    estimated_seconds: float | None = Field(
        description="From its start, compilation included, at the speed of the jobs that finished here last; "
        "null before any has"
    )


class BatchCostEstimate(ResponseModel):
    """The estimated costs of a batch's jobs, in the posted order, and of all together; nothing was stored."""

    items: list[CostEstimate]
    jobs: int
    training_flops: float
    robustness_flops: float
    memorization_flops: float
    memory_bytes: int = Field(description="Of the largest job")
    estimated_seconds: float | None = Field(
        description="Of all, with the workers that run now and no other jobs; null before any has finished "
        "here"
    )


class Epoch(ResponseModel, EpochRecord):
    """Metrics of one epoch. `objective`, `batch_accuracy`: as Keras prints them; the rest without penalty."""


class EpochList(ResponseModel):
    """A job's history."""

    items: list[Epoch]


class Event(ResponseModel):
    """Something that happened to a job."""

    id: int
    at: datetime
    type: str
    from_state: JobState | None
    to_state: JobState | None
    attempt: int
    detail: dict[str, Any]


class EventList(ResponseModel):
    """The events of a job, first to last."""

    items: list[Event]


class StreamProgress(Progress):
    """A job's progress, as a `progress` message of its stream."""

    state: JobState


class StreamEnd(ResponseModel):
    """The last message of a stream."""

    state: JobState
