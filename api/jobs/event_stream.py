"""Server-sent events: what happens to a job, as it happens.

Every message but progress has the id `EVENT.EPOCH`: the last event and the last epoch that the client has by
then. Within one look events come first, then epochs, so that an id says exactly what came before it.
"""

import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Header
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.types import Receive, Scope, Send

from api.http import problem_types
from api.http import schemas as http_schemas
from api.http.problems import Problem
from api.jobs import schemas
from api.jobs.updates import Ended, News, Subscription, Watcher
from models.errors import FieldError
from models.states import JobState
from models.store.job_status import Glance, Position
from models.store.tables import Event

KEEP_ALIVE_SECONDS = 15.0
_COME_AGAIN_MILLISECONDS = 2_000
_ID = re.compile(r"(\d{1,18})\.(\d{1,9})")

LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", description="`id` of the last message you have; only later ones are sent"),
]


def position_of(last_event_id: str | None) -> Position:
    """What a client has that names its last message; nothing, if it names none.

    Raises:
        Problem: the service gave no such id.
    """
    if not last_event_id:
        return Position()
    found = _ID.fullmatch(last_event_id)
    if found is None:
        detail = "not an id of this service's messages; leave it out to have all of them"
        raise Problem(
            problem_types.INVALID_PARAMETER,
            f"header Last-Event-ID: {detail}",
            errors=[FieldError("header Last-Event-ID", detail)],
        )
    return Position(int(found[1]), int(found[2]))


class JobStream(EventSourceResponse):
    """A job's history from a position on, and then all that happens, until it has ended."""

    def __init__(self, watcher: Watcher, job_id: str, position: Position) -> None:
        """Begin to follow.

        Raises:
            Problem: too many do.
        """
        self._watcher = watcher
        self._subscription = watcher.follow(job_id, position)
        # A proxy that gathers what passes would turn a stream into one late answer.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(_messages(self._subscription, position), headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the messages until there are no more, or nobody reads."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._watcher.leave(self._subscription)


async def _messages(subscription: Subscription, position: Position) -> AsyncIterator[bytes]:
    yield format_sse_event(data_str=None, comment="open", retry=_COME_AGAIN_MILLISECONDS)
    while True:
        try:
            news = await subscription.next(KEEP_ALIVE_SECONDS)
        except Ended:
            return
        if news is None:
            yield format_sse_event(data_str=None, comment="still here")
            continue
        text, position = _written(news, position)
        yield text
        if news.job.state.terminal and news.history.complete:
            return


def _written(news: News, position: Position) -> tuple[bytes, Position]:
    """One look's messages, and what the client has after them."""
    job, history = news.job, news.history
    messages = []
    last = [event for event in history.events if _ends(event)]
    for event in history.events:
        if event not in last:
            position = Position(event.id, position.epoch)
            messages.append(_message("change", schemas.Event.model_validate(event), position))
    for epoch in history.epochs:
        position = Position(position.event, epoch.epoch)
        messages.append(_message("epoch", schemas.Epoch.model_validate(epoch), position))
    messages.append(_message("progress", _progress(job)))
    for event in last:
        position = Position(event.id, position.epoch)
        messages.append(_message("change", schemas.Event.model_validate(event), position))
    if job.state.terminal and history.complete:
        messages.append(_message("end", schemas.StreamEnd(state=job.state), position))
    return b"".join(messages), position


def _ends(event: Event) -> bool:
    return event.to_state is not None and JobState(event.to_state).terminal


def _progress(job: Glance) -> schemas.StreamProgress:
    return schemas.StreamProgress(
        state=job.state,
        epoch=job.epochs_done,
        epochs=job.epochs,
        fraction=job.fraction,
        eta_seconds=job.eta_seconds,
    )


def _message(kind: str, data: http_schemas.Answer, position: Position | None = None) -> bytes:
    number = f"{position.event}.{position.epoch}" if position else None
    return format_sse_event(event=kind, data_str=data.model_dump_json(), id=number)
