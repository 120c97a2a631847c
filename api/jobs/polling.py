"""Polling of jobs: ETags, `Prefer: wait`, and when to ask again."""

import asyncio
import math
import re
from typing import Annotated

from fastapi import Header

from api.http.etags import ETAG_PATTERN, format_weak_etag
from api.jobs.updates import JobUpdates, SubscriptionClosed
from models.states import JobState
from models.store.job_status import JobStatus
from models.store.tables import Job

MAX_WAIT_SECONDS = 30
_WAIT = re.compile(r'\s*wait\s*=\s*"?(\d{1,9})"?\s*', re.IGNORECASE)
_JOB_TAG = re.compile(r"\d+-(?P<epoch>\d+)-(?P<state>[a-z]+)-")
Prefer = Annotated[
    str | None,
    Header(description=f"`wait=N`: respond after up to N s (at most {MAX_WAIT_SECONDS}), or when it changes"),
]


def format_job_etag(job: JobStatus | Job, queue_position: int | None) -> str:
    """The ETag of a job: its `version`, plus two values that depend on other rows.

    It begins with version, epoch and state, which `get_seen_progress` reads back.
    """
    return format_weak_etag(
        f"{job.version}-{job.epochs_done}-{job.state}-{queue_position or 0}-{job.retry_of or ''}"
    )


def parse_requested_wait(prefer: str | None) -> int | None:
    """The seconds of `Prefer: wait=N` (RFC 7240), at most MAX_WAIT_SECONDS; None if absent."""
    for preference in (prefer or "").split(","):
        if wait := _WAIT.fullmatch(preference.partition(";")[0]):
            return min(int(wait[1]), MAX_WAIT_SECONDS)
    return None


def get_progress_key(job: JobStatus) -> tuple[str, int]:
    """State and epoch: `Prefer: wait` returns when they change."""
    return str(job.state), job.epochs_done


def get_seen_progress(if_none_match: str | None) -> tuple[str, int] | None:
    """State and epoch that a client has seen, from its ETag; None if unknown."""
    for tag in ETAG_PATTERN.findall(if_none_match or ""):
        if match := _JOB_TAG.match(tag):
            return match["state"], int(match["epoch"])
    return None


async def wait_for_change(
    updates: JobUpdates, job_id: str, seen: tuple[str, int], seconds: float, *, owner: str | None
) -> None:
    """Return when the job's state or epoch differs from `seen`, or after `seconds`."""
    subscription = updates.subscribe(job_id, owner=owner)
    try:
        async with asyncio.timeout(seconds):
            while (update := await subscription.next(seconds)) is None or get_progress_key(
                update.job
            ) == seen:
                pass
    except (TimeoutError, SubscriptionClosed):
        pass
    finally:
        updates.unsubscribe(subscription)


def build_retry_after(
    state: JobState, eta_seconds: float | None, queue_position: int | None
) -> dict[str, str]:
    """`Retry-After` of a job: a tenth of its remaining time; empty if it has ended."""
    match state:
        case JobState.QUEUED:
            return _build_header(queue_position or 1)
        case JobState.RUNNING:
            return _build_header((eta_seconds or 0) / 10)
        case JobState.PAUSED:
            return _build_header(MAX_WAIT_SECONDS)
    return {}


def build_retry_after_remaining(remaining_seconds: float | None) -> dict[str, str]:
    """`Retry-After` of an unfinished experiment, whose remaining time may be unknown."""
    return _build_header(5 if remaining_seconds is None else remaining_seconds / 10)


def _build_header(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(min(max(math.ceil(seconds), 1), 30))}
