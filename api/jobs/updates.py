"""Updates of jobs that clients follow: one poll of the database, at intervals, for all of them."""

import asyncio
import logging
import signal
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from copy import copy
from dataclasses import dataclass, field
from types import FrameType
from typing import Annotated, Any, Generic, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request

from api.http import problem_types
from api.http.problems import Problem
from models.errors import ServiceUnavailable
from models.states import JobState
from models.store.database import Database
from models.store.job_status import (
    ExperimentStatus,
    History,
    JobStatus,
    StreamCursor,
    get_experiment_statuses,
    get_histories,
    get_statuses,
)

log = logging.getLogger(__name__)

Status = TypeVar("Status", bound=JobStatus | ExperimentStatus)

_BACKLOG = 64
"""Updates that a slow subscriber may be behind before it is closed; it may resume where it was."""
_DEBOUNCE_SECONDS = 0.02
"""How long the first poll waits for more subscriptions that arrive at the same moment."""


class SubscriptionClosed(Exception):
    """No more updates: the job was deleted, the subscriber is too slow, or the service is stopping."""


@dataclass(frozen=True)
class JobUpdate(Generic[Status]):
    """A job, or an experiment, that has changed, and what is new in a job's history."""

    job: Status
    history: History


@dataclass(eq=False)
class Subscription(Generic[Status]):
    """A client's subscription to a job, or to an experiment. `position`: how much history it has, if any."""

    job_id: str
    position: StreamCursor | None
    owner: str | None = None
    version: int | None = None
    _pending: deque[JobUpdate[Status]] = field(default_factory=deque)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: bool = False

    async def next(self, seconds: float) -> JobUpdate[Status] | None:
        """The next update; None on a timeout.

        Raises:
            SubscriptionClosed: there will be no more.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        if self._pending:
            update = self._pending.popleft()
            if not self._pending and not self._closed:
                self._ready.clear()
            return update
        if self._closed:
            raise SubscriptionClosed
        return None

    def publish(self, job: Status, history: History) -> None:
        """Queue what of this the subscriber does not have yet."""
        if (position := self.position) is not None:
            # The history was read for the subscriber that has least of it.
            epochs = [epoch for epoch in history.epochs if epoch.epoch > position.epoch]
            events = [
                event
                for event in history.events
                if event.id > position.event
                # The end comes after all epochs.
                and (history.complete or event.to_state is None or not JobState(event.to_state).terminal)
            ]
            history = History(events, epochs, history.complete)
            self.position = StreamCursor(
                max([position.event, *(event.id for event in events)]),
                max([position.epoch, *(epoch.epoch for epoch in epochs)]),
            )
        self.version = job.version if history.complete else None
        if len(self._pending) == _BACKLOG:
            self.close()
        else:
            self._pending.append(JobUpdate(job, history))
            self._ready.set()

    def close(self) -> None:
        """Accept no more updates; those in the queue can still be read."""
        self._closed = True
        self._ready.set()


class JobUpdates:
    """Publish/subscribe for all jobs followed in this process, by polling. Used from its event loop only."""

    def __init__(
        self, database: Database, *, seconds: float, limit: int, limit_per_owner: int | None = None
    ) -> None:
        self._database = database
        self._seconds = seconds
        self._limit = limit
        self._limit_per_owner = limit if limit_per_owner is None else limit_per_owner
        self._subscriptions: set[Subscription[Any]] = set()
        self._wake_up = asyncio.Event()
        # A dedicated thread, so that slow requests do not delay polling.
        self._thread = CapacityLimiter(1)
        self._stopped = False
        self._database_down = False

    def is_full(self, owner: str | None) -> bool:
        """Whether the limit of all subscriptions is reached, or that of `owner`; None: not limited."""
        if owner is not None:
            subscriptions = sum(subscription.owner == owner for subscription in self._subscriptions)
            if subscriptions >= self._limit_per_owner:
                return True
        return len(self._subscriptions) >= self._limit

    def __len__(self) -> int:
        return len(self._subscriptions)

    def subscribe(
        self, job_id: str, position: StreamCursor | None = None, owner: str | None = None
    ) -> Subscription[JobStatus]:
        """Subscribe to a job; the caller must `unsubscribe`. `owner`: whose subscriptions are limited.

        Raises:
            Problem: the limit is reached.
            ServiceUnavailable: the process is stopping.
        """
        return self._add(Subscription(job_id, position, owner))

    def subscribe_to_experiment(
        self, experiment_id: str, owner: str | None = None
    ) -> Subscription[ExperimentStatus]:
        """The same of an experiment, which has no history."""
        return self._add(Subscription(experiment_id, None, owner))

    def _add(self, subscription: Subscription[Status]) -> Subscription[Status]:
        owner = subscription.owner
        if self._stopped:
            raise ServiceUnavailable("The service is stopping; try again shortly.")
        if self.is_full(owner):
            raise Problem(
                problem_types.TOO_MANY_STREAMS,
                f"This process serves at most {self._limit} streams, {self._limit_per_owner} of one owner; "
                "try again later, or poll.",
                headers={"Retry-After": "5"},
            )
        self._subscriptions.add(subscription)
        self._wake_up.set()
        return subscription

    def unsubscribe(self, subscription: Subscription[Any]) -> None:
        """Remove a subscription."""
        self._subscriptions.discard(subscription)

    def stop(self) -> None:
        """Close all subscriptions and accept no more."""
        self._stopped = True
        for subscription in self._subscriptions:
            subscription.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Poll while the block runs; close subscriptions before the server waits for open responses."""
        self._stopped = False
        task = asyncio.create_task(self._run())
        try:
            with _call_before_shutdown(self.stop):
                yield
        finally:
            self.stop()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            if not self._subscriptions:
                self._wake_up.clear()
                await self._wake_up.wait()
            await asyncio.sleep(_DEBOUNCE_SECONDS)
            self._wake_up.clear()
            await self.poll()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._wake_up.wait()

    async def poll(self) -> None:
        """Poll the database once for all subscriptions. While it is unreachable, subscribers wait."""
        # As they are when the poll begins; copies, because another thread reads them.
        subscriptions = {subscription: copy(subscription) for subscription in self._subscriptions}
        try:
            jobs, histories_by_job = await to_thread.run_sync(
                self._read, [*subscriptions.values()], limiter=self._thread
            )
        except ServiceUnavailable as error:
            if not self._database_down:
                log.warning("could not poll followed jobs: %s", error.message, exc_info=error.__cause__)
            self._database_down = True
            return
        except Exception:
            # The next poll may succeed; without polling every stream would hang.
            log.exception("polling followed jobs failed")
            return
        self._database_down = False
        for subscription, polled in subscriptions.items():
            job = jobs.get(subscription.job_id)
            if job is None:
                subscription.close()
            elif job.version != polled.version:
                subscription.publish(job, histories_by_job.get(subscription.job_id, History()))
                if subscription.version is None:
                    self._wake_up.set()

    def _read(
        self, subscriptions: Sequence[Subscription[Any]]
    ) -> tuple[dict[str, JobStatus | ExperimentStatus], dict[str, History]]:
        ids = {subscription.job_id for subscription in subscriptions}
        experiment_ids = {one for one in ids if one.startswith("exp_")}
        with self._database.read() as session:
            jobs: dict[str, JobStatus | ExperimentStatus] = {**get_statuses(session, ids - experiment_ids)}
            if experiment_ids:
                jobs |= get_experiment_statuses(session, experiment_ids)
            # The position from which each job's history must be read for all its subscribers.
            positions: dict[str, StreamCursor] = {}
            for subscription in subscriptions:
                job, position = jobs.get(subscription.job_id), subscription.position
                if job is None or job.version == subscription.version or position is None:
                    continue
                earliest = positions.get(job.id, position)
                positions[job.id] = StreamCursor(
                    min(earliest.event, position.event), min(earliest.epoch, position.epoch)
                )
            return jobs, get_histories(session, positions) if positions else {}


@contextmanager
def _call_before_shutdown(end: Callable[[], None]) -> Iterator[None]:
    """Call `end` on SIGINT and SIGTERM, before the server's own handler.

    The server waits for open responses before it runs the application's shutdown.
    """
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread receives signals; a server in another thread is stopped otherwise.
        yield
        return
    loop = asyncio.get_running_loop()
    handlers = {
        signal_number: signal.getsignal(signal_number) for signal_number in (signal.SIGINT, signal.SIGTERM)
    }

    def handle(signal_number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(end)
        handler = handlers[signal.Signals(signal_number)]
        if callable(handler):
            handler(signal_number, frame)

    replaced = [signal_number for signal_number, handler in handlers.items() if callable(handler)]
    for signal_number in replaced:
        signal.signal(signal_number, handle)
    try:
        yield
    finally:
        for signal_number in replaced:
            if signal.getsignal(signal_number) is handle:
                signal.signal(signal_number, handlers[signal_number])


async def get_job_updates(request: Request) -> JobUpdates:
    updates: JobUpdates = request.app.state.job_updates
    return updates


JobUpdatesDep = Annotated[JobUpdates, Depends(get_job_updates)]
