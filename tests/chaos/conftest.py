"""What the scenarios share: a seed, and a line of the table that closes the run."""

from collections.abc import Iterator
from random import Random

import pytest

from tests.chaos.fault_log import FAULT_LOG, FaultLog, Tally


@pytest.fixture(scope="session")
def fault_log(pytestconfig: pytest.Config) -> FaultLog:
    return pytestconfig.stash[FAULT_LOG]


@pytest.fixture
def full(fault_log: FaultLog) -> bool:
    """Whether the long form is requested."""
    return fault_log.full


@pytest.fixture
def _only_at_length(full: bool) -> None:
    if not full:
        pytest.skip("only at length: it takes most of a minute")


@pytest.fixture
def random(fault_log: FaultLog, request: pytest.FixtureRequest) -> Random:
    """Random choices of one test: the same for the same seed, whatever other tests run."""
    return Random(f"{fault_log.seed}/{request.node.name}")  # noqa: S311 (chance, not secrecy)


@pytest.fixture
def tally(fault_log: FaultLog, request: pytest.FixtureRequest) -> Iterator[Tally]:
    """The test's own line of the table; checked when the test has ended."""
    mine = Tally(request.node.name)
    yield mine
    fault_log.tallies.append(mine)
    mine.check()
