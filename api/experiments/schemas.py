"""Response bodies about experiments. Each field is always present, null if unknown."""

from datetime import datetime
from typing import Any

from pydantic import Field

from api.http.schemas import MODEL, ResponseModel
from api.reports.axis_schemas import Best
from models.experiments import Inference
from models.states import JobState


class ExperimentProgress(ResponseModel):
    """An experiment's progress, over all its jobs."""

    counts: dict[JobState, int] = Field(description="Jobs in each state")
    total: int
    reused: int = Field(description="Jobs of earlier experiments or submissions that it reuses")
    deleted: int = Field(description="Jobs that were deleted; `extend` or `retry-failed` trains them again")
    fraction: float
    percent: float
    finished: bool = Field(description="Whether every job has ended and no seed will be added")
    eta_seconds: float | None = Field(
        description="Seconds until its last job ends, with the live workers and the other owners' turns; "
        "null until one of its jobs has finished"
    )


class Detectable(ResponseModel):
    """The smallest true difference from the baseline that these seeds detect with a power of 80 %."""

    pairs: int = Field(description="Seeds that a variant and the baseline have in common")
    effect_size: float = Field(description="Cohen's d_z: in standard deviations of the paired differences")
    accuracy_points: float | None = Field(
        description="In points of test accuracy; null if its variance is unknown"
    )
    accuracy_points_low: float | None = Field(
        description="The same, at the ends of the variance's 95 % interval: few earlier runs leave it wide"
    )
    accuracy_points_high: float | None
    superiority_pairs: int = Field(
        description="Pairs that show with a power of 80 %, by a sign test at 5 %, that a variant's value is "
        "the higher one where that is so in 75 % of all pairs (Noether 1987)"
    )
    basis: str = Field(description="The assumptions of this estimate")


class ExperimentCostEstimate(ResponseModel):
    """The estimated cost of an experiment; nothing was stored."""

    jobs: int
    reused: int = Field(description="Finished jobs that would be reused")
    to_train: int
    training_flops: float = Field(description="Of all jobs to train, at their full number of epochs")
    robustness_flops: float = Field(description="Of measuring their damaged test images, where asked for")
    memorization_flops: float = Field(description="Of answering all training images, where asked for")
    estimated_seconds: float | None = Field(
        description="With the workers that run now and no other jobs, at the speed of the jobs that finished "
        "here last, compilation included; null before any has"
    )
    max_jobs: int = Field(description="`jobs`, and as many as a stopping rule may add to them")
    max_seconds: float | None = Field(
        description="`estimated_seconds` if it adds all of them and each takes as long as the longest"
    )
    memory_bytes: int = Field(description="Of the largest job")
    parameters: dict[str, int] = Field(description="Of each variant's network")
    detectable: Detectable | None = Field(description="Null with one seed or one variant")


class ExperimentLinks(ResponseModel):
    """Links to an experiment's other resources and actions; null where its jobs do not allow the action."""

    self: str
    jobs: str
    report: str
    events: str
    charts: str
    curves: str
    cancel: str | None
    pause: str | None
    resume: str | None
    retry_failed: str | None
    extend: str


class Experiment(ResponseModel):
    """Variants of one specification, each trained with each seed."""

    id: str
    name: str
    preset: str | None
    spec: dict[str, Any] = Field(
        description="The experiment with its preset resolved; post it to repeat it",
        json_schema_extra={MODEL: "ExperimentSpec"},
    )
    baseline: str = Field(description="The variant that the others are compared with")
    confirms: str | None = Field(description="The experiment that this one follows up on fresh seeds")
    follow_ups: list[str] = Field(description="The experiments that follow up this one, oldest first")
    inference: Inference = Field(description="When differences may be called, as planned; see the report's")
    auto_extending: bool = Field(
        description="Whether seeds may still be added by the `stopping_rule` in `spec`"
    )
    labels: dict[str, str]
    notes: str | None
    archived: bool = Field(description="Whether lists leave it out unless they are asked for archived ones")
    created_at: datetime
    progress: ExperimentProgress
    headline: str | None = Field(
        description="The answer, in one or two sentences, as its report says; null until every job has ended"
    )
    best: Best | None = Field(description="Null until every job has ended, and where nothing can be chosen")
    no_best: str | None = Field(description="Why nothing can be chosen; null where `best` is given")
    links: ExperimentLinks


class ExperimentEnd(ResponseModel):
    """The last message of an experiment's stream."""

    headline: str | None
    report: str = Field(description="Path of the report")


class ExperimentPage(ResponseModel):
    """Experiments, newest first."""

    items: list[Experiment]
    next_cursor: str | None
