"""A worker's parent process uses the database so that it can be forked meanwhile, and cheaply."""

import os
import subprocess
import sys
import textwrap

from sqlalchemy import func, select

from models.settings import Settings
from models.store.tables import Job
from worker.fork_safety import fork_safe_database

# Its own process: a fork of the tests' process would copy all of its threads' locks.
FORKS_IN_THE_MIDST_OF_A_WRITE = textwrap.dedent("""
    import os, sys, threading, time
    from sqlalchemy import text
    from models.store.database import Database
    from models.settings import get_settings
    from worker.fork_safety import fork_safe_database

    WRITE = text("UPDATE jobs SET name = name")
    writing = threading.Event()

    def sweep():
        with fork_safe_database(get_settings()) as database, database.write() as session:
            session.execute(WRITE)
            writing.set()
            time.sleep(0.3)

    parent = threading.Thread(target=sweep)
    parent.start()
    writing.wait()
    child = os.fork()
    if child == 0:
        try:
            with Database(get_settings()).write() as session:
                session.execute(WRITE)
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    parent.join()
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""")


def test_a_child_forked_during_a_write_is_not_deadlocked(database_settings: Settings) -> None:
    url = database_settings.resolved_database_url
    done = subprocess.run(
        [sys.executable, "-c", FORKS_IN_THE_MIDST_OF_A_WRITE],
        env=os.environ | {"REGBENCH_DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_tasks_share_an_engine_which_keeps_compiled_statements_but_no_connection(
    database_settings: Settings,
) -> None:
    engines = []
    for _ in range(2):
        with fork_safe_database(database_settings) as database, database.read() as session:
            assert session.scalar(select(func.count(Job.id))) == 0
        engines.append(database.engine)
        status = database.engine.pool.status()
        assert "Connections in pool: 0" in status
        assert "checked out connections: 0" in status.lower()
    assert engines[0] is engines[1]
