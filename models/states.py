"""The life of a job: its states and the one table of transitions between them."""

from enum import StrEnum


class JobState(StrEnum):
    """The state of a job. The terminal states never change; a retry is a new job."""

    QUEUED = "queued"
    """Stored and waiting for a worker."""
    RUNNING = "running"
    """Held by a worker, under a lease."""
    PAUSED = "paused"
    """Set aside by its owner; keeps its checkpoint; `resume` queues it again."""
    SUCCEEDED = "succeeded"
    """Trained and measured; has a result."""
    FAILED = "failed"
    """Ended without a result; `error` says why."""
    CANCELLED = "cancelled"
    """Ended at its owner's request; keeps the history of its epochs, and has no result."""

    @property
    def terminal(self) -> bool:
        """Whether a job in this state never changes again."""
        return not TRANSITIONS[self]


class Action(StrEnum):
    """What an owner may request of a running job; its worker acts on it within a chunk of steps."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RELEASE = "release"
    """Put the job back into the queue, because its worker is shutting down."""


STATE_AFTER = {
    Action.CANCEL: JobState.CANCELLED,
    Action.PAUSE: JobState.PAUSED,
    Action.RELEASE: JobState.QUEUED,
}
"""The state of a running job after its worker has acted on a request."""

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.PAUSED, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(
        {
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.CANCELLED,
            JobState.PAUSED,
            JobState.QUEUED,  # the lease was lost, or the worker gave the job back
        }
    ),
    JobState.PAUSED: frozenset({JobState.QUEUED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

TERMINAL = tuple(state for state in JobState if state.terminal)
UNFINISHED = tuple(state for state in JobState if not state.terminal)


def can_follow(before: JobState, after: JobState) -> bool:
    """Whether a job may go from `before` to `after` in one step."""
    return after in TRANSITIONS[before]
