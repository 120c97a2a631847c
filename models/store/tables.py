"""The tables. What people filter and sort by is a column; JSON is what is only ever read whole."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, get_type_hints

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    case,
    false,
    literal_column,
    null,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.sql.elements import Grouping

from models.identifiers import create_id
from models.metrics import METRICS, EvaluationMetrics
from models.run_key import Purpose
from models.states import Action, JobState
from models.store import service_tables  # noqa: F401 (importing the tables registers all of them)
from models.store.base import ID, SERIAL, Base

LOCAL_OWNER = "local"
"""Owner of what is made without an API key."""


def _build_check(column: str, values: list[str]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


def is_queued(state: Any) -> ColumnElement[bool]:
    """Whether a job's state is `queued`: as a literal, because no index of queued jobs serves a parameter."""
    condition: ColumnElement[bool] = state == literal_column("'queued'")
    return condition


def select_queued_owner(state: Any, owner: Any) -> ColumnElement[str]:
    """The owner of a queued job, else null; what `ix_jobs_next_of_owner` begins with.

    A column of its own for the planner, so that no other index serves a condition on it. With `state` and
    `owner` PostgreSQL, whose statistics are older than the newest thousand jobs, reads and sorts all of them.
    """
    return case((is_queued(state), owner), else_=null())


class Experiment(Base):
    """Variants times seeds, compared with a baseline."""

    __tablename__ = "experiments"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=lambda: create_id("exp"))
    owner: Mapped[str] = mapped_column(ID, default=LOCAL_OWNER)
    name: Mapped[str] = mapped_column(String(200))
    preset: Mapped[str | None] = mapped_column(String(63))
    document: Mapped[dict[str, Any]]
    """The request with its preset resolved: base, variants, seeds, baseline."""
    auto_extending: Mapped[bool] = mapped_column(server_default=false(), default=False, index=True)
    """Whether seeds may still be added by themselves, as `stopping_rule` in the document asks."""
    extended: Mapped[bool] = mapped_column(server_default=false(), default=False)
    """Whether the plan was changed when there were results, which changes how the report may judge them."""
    confirms: Mapped[str | None] = mapped_column(ID, index=True)
    """The experiment that this one follows up; None once that was deleted."""
    announced: Mapped[bool] = mapped_column(server_default=false(), default=False, index=True)
    """Whether its end was announced to webhooks."""
    labels: Mapped[dict[str, Any]] = mapped_column(server_default="{}", default=dict)
    notes: Mapped[str | None] = mapped_column(Text)
    archived: Mapped[bool] = mapped_column(server_default=false(), default=False)
    created_at: Mapped[datetime]

    __table_args__ = (Index(None, "created_at", "id"), Index(None, "owner", "created_at", "id"))


class Run(Base):
    """The job that stands for one run of an experiment; one job may serve several experiments."""

    __tablename__ = "experiment_runs"

    experiment_id: Mapped[str] = mapped_column(
        ID, ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=True
    )
    variant: Mapped[str] = mapped_column(String(200), primary_key=True)
    seed: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    # As models.run_key.RunKey has them; a primary key has no null.
    point: Mapped[str] = mapped_column(Text, primary_key=True, server_default="", default="")
    part: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False, server_default="-1", default=-1
    )
    purpose: Mapped[str] = mapped_column(
        String(16), primary_key=True, server_default="judge", default="judge"
    )
    job_id: Mapped[str] = mapped_column(ID, ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    """Of a line of retries the newest."""
    reused: Mapped[bool]
    """Whether the job had succeeded before the experiment asked for it."""


class Job(Base):
    """One training run: the queue and the truth in one row."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=lambda: create_id("job"))
    owner: Mapped[str] = mapped_column(ID, default=LOCAL_OWNER)
    name: Mapped[str | None] = mapped_column(String(200))
    spec: Mapped[dict[str, Any]]
    spec_hash: Mapped[str] = mapped_column(String(64), index=True)
    spec_format: Mapped[int] = mapped_column(Integer, server_default="1", default=1)
    """What its worker must understand; models/spec_format.py."""
    labels: Mapped[dict[str, Any]]
    notes: Mapped[str | None] = mapped_column(Text)
    archived: Mapped[bool] = mapped_column(server_default=false(), default=False)
    """Whether lists leave it out; its experiments and reports keep it."""
    dataset: Mapped[str] = mapped_column(String(63))
    experiment_id: Mapped[str | None] = mapped_column(ID, ForeignKey("experiments.id"))
    variant: Mapped[str | None] = mapped_column(String(200))
    seed: Mapped[int] = mapped_column(Integer)
    # With variant and seed its run's key in its own experiment.
    point: Mapped[str] = mapped_column(Text, server_default="", default="")
    part: Mapped[int] = mapped_column(Integer, server_default="-1", default=-1)
    purpose: Mapped[str] = mapped_column(String(16), server_default="judge", default="judge")
    retry_of: Mapped[str | None] = mapped_column(
        ID, ForeignKey("jobs.id", ondelete="SET NULL"), index=True, unique=True
    )
    """The job that this one repeats; a job is repeated once, its repetition may be repeated in turn."""

    state: Mapped[str] = mapped_column(String(16))
    requested_action: Mapped[str | None] = mapped_column(String(16))
    priority: Mapped[int] = mapped_column(Integer)
    run_after: Mapped[datetime | None]
    """Set only while a backoff lasts, so that a change of the database's clock delays no other job."""
    dispatched_at: Mapped[datetime | None]
    """When a message was last sent for it."""

    attempt: Mapped[int] = mapped_column(Integer, default=0)
    """The fence: one more at each claim; a worker's write names the attempt that it belongs to."""
    lease_owner: Mapped[str | None] = mapped_column(String(200))
    lease_expires_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    crashes: Mapped[int] = mapped_column(Integer, default=0)
    max_crashes: Mapped[int] = mapped_column(Integer, default=3)
    pause_after: Mapped[int | None]
    """The epoch after which its worker pauses it, to wait for the other trials of successive halving."""
    checkpoint_epoch: Mapped[int | None]
    checkpoint_path: Mapped[str | None] = mapped_column(Text)
    checkpoint_sha256: Mapped[str | None] = mapped_column(String(64))

    epochs: Mapped[int] = mapped_column(Integer)
    """How many epochs the specification asks for."""
    estimated_flops: Mapped[float] = mapped_column(Float, server_default="0", default=0.0)
    """Floating-point operations that it was estimated at; 0 in jobs from before that was kept."""
    epochs_done: Mapped[int] = mapped_column(Integer, default=0)
    fraction: Mapped[float] = mapped_column(Float, default=0.0)
    eta_seconds: Mapped[float | None] = mapped_column(Float)
    version: Mapped[int] = mapped_column(Integer, default=1)
    """One more at each change of the row; what an ETag is made from."""

    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    error_code: Mapped[str | None] = mapped_column(String(63))
    error_message: Mapped[str | None] = mapped_column(Text)
    error_retryable: Mapped[bool | None]
    request_id: Mapped[str | None] = mapped_column(String(64))
    """Of the request that submitted it, for the logs of its worker."""
    traceparent: Mapped[str | None] = mapped_column(String(55))
    """The same for traces; models/tracing.py."""

    result: Mapped["Result | None"] = relationship(
        back_populates="job", cascade="all, delete-orphan", passive_deletes=True, lazy="joined"
    )

    @property
    def waits_for_others(self) -> bool:
        """Whether it is paused where successive halving goes on with the best trials only."""
        return self.state == JobState.PAUSED and None is not self.pause_after == self.checkpoint_epoch

    __table_args__ = (
        CheckConstraint(_build_check("state", [*JobState]), name="state"),
        CheckConstraint(_build_check("requested_action", [*Action]), name="requested_action"),
        Index(None, "created_at", "id"),
        Index(None, "finished_at"),
        Index(None, "owner", "created_at", "id"),
        Index(None, "state", "created_at", "id"),
        Index(None, "owner", "state", "created_at", "id"),
        Index(None, "dataset", "created_at", "id"),
        Index(None, "dataset", "state", "owner"),
        Index(None, "experiment_id", "variant", "seed"),
        Index(
            "ix_jobs_tuning",
            "dataset",
            "state",
            sqlite_where=purpose == Purpose.TUNE,
            postgresql_where=purpose == Purpose.TUNE,
        ),
        # The queue's own order, so that finding the next job reads one row and sorts nothing.
        Index("ix_jobs_next", "state", priority.desc(), "created_at", "id"),
        Index(
            "ix_jobs_next_of_owner",
            *(
                Grouping(select_queued_owner(state, owner)),
                priority.desc(),
                "created_at",
                "id",
                "state",
                "owner",
            ),
            sqlite_where=select_queued_owner(state, owner).is_not(None),
            postgresql_where=select_queued_owner(state, owner).is_not(None),
        ),
    )


class JobTechnique(Base):
    """That a job uses a technique: what `spec` says, where it can be found without reading every job."""

    __tablename__ = "job_techniques"

    job_id: Mapped[str] = mapped_column(ID, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    technique: Mapped[str] = mapped_column(String(63), primary_key=True)
    created_at: Mapped[datetime]
    """The job's, so that the newest jobs of a technique are found in order."""

    __table_args__ = (Index(None, "technique", "created_at", "job_id"),)


class JobLabel(Base):
    """A job's label, where it can be found without reading every job."""

    __tablename__ = "job_labels"

    job_id: Mapped[str] = mapped_column(ID, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    value: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]
    """The job's, as in JobTechnique."""

    __table_args__ = (Index(None, "name", "value", "created_at", "job_id"),)


class Epoch(Base):
    """What one epoch did. Losses in nats per example, accuracies as fractions.

    `objective` and `batch_accuracy` are what Keras prints: with penalty, random layers on, averaged while
    the weights move. The others are taken after the epoch, without penalty, in inference mode.
    """

    __tablename__ = "epochs"

    job_id: Mapped[str] = mapped_column(ID, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    attempt: Mapped[int] = mapped_column(Integer)
    objective: Mapped[float]
    penalty: Mapped[float]
    batch_accuracy: Mapped[float]
    train_loss: Mapped[float]
    train_accuracy: Mapped[float]
    validation_loss: Mapped[float | None]
    validation_accuracy: Mapped[float | None]
    weight_norm: Mapped[float]
    learning_rate: Mapped[float]
    seconds: Mapped[float]


if TYPE_CHECKING:
    _MetricColumns = EvaluationMetrics
else:
    # A column for each field, of the type in its annotation, and nullable where that allows None.
    _hints = {name: Mapped[hint] for name, hint in get_type_hints(EvaluationMetrics).items()}
    _columns = {"__annotations__": _hints, "stop_reason": mapped_column(String(63))}
    _MetricColumns = type("_MetricColumns", (), _columns)


class Result(Base, _MetricColumns):
    """What a finished job is worth, measured at the reported epoch's weights. Columns, so people can sort.

    Null is what the job's release of Regbench did not record yet.
    """

    __tablename__ = "results"

    job_id: Mapped[str] = mapped_column(ID, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    weights_sha256: Mapped[str] = mapped_column(String(64))
    dataset_sha256: Mapped[str] = mapped_column(String(64))
    tensorflow: Mapped[str] = mapped_column(String(63))
    keras: Mapped[str] = mapped_column(String(63))
    device: Mapped[str] = mapped_column(String(200))
    threads: Mapped[int]
    regbench: Mapped[str | None] = mapped_column(String(63))
    """The release whose trainer it was; null in results from before it was recorded."""
    model_path: Mapped[str] = mapped_column(Text)
    model_sha256: Mapped[str] = mapped_column(String(64))
    predictions_path: Mapped[str | None] = mapped_column(Text)
    predictions_sha256: Mapped[str | None] = mapped_column(String(64))
    layers: Mapped[list[Any] | None] = mapped_column(deferred=True, deferred_group="details")
    """records.LayerRecord of each kernel."""
    confusion: Mapped[list[Any] | None] = mapped_column(deferred=True, deferred_group="details")
    """Counts of test images, [truth][answer]."""
    test_correct: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    """One bit a test image, in the data's order: whether it is correct (numpy.packbits, big-endian)."""
    diagnostics: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    """records.DiagnosticsRecord: large, and read for a few models only."""
    robustness: Mapped[dict[str, Any] | None] = mapped_column(deferred=True, deferred_group="details")
    """records.RobustnessRecord, of jobs that asked for it."""

    job: Mapped[Job] = relationship(back_populates="result")

    # One for each metric that lists can be sorted by.
    __table_args__ = (
        *(Index(None, metric, "job_id") for metric in METRICS),
        Index(None, "dataset_sha256", "job_id"),
    )


class Event(Base):
    """Something that happened to a job: every change of state is one row."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(SERIAL, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ID, ForeignKey("jobs.id", ondelete="CASCADE"))
    at: Mapped[datetime]
    type: Mapped[str] = mapped_column(String(63))
    from_state: Mapped[str | None] = mapped_column(String(16))
    to_state: Mapped[str | None] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(Integer)
    detail: Mapped[dict[str, Any]]

    __table_args__ = (Index(None, "job_id", "id"),)


class Dataset(Base):
    """An uploaded dataset under its owner's name for it; its images are in the artifact store, by digest."""

    __tablename__ = "datasets"

    owner: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), index=True)
    train_examples: Mapped[int]
    test_examples: Mapped[int]
    summary: Mapped[dict[str, Any]]
    """Images of each class, what was decided about the files, and warnings."""
    created_at: Mapped[datetime]


class Webhook(Base):
    """An address that gets a message when a job or an experiment ends."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=lambda: create_id("hook"))
    owner: Mapped[str] = mapped_column(ID, index=True)
    url: Mapped[str] = mapped_column(Text)
    secret: Mapped[str] = mapped_column(Text)
    """What deliveries are signed with: `whsec_` and base64, or that encrypted (models/encryption.py)."""
    states: Mapped[list[Any]]
    """The terminal states of jobs that it gets messages about."""
    experiments: Mapped[bool] = mapped_column(server_default=false(), default=False)
    """Whether it gets a message when an experiment has finished."""
    base_url: Mapped[str] = mapped_column(Text, default="", server_default="")
    """The API's address when the webhook was created, for links in messages; empty in old ones."""
    created_at: Mapped[datetime]


class Delivery(Base):
    """One message to one webhook. Stored in the transaction that notes the end, so that none is forgotten."""

    __tablename__ = "deliveries"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=lambda: create_id("msg"))
    webhook_id: Mapped[str] = mapped_column(ID, ForeignKey("webhooks.id", ondelete="CASCADE"))
    job_id: Mapped[str | None] = mapped_column(ID, ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    """Null in a message about an experiment, and in a test message."""
    experiment_id: Mapped[str | None] = mapped_column(
        ID, ForeignKey("experiments.id", ondelete="CASCADE"), index=True
    )
    event: Mapped[str] = mapped_column(String(63))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    next_attempt_at: Mapped[datetime | None] = mapped_column(index=True)
    """Null once it is delivered, or given up."""
    delivered_at: Mapped[datetime | None]
    last_status: Mapped[int | None]
    """HTTP status of the last attempt; null where none came back."""
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]

    __table_args__ = (Index(None, "webhook_id", "created_at", "id"),)
