"""What the scenarios share: a seed, and a line of the table that closes the run."""

from collections.abc import Iterator
from random import Random

import pytest

from tests.chaos.fault_log import LEDGER, Ledger, Tally


@pytest.fixture(scope="session")
def ledger(pytestconfig: pytest.Config) -> Ledger:
    return pytestconfig.stash[LEDGER]


@pytest.fixture
def full(ledger: Ledger) -> bool:
    """Whether the long form is asked for."""
    return ledger.full


@pytest.fixture
def random(ledger: Ledger, request: pytest.FixtureRequest) -> Random:
    """Random choices of one test: the same for the same seed, whatever other tests run."""
    return Random(f"{ledger.seed}/{request.node.name}")  # noqa: S311 (chance, not secrecy)


@pytest.fixture
def tally(ledger: Ledger, request: pytest.FixtureRequest) -> Iterator[Tally]:
    """The test's own line of the table; checked when the test has ended."""
    mine = Tally(request.node.name)
    yield mine
    ledger.tallies.append(mine)
    mine.check()
