"""The one database poll that serves all subscriptions of a process."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from api.jobs import updates as updates_module
from api.jobs.updates import JobUpdate, JobUpdates, Subscription, SubscriptionClosed
from models.errors import ServiceUnavailable
from models.records import Progress
from models.states import JobState
from models.store import job_status as store
from models.store import queue
from models.store.database import Database
from models.store.job_status import StreamCursor
from tests.factories import epoch_record, finished_job, job_in

SECONDS = 5.0


def make_updates(database: Database, *, limit: int = 1_000) -> JobUpdates:
    return JobUpdates(database, seconds=0.05, limit=limit)


@contextmanager
def queries(database: Database) -> Iterator[list[str]]:
    """The statements of a block, without BEGIN and COMMIT."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine, "before_cursor_execute", note)


async def next_update(subscription: Subscription) -> JobUpdate:
    update = await subscription.next(SECONDS)
    assert update is not None
    return update


def advance(database: Database, job_id: str, epoch: int) -> None:
    with database.write() as session:
        queue.renew(session, job_id, 1, lease_seconds=30, progress=Progress(epoch, 0.5, 1.0))
        queue.record_epoch(session, job_id, 1, epoch_record(epoch))


def test_two_hundred_streams_cost_one_query_a_poll(database: Database) -> None:
    jobs = [job_in(database, JobState.RUNNING) for _ in range(4)]
    updates = make_updates(database)

    async def play() -> None:
        following = [updates.subscribe(jobs[number % 4], StreamCursor()) for number in range(200)]
        with queries(database) as first:
            await updates.poll()
        assert len(first) == 3, "versions, events, epochs"
        assert [len((await next_update(subscription)).history.events) for subscription in following] == [
            2
        ] * 200
        with queries(database) as idle:
            await updates.poll()
        assert len(idle) == 1
        advance(database, jobs[0], 1)
        with queries(database) as busy:
            await updates.poll()
        assert len(busy) == 3
        received = [await subscription.next(0) for subscription in following]
        assert [number for number, update in enumerate(received) if update] == [*range(0, 200, 4)]
        for subscription in following:
            updates.unsubscribe(subscription)
        assert len(updates) == 0

    asyncio.run(play())


def test_a_long_history_comes_in_parts_and_the_end_comes_last(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_MOST_EPOCHS", 2)
    job_id = finished_job(database, epochs=5).id
    updates = make_updates(database)

    async def play() -> None:
        one = updates.subscribe(job_id, StreamCursor())
        seen: list[int] = []
        for expected in ([1, 2], [3, 4], [5]):
            await updates.poll()
            part = await next_update(one)
            assert [epoch.epoch for epoch in part.history.epochs] == expected
            seen += [change.id for change in part.history.events]
            assert part.history.complete == (expected == [5])
            assert (part.history.events[-1:] != [] and part.history.events[-1].to_state == "succeeded") == (
                expected == [5]
            )
        assert len(seen) == len(set(seen)) == 3

    asyncio.run(play())


def test_a_slow_reader_is_disconnected_and_does_not_delay_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updates_module, "_BACKLOG", 2)
    job_id = job_in(database, JobState.RUNNING)
    updates = make_updates(database)

    async def play() -> None:
        slow, quick = updates.subscribe(job_id, StreamCursor()), updates.subscribe(job_id, StreamCursor())
        for epoch in range(1, 5):
            advance(database, job_id, epoch)
            await updates.poll()
            assert [record.epoch for record in (await next_update(quick)).history.epochs] == [epoch]
        assert [len((await next_update(slow)).history.epochs) for _ in range(2)] == [1, 1]
        with pytest.raises(SubscriptionClosed):
            await slow.next(SECONDS)

    asyncio.run(play())


def test_streams_outlive_an_outage_of_the_database(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = job_in(database, JobState.RUNNING)
    updates = make_updates(database)
    with monkeypatch.context() as outage:

        def away(*_: Any) -> None:
            raise ServiceUnavailable("The database cannot be reached; try again shortly.")

        async def play() -> None:
            async with updates.running():
                one = updates.subscribe(job_id, StreamCursor())
                await next_update(one)
                outage.setattr(updates_module, "get_statuses", away)
                advance(database, job_id, 1)
                assert await one.next(0.3) is None
                outage.undo()
                assert [record.epoch for record in (await next_update(one)).history.epochs] == [1]
                updates.unsubscribe(one)

        asyncio.run(play())
    assert caplog.text.count("cannot be reached") == 1


def test_the_subscription_to_a_deleted_job_is_closed(database: Database) -> None:
    updates = make_updates(database)

    async def play() -> None:
        one = updates.subscribe("job_gone", StreamCursor())
        await updates.poll()
        with pytest.raises(SubscriptionClosed):
            await one.next(SECONDS)

    asyncio.run(play())


def test_without_subscribers_nothing_is_queried(database: Database) -> None:
    updates = make_updates(database)

    async def play() -> None:
        async with updates.running():
            with queries(database) as seen:
                await asyncio.sleep(0.2)
        assert seen == []

    asyncio.run(play())
