"""Response bodies about jobs. Each field is always present, null if unknown.

Losses are in nats per example, accuracies and shares are fractions, times are in seconds.
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.http.schemas import MODEL, ResponseModel
from models.states import Action, JobState


class Progress(ResponseModel):
    """How far a job is."""

    epoch: int = Field(description="Epochs that are done; of a job that waits, those it need not train again")
    epochs: int = Field(description="Epochs that the specification asks for")
    fraction: float = Field(description="Of all steps, 0 to 1")
    eta_seconds: float | None = Field(description="Null while nobody trains it")


class JobError(ResponseModel):
    """Why a job failed."""

    code: str
    message: str
    retryable: bool = Field(description="Whether the same specification could succeed")


class Engine(ResponseModel):
    """What trained a job."""

    tensorflow: str
    keras: str
    device: str
    threads: int
    regbench: str | None = Field(description="Null in results from before it was recorded")


class Layer(ResponseModel):
    """One layer's kernel, measured at the reported epoch."""

    name: str = Field(description="As in the `.keras` file")
    shape: list[int] = Field(
        description="(inputs, units) if dense, (height, width, channels, filters) of a convolution"
    )
    weight_norm: float = Field(description="Euclidean norm of the kernel")
    zero_fraction: float = Field(description="Share of its weights that are exactly zero")
    near_zero_fraction: float = Field(description="Share of its weights below 0.001 in size")
    zero_inputs_fraction: float = Field(
        description="Share of its rows (all axes but the last) whose weights are all exactly zero: pixels, "
        "where a first dense layer ignores them"
    )


class Result(ResponseModel):
    """What a finished job is worth, measured without penalty and in inference mode."""

    test_accuracy: float = Field(description="On the test images, which are touched once, after training")
    test_loss: float = Field(description="Cross-entropy on the test images")
    test_brier: float = Field(description="Brier score, 0 (best) to 2")
    test_ece: float = Field(description="Expected calibration error, over bins of equally many images")
    train_accuracy: float = Field(description="On all training images")
    train_loss: float = Field(description="Cross-entropy on all training images")
    validation_accuracy: float | None = Field(description="Null where nothing is held out")
    validation_loss: float | None = Field(description="Cross-entropy; null where nothing is held out")
    generalization_gap_accuracy: float = Field(description="Training minus test accuracy")
    generalization_gap_loss: float = Field(description="Test minus training loss")
    best_epoch: int = Field(
        description="Of the lowest validation loss, or the best by the metric and `min_delta` of early "
        "stopping; the last where nothing is held out"
    )
    reported_epoch: int = Field(description="The epoch whose weights were measured and kept")
    epochs_run: int = Field(description="Fewer than asked for where the training stopped early")
    stop_reason: str = Field(description="`completed` or `early_stopping`")
    parameters: int = Field(description="Trained numbers of the network")
    zero_weight_fraction: float = Field(description="Share of kernel weights that are exactly zero")
    near_zero_weight_fraction: float | None = Field(
        description="Share of kernel weights below 0.001 in size; null in results from before it was recorded"
    )
    weight_norm: float = Field(description="Euclidean norm of all kernels together")
    training_seconds: float = Field(description="Of all epochs, their measurements included")
    compile_seconds: float = Field(description="What compiling took before the first epoch")
    compilations: int = Field(
        description="What XLA compiled for this job; 0 where every compiled function was there already, and "
        "in results from before it was recorded"
    )
    training_flops: float = Field(
        description="Floating-point operations of all matrix products of the epochs that were run"
    )
    weights_sha256: str = Field(description="Of every weight's name, shape and bytes")
    dataset_sha256: str = Field(description="Of the images and labels that the worker read")
    engine: Engine = Field(description="What trained it: TensorFlow, Keras, processor and threads")


class ResultDetails(Result):
    """A result with what is too large for a list. Null in results from before it was recorded."""

    layers: list[Layer] | None = Field(description="One a kernel, first to last")
    confusion_matrix: list[list[int]] | None = Field(
        description="10 x 10 counts of test images: a row for each true class, a column for each answer"
    )
    per_class_accuracy: list[float | None] | None = Field(
        description="Share of each true class's test images classified correctly; null where it has none"
    )


class JobLinks(ResponseModel):
    """Where the rest of a job is."""

    self: str
    epochs: str
    events: str
    model: str | None = Field(description="The trained `.keras` file, once there is one")
    cancel: str | None = Field(description="POST here; null where the state forbids it, as for those below")
    pause: str | None
    resume: str | None
    retry: str | None


class Job(ResponseModel):
    """A training job."""

    id: str
    name: str | None
    state: JobState
    requested_action: Action | None = Field(
        description="What its worker is asked for and has not done yet; `release`: back into the queue"
    )
    spec: dict[str, Any] = Field(
        description="The specification with every default spelt out",
        json_schema_extra={MODEL: "JobSpec"},
    )
    spec_hash: str = Field(description="Equal hashes, equal weights, on the same data and engine")
    experiment_id: str | None
    variant: str | None
    retry_of: str | None = Field(description="The job that this one repeats")
    labels: dict[str, str]
    priority: int
    attempt: int
    crashes: int
    queue_position: int | None = Field(description="1 is next; null once a worker has it")
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
    """Jobs in the order asked for. Their results lack layers, confusion matrix and accuracy of each class."""

    items: list[Job]
    next_cursor: str | None


class JobList(ResponseModel):
    """The jobs of a batch, in the order in which they were given."""

    items: list[Job]


class Cancellation(ResponseModel):
    """What became of a job that was to be cancelled."""

    id: str
    state: JobState
    outcome: Literal["cancelled", "requested", "ended"] = Field(
        description="`cancelled`; `requested` of its worker, which ends it within a chunk; "
        "or `ended` by itself meanwhile"
    )


class Cancellations(ResponseModel):
    """What became of the jobs that fitted, oldest first."""

    items: list[Cancellation]
    more: bool = Field(description="Whether more jobs fit; ask again")


class CostEstimate(ResponseModel):
    """What a job would cost; nothing was stored."""

    parameters: int = Field(description="Trained numbers of the network")
    training_flops: float = Field(description="Floating-point operations of all matrix products of all steps")
    memory_bytes: int = Field(
        description="Images, weights, gradients, optimizer state, and what a step holds of its batch"
    )
    estimated_seconds: float | None = Field(
        description="At the pace of the jobs finished here so far; null while there are none"
    )


class BatchCostEstimate(ResponseModel):
    """What the jobs of a batch would cost, in the order in which they were given; nothing was stored."""

    items: list[CostEstimate]


class Epoch(ResponseModel):
    """What one epoch did. `objective`, `batch_accuracy`: as Keras prints them; the rest without penalty."""

    epoch: int
    objective: float
    penalty: float
    batch_accuracy: float
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    weight_norm: float
    learning_rate: float
    seconds: float


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
    """All that has happened to a job, first to last."""

    items: list[Event]


class StreamProgress(Progress):
    """How far a job is, as a `progress` message of its stream says it."""

    state: JobState


class StreamEnd(ResponseModel):
    """The last message of a stream."""

    state: JobState
