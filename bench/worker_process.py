"""One measurement in a worker's training process, which prints a number. Started by bench/worker.py."""

import resource
import statistics
import sys
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

from sqlalchemy import Engine, event, select

import worker.app  # noqa: F401 (Celery takes memory in a worker, too)
from bench.stopwatch import time_steps
from bench.workload import build_spec, load_split
from models.documents import merge_patch
from models.settings import get_settings
from models.spec import JobSpec
from models.states import JobState
from models.store import jobs
from models.store.database import Database
from models.store.tables import Job
from models.store.transitions import get_job
from worker.runner import Runner

EPOCHS = 10
SECOND_JOBS = 10
_POLL_SECONDS = 0.05


class Worker:
    """A runner, as a worker's process has it, and the queue that it takes its jobs from."""

    def __init__(self, dataset: str) -> None:
        self.database, self.runner = Database(get_settings()), Runner(get_settings())
        self._base = build_spec(dataset).model_dump(mode="json")

    def train(self, **changes: Any) -> tuple[float, int]:
        """Train one job; returns the time just before its claim, and its number of compilations.

        `changes` is a merge patch on the seed's specification.

        Raises:
            SystemExit: the job did not succeed.
        """
        spec = JobSpec.model_validate(merge_patch(self._base, changes))
        with self.database.write() as session:
            job_id = jobs.create_jobs(session, [jobs.NewJob(spec)])[0].id
        started = time.perf_counter()
        self.runner.run_next()
        with self.database.read() as session:
            job = get_job(session, job_id)
        if job.result is None:
            raise SystemExit(f"the job has {job.state}: {job.error_message}")
        return started, job.result.compilations


def measure_first_step(worker: Worker) -> float:
    """Median seconds from just before a job's claim to its first step, where its shape is known."""
    worker.train(regularization={"dropout": {"rate": 0.5}, "l2": {"factor": 1e-4}})
    seconds = []
    for number in range(1, SECOND_JOBS + 1):
        with time_steps() as moments:
            claimed, compilations = worker.train(
                seed=number,
                regularization={"dropout": {"rate": number / 20}, "l2": {"factor": number / 1e4}},
                training={"optimizer": {"learning_rate": number / 1e4}},
            )
        if compilations:
            raise SystemExit("a second job of the same shape compiled something")
        seconds.append(moments[0] - claimed)
    return statistics.median(seconds)


def measure_memory_of_one_job(worker: Worker) -> float:
    """Peak resident gigabytes of this process after the seed's network."""
    worker.train(training={"epochs": EPOCHS})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # In bytes on macOS, in KiB on Linux.
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def measure_eta_error(worker: Worker) -> float:
    """By what share of the remaining time the first epoch's ETA was wrong."""
    progress: list[tuple[float, int, float | None]] = []
    stopped = Event()

    def poll() -> None:
        running = select(Job.epochs_done, Job.eta_seconds).where(Job.state == JobState.RUNNING)
        while not stopped.wait(_POLL_SECONDS):
            with worker.database.read() as session:
                progress.extend((time.perf_counter(), *row) for row in session.execute(running))

    thread = Thread(target=poll)
    thread.start()
    try:
        worker.train(training={"epochs": EPOCHS})
        ended = time.perf_counter()
    finally:
        stopped.set()
        thread.join()
    at, eta = next((at, eta) for at, epochs, eta in progress if epochs >= 1 and eta is not None)
    return abs(eta - (ended - at)) / (ended - at)


def count_statements(worker: Worker) -> float:
    """SQL statements of one job, from its claim to its end, where training takes no time."""
    from tests.chaos.quick_worker import replace_trainer  # noqa: PLC0415 (it is not to measure the others)

    replace_trainer()
    worker.train()
    with worker.database.write() as session:
        jobs.create_jobs(session, [jobs.NewJob(build_spec("mnist_5k"))] * SECOND_JOBS)
    statements: list[str] = []
    event.listen(Engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    for _ in range(SECOND_JOBS):
        worker.runner.run_next()
    return len(statements) / SECOND_JOBS


def measure_throughput(worker: Worker) -> float:
    """Examples trained a second, over jobs of a known shape, with all that is done beside training them."""
    worker.train(training={"epochs": EPOCHS})
    examples = len(load_split(build_spec("mnist_5k")).train.labels)
    started = time.perf_counter()
    for seed in range(1, 4):
        worker.train(seed=seed, training={"epochs": EPOCHS})
    return 3 * EPOCHS * examples / (time.perf_counter() - started)


MEASUREMENTS: dict[str, Callable[[Worker], float]] = {
    "first-step": measure_first_step,
    "one-job": measure_memory_of_one_job,
    "eta": measure_eta_error,
    "statements": count_statements,
    "throughput": measure_throughput,
}


def main() -> None:
    """Print what the measurement named by the first argument gives, on the dataset named by the second."""
    print(MEASUREMENTS[sys.argv[1]](Worker(sys.argv[2])))
