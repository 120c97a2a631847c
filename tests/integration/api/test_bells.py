"""One ring for all that is submitted while it rings."""

import asyncio
from threading import Event

import pytest

from api import bells
from api.bells import Bells
from models import dispatch
from models.settings import Settings
from models.store.database import Database

SECONDS = 10


class Bell:
    """Stands for the broker: notes what was rung for, and holds the first ring up."""

    def __init__(self) -> None:
        self.rung: list[list[str]] = []
        self.began, self.go_on = Event(), Event()

    def ring(self, _database: Database, _settings: Settings, job_ids: list[str]) -> None:
        self.rung.append(list(job_ids))
        self.began.set()
        assert self.go_on.wait(SECONDS)


@pytest.fixture
def bell(monkeypatch: pytest.MonkeyPatch) -> Bell:
    bell = Bell()
    monkeypatch.setattr(dispatch, "ring", bell.ring)
    return bell


def test_what_comes_meanwhile_is_rung_for_together(settings: Settings, bell: Bell) -> None:
    ours = Bells(Database(settings), settings)

    async def play() -> None:
        first = asyncio.create_task(ours.ring(["a"]))
        assert await asyncio.to_thread(bell.began.wait, SECONDS)
        for others in (["b", "c"], ["d"]):
            await ours.ring(others)  # returns at once
        assert bell.rung == [["a"]]
        bell.go_on.set()
        await asyncio.wait_for(first, SECONDS)
        assert bell.rung == [["a"], ["b", "c", "d"]]
        await ours.ring(["e"])

    asyncio.run(play())
    assert bell.rung[2:] == [["e"]]


def test_a_fault_does_not_silence_the_next(
    settings: Settings, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Bells(Database(settings), settings)

    def fail(*_: object) -> None:
        raise RuntimeError("oops")

    with monkeypatch.context() as patched:
        patched.setattr(bells.dispatch, "ring", fail)
        with pytest.raises(RuntimeError):
            asyncio.run(ours.ring(["a"]))
    bell.go_on.set()
    asyncio.run(ours.ring(["b"]))
    assert bell.rung == [["b"]]
