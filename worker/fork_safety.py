"""The worker's parent process talks to the database while it may have to fork another training process.

SQLite keeps its table of locks in the process's memory. A child that is forked while a thread of its parent
holds a connection inherits that connection's locks, and nothing in it ever releases them: to that
child the database is locked for good, and it trains nothing. libpq forbids the same (PostgreSQL's manual,
"Forked Processes", libpq-connect).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock

from models.settings import Settings
from models.store.database import Database

# One for all tasks: closing it closes its connections only, and keeps the statements that it has compiled.
_get_database = lru_cache(maxsize=1)(Database)
_no_fork = Lock()
os.register_at_fork(
    before=_no_fork.acquire, after_in_parent=_no_fork.release, after_in_child=_no_fork.release
)


@contextmanager
def fork_safe_database(settings: Settings) -> Iterator[Database]:
    """A database for one short task; a fork waits until it is closed, so keep it no longer than that."""
    with _no_fork:
        database = _get_database(settings)
        try:
            yield database
        finally:
            database.close()
