"""What the store should do, written as simply as it can be: jobs in a list, and no database."""

from collections.abc import Callable
from dataclasses import dataclass, field

from models.states import STATE_AFTER, Action, JobState

EPOCHS = 4
MAX_CRASHES = 3

RecordedEvent = tuple[str, str | None, str | None, int]
"""An event: type, state before, state after, attempt."""


@dataclass
class ModelJob:
    """One job. Jobs are created in the order of the list that holds them."""

    id: str
    priority: int
    retry_of: str | None = None
    state: JobState = JobState.QUEUED
    attempt: int = 0
    crashes: int = 0
    worker: str = ""
    requested: Action | None = None
    epochs: list[int] = field(default_factory=list)
    checkpoint: int | None = None
    epochs_done: int = 0
    abandoned: bool = False
    """Running, and its lease has run out."""
    delayed: bool = False
    """Queued, and may not start yet."""
    events: list[RecordedEvent] = field(default_factory=lambda: [("queued", None, "queued", 0)])

    def move(self, after: JobState) -> None:
        """Change the state."""
        self.events.append((after, self.state, after, self.attempt))
        if after.terminal:
            if after is not JobState.FAILED:
                self.checkpoint = None
        elif self.state is JobState.RUNNING:
            self.epochs_done = self.checkpoint or 0
            self.epochs = [epoch for epoch in self.epochs if epoch <= self.epochs_done]
        self.state, self.requested, self.abandoned = after, None, False

    def claim(self, *, abandoned: bool) -> None:
        """Begin the next attempt."""
        self.attempt += 1
        self.move(JobState.RUNNING)
        self.abandoned = abandoned

    def retry(self, job_id: str) -> "ModelJob":
        """Repeat the job, whose failures are all retryable, from its checkpoint."""
        retry = ModelJob(job_id, self.priority, retry_of=self.id, checkpoint=self.checkpoint)
        retry.epochs_done = self.checkpoint or 0
        retry.epochs = [epoch for epoch in self.epochs if epoch <= retry.epochs_done]
        self.checkpoint = None
        return retry

    def request(self, action: Action) -> None:
        """Ask a running job for something."""
        if self.requested is not action:
            self.requested = action
            self.events.append((f"{action}_requested", None, None, self.attempt))

    def end(self, after: JobState) -> None:
        """The worker ends the job; an accepted cancel overrides its outcome."""
        self.move(JobState.CANCELLED if self.requested is Action.CANCEL else after)

    def rescue(self) -> None:
        """The worker is gone."""
        if self.requested:
            self.move(STATE_AFTER[self.requested])
            return
        self.crashes += 1
        self.delayed = self.crashes < MAX_CRASHES
        self.move(JobState.QUEUED if self.delayed else JobState.FAILED)

    def cancel(self) -> bool:
        """Cancel for the owner; returns whether it is granted, as do the next two."""
        if self.state is JobState.RUNNING:
            self.request(Action.CANCEL)
        elif not self.state.terminal:
            self.move(JobState.CANCELLED)
        else:
            return False
        return True

    def pause(self) -> bool:
        """See `cancel`."""
        if self.state.terminal or self.requested is Action.CANCEL:
            return False
        if self.state is JobState.QUEUED:
            self.move(JobState.PAUSED)
        elif self.state is JobState.RUNNING:
            self.request(Action.PAUSE)
        return True

    def resume(self) -> bool:
        """See `cancel`."""
        if self.state.terminal or self.requested is Action.CANCEL:
            return False
        if self.state is JobState.PAUSED:
            self.move(JobState.QUEUED)
        elif self.requested is Action.PAUSE:
            self.requested = None
            self.events.append(("pause_withdrawn", None, None, self.attempt))
        return True


class Model:
    """All jobs, in the order of their creation."""

    def __init__(self) -> None:
        self.jobs: list[ModelJob] = []

    def queue(self) -> list[ModelJob]:
        """The jobs that wait, the next one first."""
        return sorted(self.those(lambda job: job.state is JobState.QUEUED), key=lambda job: -job.priority)

    def those(self, condition: Callable[[ModelJob], bool]) -> list[ModelJob]:
        """The jobs for which the condition holds."""
        return [job for job in self.jobs if condition(job)]

    def retry_of(self, job: ModelJob) -> ModelJob | None:
        """The job that repeats this one."""
        return next((other for other in self.jobs if other.retry_of == job.id), None)

    def delete(self, job: ModelJob) -> None:
        """Forget a job; its retry stays."""
        retry = self.retry_of(job)
        if retry:
            retry.retry_of = None
        self.jobs.remove(job)
