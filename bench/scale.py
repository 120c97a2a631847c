"""How far one installation scales, on PostgreSQL: many workers, a million jobs, and the migration of those.

    python -m bench scale [--only workers cores million migration] [--workers 6] [--jobs 5000] [--copies 50]

The workers are real, but their training takes no time (tests/chaos/quick_worker.py). A million jobs are
20,000 in `copies`. Memory over time is measured by `python -m bench endurance --requests 200000`.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
from sqlalchemy import func, make_url, select, text

from bench.child import run_python
from bench.harness import Row, measure_on_databases, parse_arguments
from bench.large_database import LargeDatabase, fill
from bench.load import measure_latency
from bench.server import run_api
from bench.workload import build_spec
from models.dispatch import notify_workers
from models.retention import find_useless_files
from models.settings import Settings
from models.states import JobState
from models.store import jobs
from models.store.database import Database
from models.store.tables import Job
from models.store.workers import count_live_workers
from tests.chaos.services import quick_worker
from tests.servers import redis

METRICS_MILLISECONDS = 50.0
MIGRATION_SECONDS = 600.0
_JOBS_A_COPY, _EPOCHS_A_COPY = 20_000, 100_000
_OLD_REVISION = "0006"
_FILES = 200_000
_POLL_SECONDS = 0.2
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Print the tables; exit code 1 if a target is missed."""
    arguments = parse_arguments(__doc__, only=[*MEASUREMENTS], workers=6, jobs=5_000, copies=50)
    return max(measure_on_databases(["postgresql"], MEASUREMENTS[name], arguments) for name in arguments.only)


def measure_workers(url: str, folder: str, arguments: argparse.Namespace) -> Iterator[Row]:
    """Jobs a second through all of the service but training, and the processor time that a job takes."""
    with redis() as socket, ExitStack() as stack:
        places = {"database_url": url, "broker_url": f"redis+socket://{socket}", "worker_concurrency": 1}
        settings = Settings().model_copy(update=places | {"home": Path(folder), "artifacts_url": ""})
        database = Database(settings)
        stack.callback(database.close)
        for number in range(arguments.workers):
            stack.enter_context(quick_worker(settings, Path(folder) / f"worker-{number}.log"))
        while True:
            with database.read() as session:
                if count_live_workers(session).workers == arguments.workers:
                    break
            time.sleep(_POLL_SECONDS)
        _run_jobs(database, settings, 10 * arguments.workers)
        before, commits = _read_processor_seconds(url), _count_commits(database)
        seconds = _run_jobs(database, settings, arguments.jobs)
        after = _read_processor_seconds(url)
        rate = arguments.jobs / seconds
        yield Row(f"{arguments.jobs:,} jobs over {arguments.workers} workers", rate, "a s")
        yield Row("transactions a job", (_count_commits(database) - commits) / arguments.jobs, "")
        for part, used in after.items():
            milliseconds = 1_000 * (used - before[part]) / arguments.jobs
            yield Row(f"processor time a job, {part}", milliseconds, "ms")
        busy = sum(after.values()) - sum(before.values())
        yield Row("of the processor's time it used", busy / seconds / (os.cpu_count() or 1), "")
    own = {"REGBENCH_HOME": folder, "REGBENCH_DATABASE_URL": url}
    statements = run_python("-m", "bench", "worker_process", "statements", "mnist_5k", environment=own)
    yield Row("statements a job", float(statements), "")


def _run_jobs(database: Database, settings: Settings, count: int) -> float:
    """Seconds from the first message until the last of `count` jobs has succeeded."""
    spec = build_spec("mnist_5k")
    with database.write() as session:
        created = jobs.create_jobs(session, [jobs.NewJob(spec)] * count)
        ids = [job.id for job in created]
    started = time.perf_counter()
    notify_workers(database, settings, ids)
    unfinished = select(func.count()).where(Job.state.in_((JobState.QUEUED, JobState.RUNNING)))
    while True:
        with database.read() as session:
            if not session.scalar(unfinished):
                return time.perf_counter() - started
        time.sleep(_POLL_SECONDS)


def _count_commits(database: Database) -> int:
    with database.read() as session:
        query = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        return int(session.execute(text(query)).scalar_one())


def _read_processor_seconds(url: str) -> dict[str, float]:
    """Seconds that the workers and the database have used so far (Linux only)."""
    postmaster = (Path(str(make_url(url).query["host"])) / "postmaster.pid").read_text().split()[0]
    seconds = {"workers": 0.0, "PostgreSQL": 0.0}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            command = (stat.parent / "cmdline").read_bytes()
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        used = (int(fields[11]) + int(fields[12])) / _TICKS
        if b"quick_worker" in command:
            seconds["workers"] += used
        elif postmaster in (stat.parent.name, fields[1]):
            seconds["PostgreSQL"] += used
    return seconds


def measure_cores(_url: str, folder: str, _arguments: argparse.Namespace) -> Iterator[Row]:
    """Examples a second with real training: one process alone, and as many as there are cores."""
    alone = 0.0
    for count in (1, os.cpu_count() or 1):
        processes = []
        for number in range(count):
            home = Path(folder) / f"{count}-{number}"
            own = {"REGBENCH_HOME": str(home), "REGBENCH_DATABASE_URL": f"sqlite:///{home}/regbench.db"}
            home.mkdir()
            run_python("-m", "migrations", environment=own)
            command = [sys.executable, "-m", "bench", "worker_process", "throughput", "mnist_5k"]
            processes.append(
                subprocess.Popen(command, env=os.environ | own, stdout=subprocess.PIPE, text=True)
            )
        rates = [float(process.communicate()[0].split()[-1]) for process in processes]
        alone = alone or rates[0]
        yield Row(f"examples a second, {count} process(es)", sum(rates), "a s")
        yield Row("for each process, of what one alone does", sum(rates) / count / alone, "")


def measure_million(url: str, folder: str, arguments: argparse.Namespace) -> Iterator[Row]:
    """What grows with the number of jobs: metrics, pages, a report, and what prune looks for."""
    started = time.perf_counter()
    content = fill(url, jobs=_JOBS_A_COPY, epochs=_EPOCHS_A_COPY, copies=arguments.copies)
    yield Row(f"stored {_JOBS_A_COPY * arguments.copies:,} jobs", time.perf_counter() - started, "s")
    yield from measure_large(url, folder, content)


def measure_large(url: str, folder: str, content: LargeDatabase) -> Iterator[Row]:
    """The same over a database that is there."""
    paths = {
        "/metrics": METRICS_MILLISECONDS,
        "/v1/jobs?limit=50": None,
        "/v1/jobs?limit=50&state=failed&technique=dropout": None,
        f"/v1/jobs/{content.finished_job}": None,
        f"/v1/experiments/{content.experiment}": None,
        f"/v1/experiments/{content.experiment}/report?format=json": None,
        "/jobs": None,
        "/experiments": None,
        f"/experiments/{content.experiment}": None,
    }
    with run_api(url, folder) as (_, address):
        for path, target in paths.items():
            # The first request fills caches: of statements, counts, and what experiments have shown.
            httpx.get(address + path, timeout=60).raise_for_status()
            yield Row(f"GET {path[:50]}", measure_latency(address + path, 3), "ms", target)
    database = Database(Settings().model_copy(update={"database_url": url}))
    names = [f"jobs/job_{index:024x}/1/model.keras" for index in range(_FILES)]
    started = time.perf_counter()
    find_useless_files(database, names, days=30)
    yield Row(f"prune: what of {_FILES:,} files can go", time.perf_counter() - started, "s")
    database.close()


def measure_migration(url: str, folder: str, arguments: argparse.Namespace) -> Iterator[Row]:
    """All migrations of a large database since an early one."""
    fill(url, jobs=_JOBS_A_COPY, epochs=_EPOCHS_A_COPY, copies=arguments.copies)
    own = {"REGBENCH_DATABASE_URL": url, "REGBENCH_HOME": folder}
    program = "from alembic import command; from migrations import configuration; "
    run_python("-c", f"{program} command.downgrade(configuration(), '{_OLD_REVISION}')", environment=own)
    started = time.perf_counter()
    run_python("-m", "migrations", environment=own)
    title = f"migrate {_JOBS_A_COPY * arguments.copies:,} jobs from {_OLD_REVISION}"
    yield Row(title, time.perf_counter() - started, "s", MIGRATION_SECONDS)


MEASUREMENTS: dict[str, Callable[[str, str, argparse.Namespace], Iterator[Row]]] = {
    "workers": measure_workers,
    "cores": measure_cores,
    "million": measure_million,
    "migration": measure_migration,
}
