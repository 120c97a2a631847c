"""Counters: no addition is lost."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from models.store import counters
from models.store.counters import COUNTERS
from models.store.database import Database

THREADS, TIMES = 4, 10


def counted(database: Database) -> dict[str, float]:
    with database.read() as session:
        return counters.read(session)


def test_everything_is_zero_at_first(database: Database) -> None:
    assert counted(database) == dict.fromkeys(COUNTERS, 0.0)


def test_amounts_add_up_and_do_not_change_other_counters(database: Database) -> None:
    for _ in range(2):
        with database.write() as session:
            counters.add(session, compilations=3, compile_seconds=1.25)
    assert counted(database) == dict.fromkeys(COUNTERS, 0.0) | {"compilations": 6, "compile_seconds": 2.5}


def test_a_rolled_back_amount_is_not_counted(database: Database) -> None:
    with database.write() as session:
        counters.add(session, trainings=1)
        session.rollback()
    assert counted(database)["trainings"] == 0


def test_an_unknown_counter_name_is_refused(database: Database) -> None:
    with pytest.raises(AssertionError, match="epoch_seconds"), database.write() as session:
        counters.add(session, epoch_seconds=1)


def test_concurrent_additions_lose_no_amount_and_never_deadlock(database: Database) -> None:
    together = Barrier(THREADS)

    def work(number: int) -> None:
        # Half of them name the counters the other way round.
        names = ["epochs", "trainings"] if number % 2 else ["trainings", "epochs"]
        for _ in range(TIMES):
            together.wait(timeout=30)
            with database.write() as session:
                counters.add(session, **dict.fromkeys(names, 1))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    counts = counted(database)
    assert (counts["epochs"], counts["trainings"]) == (THREADS * TIMES, THREADS * TIMES)
