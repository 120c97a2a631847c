"""A process that only claims jobs: `python -m tests.chaos.claimer NAME` prints the ids of its jobs.

After a line on its standard input it claims its first job; after another one, all others that it can get.
"""

import sys

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
    print(_claim(database, name), flush=True)  # noqa: T201 (the test reads stdout)
    sys.stdin.readline()
    while (job_id := _claim(database, name)) is not None:
        print(job_id)  # noqa: T201 (the test reads stdout)
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
