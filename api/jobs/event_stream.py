"""Server-sent events: the changes of a job, as they happen.

Every message but progress has the id `EVENT.EPOCH`: the last event and the last epoch that the client has by
then. Within one poll events come first, then epochs, so that an id says exactly what came before it.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Generic

from fastapi import Header
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.types import Receive, Scope, Send

from api.http import problem_types
from api.http import schemas as http_schemas
from api.http.problems import Problem
from api.jobs import schemas
from api.jobs.updates import JobUpdate, JobUpdates, Status, Subscription, SubscriptionClosed
from models.errors import FieldError
from models.states import JobState
from models.store.job_status import JobStatus, StreamCursor

KEEP_ALIVE_SECONDS = 15.0
_RECONNECT_MILLISECONDS = 2_000
_ID = re.compile(r"(\d{1,18})\.(\d{1,9})")

LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", description="`id` of the last message received; only later ones are sent"),
]


def parse_last_event_id(last_event_id: str | None) -> StreamCursor:
    """The position of a client, from the id of its last message; the beginning if it sends none.

    Raises:
        Problem: it is not an id of this service.
    """
    if not last_event_id:
        return StreamCursor()
    match = _ID.fullmatch(last_event_id)
    if match is None:
        detail = "not an id of this service's messages; omit it to get all of them"
        raise Problem(
            problem_types.INVALID_PARAMETER,
            f"header Last-Event-ID: {detail}",
            errors=[FieldError("header Last-Event-ID", detail)],
        )
    return StreamCursor(int(match[1]), int(match[2]))


class UpdateStream(EventSourceResponse, Generic[Status]):
    """Updates of a subscription, until `format_update` says that its messages were the last ones."""

    def __init__(
        self,
        updates: JobUpdates,
        subscription: Subscription[Status],
        format_update: Callable[[JobUpdate[Status]], Awaitable[tuple[bytes, bool]]],
    ) -> None:
        self._updates, self._subscription = updates, subscription
        # A buffering proxy would turn a stream into one late response.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(_generate_messages(subscription, format_update), headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send messages until there are no more or the client disconnects."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._updates.unsubscribe(self._subscription)


async def _generate_messages(
    subscription: Subscription[Status],
    format_update: Callable[[JobUpdate[Status]], Awaitable[tuple[bytes, bool]]],
) -> AsyncIterator[bytes]:
    yield format_sse_event(data_str=None, comment="open", retry=_RECONNECT_MILLISECONDS)
    is_last = False
    while not is_last:
        try:
            update = await subscription.next(KEEP_ALIVE_SECONDS)
        except SubscriptionClosed:
            return
        if update is None:
            yield format_sse_event(data_str=None, comment="keep-alive")
            continue
        text, is_last = await format_update(update)
        yield text


def stream_job(
    updates: JobUpdates, job_id: str, position: StreamCursor, *, owner: str | None
) -> UpdateStream[JobStatus]:
    """A job's history after a position, then updates until the job has ended.

    Raises:
        Problem: there are too many subscriptions.
    """

    async def format_update(update: JobUpdate[JobStatus]) -> tuple[bytes, bool]:
        nonlocal position
        text, position = _format_update(update, position)
        return text, update.job.state.terminal and update.history.complete

    return UpdateStream(updates, updates.subscribe(job_id, position, owner), format_update)


def _format_update(update: JobUpdate[JobStatus], position: StreamCursor) -> tuple[bytes, StreamCursor]:
    """The messages of one update, and the client's position after them."""
    job, history = update.job, update.history
    messages = []
    last = [event for event in history.events if event.to_state and JobState(event.to_state).terminal]
    for event in history.events:
        if event not in last:
            position = StreamCursor(event.id, position.epoch)
            messages.append(_format_message("change", schemas.Event.model_validate(event), position))
    for epoch in history.epochs:
        position = StreamCursor(position.event, epoch.epoch)
        messages.append(_format_message("epoch", schemas.Epoch.model_validate(epoch), position))
    progress = schemas.StreamProgress(
        state=job.state,
        epoch=job.epochs_done,
        epochs=job.epochs,
        fraction=job.fraction,
        eta_seconds=job.eta_seconds,
    )
    messages.append(_format_message("progress", progress))
    for event in last:
        position = StreamCursor(event.id, position.epoch)
        messages.append(_format_message("change", schemas.Event.model_validate(event), position))
    if job.state.terminal and history.complete:
        messages.append(_format_message("end", schemas.StreamEnd(state=job.state), position))
    return b"".join(messages), position


def _format_message(
    kind: str, data: http_schemas.ResponseModel, position: StreamCursor | None = None
) -> bytes:
    message_id = f"{position.event}.{position.epoch}" if position else None
    return format_sse_event(event=kind, data_str=data.model_dump_json(), id=message_id)
