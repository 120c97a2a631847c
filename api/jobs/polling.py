"""What makes polling cheap: tags that say whether anything has changed, waiting, and when to ask again."""

import asyncio
import math
import re
from typing import Annotated

from fastapi import Header

from api.http.etags import _TAG, _weak
from api.jobs.updates import Ended, Watcher
from models.states import JobState
from models.store.job_status import Glance
from models.store.tables import Job

LONGEST_WAIT = 30


_WAIT = re.compile(r'\s*wait\s*=\s*"?(\d{1,9})"?\s*', re.IGNORECASE)


_JOB_TAG = re.compile(r"\d+-(?P<epoch>\d+)-(?P<state>[a-z]+)-")


Prefer = Annotated[
    str | None,
    Header(
        description=f"`wait=N`: answer after up to N seconds (at most {LONGEST_WAIT}), or when it changes"
    ),
]


def job_tag(job: Glance | Job, queue_position: int | None) -> str:
    """The ETag of a job as it is shown: `version` counts all changes but these two of other rows.

    It begins with version, epoch and state, which `Prefer: wait` reads again.
    """
    return _weak(f"{job.version}-{job.epochs_done}-{job.state}-{queue_position or 0}-{job.retry_of or ''}")


def wished_wait(prefer: str | None) -> int | None:
    """The seconds of `Prefer: wait=N` (RFC 7240), as far as they are granted; None where it is not there."""
    for preference in (prefer or "").split(","):
        if wait := _WAIT.fullmatch(preference.partition(";")[0]):
            return min(int(wait[1]), LONGEST_WAIT)
    return None


def stand(job: Glance) -> tuple[str, int]:
    """What `Prefer: wait` waits to change: state and epoch."""
    return str(job.state), job.epochs_done


def stand_seen(if_none_match: str | None) -> tuple[str, int] | None:
    """State and epoch of the job that a client has, from its tag."""
    for tag in _TAG.findall(if_none_match or ""):
        if found := _JOB_TAG.match(tag):
            return found["state"], int(found["epoch"])
    return None


async def wait_for_change(watcher: Watcher, job_id: str, seen: tuple[str, int], seconds: float) -> None:
    """Return when the job's state or epoch is no longer what was seen, at the latest after so long."""
    subscription = watcher.follow(job_id)
    try:
        async with asyncio.timeout(seconds):
            while (news := await subscription.next(seconds)) is None or stand(news.job) == seen:
                pass
    except (TimeoutError, Ended):
        pass
    finally:
        watcher.leave(subscription)


def retry_after(state: JobState, eta_seconds: float | None, queue_position: int | None) -> dict[str, str]:
    """The header that says when to ask again: after a tenth of what is left; none of a job that has ended."""
    match state:
        case JobState.QUEUED:
            return _seconds(queue_position or 1)
        case JobState.RUNNING:
            return _seconds((eta_seconds or 0) / 10)
        case JobState.PAUSED:
            return _seconds(LONGEST_WAIT)
    return {}


def retry_after_remaining(remaining_seconds: float | None) -> dict[str, str]:
    """The same of an experiment that has not ended; its time left is None until a pace is known."""
    return _seconds(5 if remaining_seconds is None else remaining_seconds / 10)


def _seconds(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(min(max(math.ceil(seconds), 1), 30))}
