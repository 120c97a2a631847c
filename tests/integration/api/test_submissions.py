"""Jobs of many requests, stored in one transaction; each is answered for itself."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from threading import Event

import pytest
from fastapi import Response
from sqlalchemy import text

from api.http.idempotency import Once, Replayed
from api.submissions import Submissions
from models.errors import OverQuota, ServiceUnavailable
from models.settings import Settings
from models.store.database import Database
from models.store.job_search import JobFilter, Order, find_jobs
from models.store.jobs import NewJob
from models.store.quotas import Quotas, one_at_a_time
from models.store.transitions import get_job
from tests.factories import job_spec

Stored = tuple[str, Response]


@contextmanager
def nobody_stores(settings: Settings) -> Iterator[None]:
    """Whoever wants to store a job waits until the block ends."""
    other = Database(settings)
    with other.write() as session:
        if other.engine.dialect.name == "postgresql":
            session.execute(text("LOCK TABLE jobs IN EXCLUSIVE MODE"))
        yield
    other.close()


def together(
    settings: Settings, database: Database, requests: list[Callable[[Submissions], Stored]]
) -> list[Future[Stored]]:
    """The requests' outcomes, of which the first is being stored while the others come."""
    ours = Submissions(database)
    with ThreadPoolExecutor(len(requests)) as pool:
        with nobody_stores(settings):
            first, *others = requests
            outcomes = [pool.submit(first, ours)]
            wait_until(lambda: bool(ours._lines) and waiting(ours) == 0)
            outcomes += [pool.submit(other, ours) for other in others]
            wait_until(lambda: waiting(ours) == len(others))
        return outcomes


def waiting(ours: Submissions) -> int:
    """How many wait for the next transaction."""
    return sum(len(line.waiting) for line in ours._lines.values())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def submission(
    database: Database, seed: int, *, owner: str = "local", key: str | None = None
) -> Callable[[Submissions], Stored]:
    def send(ours: Submissions) -> Stored:
        once = Once(database, owner, key, "content")
        with once.carried_out():
            return ours.store(NewJob(job_spec(seed=seed), owner), once)

    return send


def test_who_comes_while_others_are_stored_shares_the_next_transaction(
    database_settings: Settings, database: Database
) -> None:
    requests = [submission(database, seed, owner="ann") for seed in range(6)]
    outcomes = together(database_settings, database, requests)
    with database.read() as session:
        found = find_jobs(session, JobFilter(), after=None, limit=9, order=Order(descending=False))
    assert {job.id: (job.seed, job.owner) for job in found} == {
        outcome.result()[0]: (seed, "ann") for seed, outcome in enumerate(outcomes)
    }
    # Those of one transaction are a microsecond apart.
    moments = [job.created_at for job in found]
    assert moments[5] - moments[1] == timedelta(microseconds=4)
    for outcome in outcomes:
        job_id, answer = outcome.result()
        assert answer.status_code == 202
        assert answer.headers["Location"] == f"/v1/jobs/{job_id}"


def test_what_is_refused_to_one_is_not_refused_to_the_others(database_settings: Settings) -> None:
    limited = Database(database_settings, quotas=Quotas(queued_jobs=4, flops_per_day=0.0))
    requests = [submission(limited, seed) for seed in range(6)]
    outcomes = together(database_settings, limited, requests)
    faults = [type(outcome.exception()) for outcome in outcomes]
    assert faults.count(OverQuota) == 2
    with limited.read() as session:
        found = find_jobs(session, JobFilter(), after=None, limit=9)
    assert {job.id for job in found} == {each.result()[0] for each in outcomes if each.exception() is None}
    limited.close()


# SQLite has one writer, and no lock for an owner.
@pytest.mark.parametrize("database_settings", ["postgresql"], indirect=True)
def test_nobody_waits_for_anothers_quota(database_settings: Settings) -> None:
    limited = Database(database_settings, quotas=Quotas(queued_jobs=9, flops_per_day=0.0))
    ours = Submissions(limited)
    with ThreadPoolExecutor(1) as pool, limited.write() as session:
        one_at_a_time(session, "quota ann")
        held_up = pool.submit(submission(limited, 0, owner="ann"), ours)
        wait_until(lambda: "ann" in ours._lines and waiting(ours) == 0)
        job_id, _ = submission(limited, 1, owner="bob")(ours)
        assert not held_up.done()
    with limited.read() as session:
        assert get_job(session, job_id).owner == "bob"
    assert held_up.result()[0]
    limited.close()


def test_what_is_stored_with_others_is_remembered_for_its_key(
    database_settings: Settings, database: Database
) -> None:
    def submitted(once: Once) -> Callable[[Submissions], Stored]:
        return lambda ours: ours.store(NewJob(job_spec()), once)

    with ExitStack() as stack:
        requests = [Once(database, "local", f"key {number}", "content") for number in range(3)]
        for once in requests:
            # To hold a key is a transaction too, for which there is no time once nobody stores.
            stack.enter_context(once.carried_out())
        outcomes = together(database_settings, database, [submitted(once) for once in requests])
    for number, outcome in enumerate(outcomes):
        again = Once(database, "local", f"key {number}", "content")
        with pytest.raises(Replayed) as replayed, again.carried_out():
            pass
        assert replayed.value.answer.body == outcome.result()[1].body


@pytest.mark.parametrize("refused_first", [False, True], ids=["at once", "after a refusal"])
def test_an_outage_is_told_to_all_and_the_next_may_do_better(
    database: Database, monkeypatch: pytest.MonkeyPatch, refused_first: bool
) -> None:
    ours = Submissions(database)
    send = submission(database, 0)
    calls, go_on = [], Event()

    def away(*_: object) -> None:
        calls.append("away")
        assert go_on.wait(10)
        if refused_first and len(calls) == 2:
            raise OverQuota("too many", retry_after=1)
        raise ServiceUnavailable("away")

    with monkeypatch.context() as patched, ThreadPoolExecutor(4) as pool:
        patched.setattr("models.store.jobs.create_jobs", away)
        outcomes = [pool.submit(send, ours)]
        wait_until(lambda: bool(calls))
        outcomes += [pool.submit(send, ours) for _ in range(3)]
        wait_until(lambda: waiting(ours) == 3)
        go_on.set()
        assert [type(outcome.exception()) for outcome in outcomes] == [ServiceUnavailable] * 4
    # Those who waited together were not sent one by one into the same outage.
    assert len(calls) == 2 + refused_first
    job_id, _ = send(ours)
    with database.read() as session:
        assert [job.id for job in find_jobs(session, JobFilter(), after=None, limit=9)] == [job_id]
