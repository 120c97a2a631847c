"""Jobs that clients follow: one look at the database, every so often, for all of them together."""

import asyncio
import logging
import signal
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request

from api.http import problem_types
from api.http.problems import Problem
from models.errors import ServiceUnavailable
from models.states import JobState
from models.store.database import Database
from models.store.job_status import Glance, History, Position, glances, histories

log = logging.getLogger(__name__)


_BACKLOG = 64
"""Looks that a slow reader may be behind. Then it is cut off; when it comes again it goes on where it was."""


_GATHER_SECONDS = 0.02
"""How long the first look waits for others that begin to follow at the same moment."""


class Ended(Exception):
    """There is nothing more to follow: the job is gone, the reader too slow, or the service ends."""


@dataclass(frozen=True)
class News:
    """A job that has changed, and what is new in its history."""

    job: Glance
    history: History


@dataclass(eq=False)
class Subscription:
    """One who follows a job. `position`: what it has of the history; None: it wants none."""

    job_id: str
    position: Position | None
    version: int | None = None
    _news: deque[News] = field(default_factory=deque)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: bool = False

    async def next(self, seconds: float) -> News | None:
        """The next news, None if there is none for so long.

        Raises:
            Ended: there will be none.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        if self._news:
            news = self._news.popleft()
            if not self._news and not self._ended:
                self._ready.clear()
            return news
        if self._ended:
            raise Ended
        return None

    def tell(self, job: Glance, history: History) -> None:
        """Hand over what of this is new to it."""
        if self.position is not None:
            history = _beyond(self.position, history)
            self.position = _reached(self.position, history)
        self.version = job.version if history.complete else None
        if len(self._news) == _BACKLOG:
            self.end()
        else:
            self._news.append(News(job, history))
            self._ready.set()

    def end(self) -> None:
        """Let it read what it was told, and no more."""
        self._ended = True
        self._ready.set()


def _beyond(position: Position, history: History) -> History:
    """What another who follows the job, and has less of it, was the reason to read is left out."""
    events = [event for event in history.events if event.id > position.event]
    epochs = [epoch for epoch in history.epochs if epoch.epoch > position.epoch]
    if not history.complete:
        # The end comes after all epochs.
        events = [
            event for event in events if event.to_state is None or not JobState(event.to_state).terminal
        ]
    return History(events, epochs, history.complete)


def _reached(position: Position, history: History) -> Position:
    return Position(
        max([position.event, *(event.id for event in history.events)]),
        max([position.epoch, *(epoch.epoch for epoch in history.epochs)]),
    )


class Watcher:
    """Looks after all that is followed in this process. Used from its event loop only."""

    def __init__(self, database: Database, *, seconds: float, most: int) -> None:
        self._database = database
        self._seconds = seconds
        self._most = most
        self._following: set[Subscription] = set()
        self._hurry = asyncio.Event()
        # A thread of its own, so that slow requests do not delay the looks.
        self._thread = CapacityLimiter(1)
        self._stopped = False
        self._away = False

    @property
    def full(self) -> bool:
        """Whether nobody more can follow."""
        return len(self._following) >= self._most

    def __len__(self) -> int:
        return len(self._following)

    def follow(self, job_id: str, position: Position | None = None) -> Subscription:
        """Begin to follow a job; whoever does must `leave` again.

        Raises:
            Problem: too many do.
            ServiceUnavailable: the process is about to end.
        """
        if self._stopped:
            raise ServiceUnavailable("The service is about to end; ask again shortly.")
        if self.full:
            raise Problem(
                problem_types.TOO_MANY_STREAMS,
                f"This process follows jobs for {self._most} clients at once; ask again later, or poll.",
                headers={"Retry-After": "5"},
            )
        subscription = Subscription(job_id, position)
        self._following.add(subscription)
        self._hurry.set()
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Stop following."""
        self._following.discard(subscription)

    def stop(self) -> None:
        """End all that is followed, and take nobody more."""
        self._stopped = True
        for subscription in self._following:
            subscription.end()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look while the block runs; stop before the server waits for open answers to end."""
        self._stopped = False
        task = asyncio.create_task(self._run())
        try:
            with _before_shutdown(self.stop):
                yield
        finally:
            self.stop()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            if not self._following:
                self._hurry.clear()
                await self._hurry.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            self._hurry.clear()
            await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._hurry.wait()

    async def look(self) -> None:
        """One look for everybody. While the database is away, everybody waits."""
        following = [_Ask(each, each.job_id, each.version, each.position) for each in self._following]
        try:
            jobs, news = await to_thread.run_sync(self._read, following, limiter=self._thread)
        except ServiceUnavailable as error:
            if not self._away:
                log.warning("jobs that are followed: %s", error.message, exc_info=error.__cause__)
            self._away = True
            return
        except Exception:
            # Whatever it is, the next look may do better; without looks every stream would hang.
            log.exception("the look at jobs that are followed failed")
            return
        self._away = False
        for ask in following:
            job = jobs.get(ask.job_id)
            if job is None:
                ask.of.end()
            elif job.version != ask.version:
                ask.of.tell(job, news.get(ask.job_id, History()))
                if ask.of.version is None:
                    self._hurry.set()

    def _read(self, following: Sequence["_Ask"]) -> tuple[dict[str, Glance], dict[str, History]]:
        with self._database.read() as session:
            jobs = glances(session, {ask.job_id for ask in following})
            behind = [
                ask for ask in following if ask.job_id in jobs and jobs[ask.job_id].version != ask.version
            ]
            positions = _least(behind)
            return jobs, histories(session, positions) if positions else {}


@dataclass(frozen=True)
class _Ask:
    """What a look is to find out, fixed while it lasts."""

    of: Subscription
    job_id: str
    version: int | None
    position: Position | None


def _least(asks: Sequence[_Ask]) -> dict[str, Position]:
    """From where each job's history must be read for everybody who wants it."""
    found: dict[str, Position] = {}
    for ask in asks:
        if ask.position is not None:
            other = found.get(ask.job_id, ask.position)
            found[ask.job_id] = Position(
                min(other.event, ask.position.event), min(other.epoch, ask.position.epoch)
            )
    return found


@contextmanager
def _before_shutdown(end: Callable[[], None]) -> Iterator[None]:
    """Call `end` when the process is told to stop, before its server hears of it.

    The server waits for open answers before it tells the application that all is over.
    """
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread hears signals; whoever runs a server in another ends it otherwise.
        yield
        return
    loop = asyncio.get_running_loop()
    servers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(end)
        server = servers[signal.Signals(number)]
        if callable(server):
            server(number, frame)

    ours = [number for number, server in servers.items() if callable(server)]
    for number in ours:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is handle:
                signal.signal(number, servers[number])


async def _watcher(request: Request) -> Watcher:
    watcher: Watcher = request.app.state.watcher
    return watcher


WatcherDep = Annotated[Watcher, Depends(_watcher)]
