"""How long a worker's claim takes with a long queue, as a multiple of the same with a short one.

    python -m bench claims [--jobs 18000] [--database sqlite postgresql]

The long queue comes after the short one, as statistics of the database that know nothing of it yet do.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import insert

from bench.harness import DATABASES, Row, measure_on_databases, parse_arguments
from bench.large_database import build_job
from models.settings import Settings
from models.states import JobState
from models.store import queue
from models.store.database import Database
from models.store.tables import Job

_CLAIMS = 100
_OWNERS = 3
_MOST_TIMES = 1.5


def main() -> int:
    """Print a table for each database; exit code 1 if a target is missed."""
    arguments = parse_arguments(__doc__, jobs=18_000, database=DATABASES)
    return measure_on_databases(arguments.database, _measure, arguments)


def _measure(url: str, _folder: str, arguments: argparse.Namespace) -> Iterator[Row]:
    database = Database(Settings().model_copy(update={"database_url": url}))
    _queue_jobs(database, range(_CLAIMS))
    short = _measure_claim(database)
    yield Row(f"claim, fewer than {_CLAIMS} queued: {short:.1f} ms", 1.0, "times")
    _queue_jobs(database, range(_CLAIMS, _CLAIMS + arguments.jobs))
    long = _measure_claim(database)
    yield Row(f"claim, {arguments.jobs:,} queued: {long:.1f} ms", long / short, "times", _MOST_TIMES)
    database.close()


def _queue_jobs(database: Database, indices: range) -> None:
    queued: dict[str, Any] = {"state": JobState.QUEUED, "run_after": None, "experiment_id": None}
    rows = [build_job(index) | queued | {"owner": f"owner {index % _OWNERS}"} for index in indices]
    with database.write() as session:
        session.execute(insert(Job), rows)


def _measure_claim(database: Database) -> float:
    """Median milliseconds of a claim with its commit."""
    seconds = []
    for _ in range(_CLAIMS):
        started = time.perf_counter()
        with database.write() as session:
            assert queue.claim_next(session, owner="worker", lease_seconds=30) is not None  # noqa: S101 (else this measures something else)
        seconds.append(time.perf_counter() - started)
    return 1_000 * statistics.median(seconds)
