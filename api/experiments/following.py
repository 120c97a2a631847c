"""Experiments as they change: long polls and server-sent events, over the one poll behind all streams."""

import asyncio

from fastapi.concurrency import run_in_threadpool
from fastapi.sse import format_sse_event

from api.experiments import schemas
from api.experiments.serializers import ExperimentSerializer
from api.http.etags import ETAG_PATTERN
from api.jobs.event_stream import UpdateStream
from api.jobs.updates import JobUpdate, JobUpdates, SubscriptionClosed
from models.store.database import Database
from models.store.experiments import get_experiment
from models.store.job_status import ExperimentStatus, format_progress_key


def load_experiment(
    database: Database, serializer: ExperimentSerializer, experiment_id: str
) -> schemas.Experiment:
    """An experiment as it stands now.

    Raises:
        NotFound: there is none of that id.
    """
    with database.read() as session:
        return serializer.serialize(session, [get_experiment(session, experiment_id)])[0]


def get_progress_key(experiment: schemas.Experiment) -> str:
    """What `Prefer: wait` waits for a change of: the states of the jobs. ETags begin with it."""
    return format_progress_key(experiment.progress.counts, auto_extending=experiment.auto_extending)


def has_seen(if_none_match: str | None, key: str) -> bool:
    """Whether the client's version is of this progress; without a version it is taken to be."""
    tags = ETAG_PATTERN.findall(if_none_match or "")
    return not tags or any(tag.startswith(f"{key}.") for tag in tags)


async def wait_for_change(
    updates: JobUpdates, experiment_id: str, seen: str, seconds: float, *, owner: str | None
) -> None:
    """Return when a job of the experiment changes its state, or after `seconds`."""
    subscription = updates.subscribe_to_experiment(experiment_id, owner)
    try:
        async with asyncio.timeout(seconds):
            while (update := await subscription.next(seconds)) is None or update.job.progress_key == seen:
                pass
    except (TimeoutError, SubscriptionClosed):
        pass
    finally:
        updates.unsubscribe(subscription)


def stream_experiment(
    updates: JobUpdates,
    database: Database,
    serializer: ExperimentSerializer,
    experiment_id: str,
    *,
    owner: str | None,
) -> UpdateStream[ExperimentStatus]:
    """Progress whenever a job changes, until the experiment has finished.

    Raises:
        Problem: there are too many subscriptions.
    """

    async def format_update(_: JobUpdate[ExperimentStatus]) -> tuple[bytes, bool]:
        experiment = await run_in_threadpool(load_experiment, database, serializer, experiment_id)
        progress, key = experiment.progress, get_progress_key(experiment)
        text = format_sse_event(event="progress", data_str=progress.model_dump_json(), id=key)
        if progress.finished:
            end = schemas.ExperimentEnd(headline=experiment.headline, report=experiment.links.report)
            text += format_sse_event(event="end", data_str=end.model_dump_json(), id=key)
        return text, progress.finished

    return UpdateStream(updates, updates.subscribe_to_experiment(experiment_id, owner), format_update)
