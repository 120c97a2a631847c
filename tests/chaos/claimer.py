"""A process that only claims jobs: `python -m tests.chaos.claimer NAME` prints the ids of its jobs.

It claims from the moment that a line reaches its standard input until no job is waiting.
"""

import sys
import time

from models.errors import ServiceUnavailable
from models.settings import get_settings
from models.store import queue
from models.store.database import Database

_LEASE_SECONDS = 3600.0


def main(name: str) -> None:
    """Claim until no job is queued."""
    database = Database(get_settings())
    with database.read():
        pass  # connected before the race begins
    print("ready", flush=True)  # noqa: T201 (the test reads stdout)
    sys.stdin.readline()
    while (job_id := _claim(database, name)) is not None:
        print(job_id)  # noqa: T201 (the test reads stdout)
        time.sleep(0.001)  # on a busy machine one process would claim all jobs before the others run
    database.close()


def _claim(database: Database, name: str) -> str | None:
    while True:
        try:
            with database.write() as session:
                job = queue.claim_next(session, owner=name, lease_seconds=_LEASE_SECONDS)
        except ServiceUnavailable:
            continue  # SQLite admits one writer at a time, and some wait longer than its timeout
        return job.id if job else None


if __name__ == "__main__":
    main(sys.argv[1])
