"""The same engine as the unit tests': a process has one."""

import pytest

from worker.engine import start_engine


@pytest.fixture(scope="session", autouse=True)
def _engine() -> None:
    start_engine(threads=1)
