"""One measurement in a worker's training process, which prints a number. Started by bench/worker.py."""

import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

from sqlalchemy import select

import worker.app  # noqa: F401 (Celery takes memory in a worker, too)
from bench.stopwatch import steps_noted
from bench.workload import seed_spec
from models.experiments import merge_patch
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


@dataclass(frozen=True)
class Run:
    """A job that has succeeded: the moment just before its claim, and how much it compiled."""

    began: float
    compilations: int


class Bench:
    """A runner, as a worker's process has it, and the queue that it takes its jobs from."""

    def __init__(self, dataset: str) -> None:
        self._settings = get_settings()
        self._database, self._runner = Database(self._settings), Runner(self._settings)
        self._base = seed_spec(dataset).model_dump(mode="json")

    def train(self, **changes: Any) -> Run:
        """Train one job; `changes` is a merge patch on the seed's.

        Raises:
            SystemExit: the job did not succeed.
        """
        spec = JobSpec.model_validate(merge_patch(self._base, changes))
        with self._database.write() as session:
            job_id = jobs.create_jobs(session, [jobs.NewJob(spec)])[0].id
        began = time.perf_counter()
        self._runner.run_next()
        with self._database.read() as session:
            job = get_job(session, job_id)
        if job.result is None:
            raise SystemExit(f"the job has {job.state}: {job.error_message}")
        return Run(began, job.result.compilations)

    @contextmanager
    def progress_noted(self) -> Iterator[list[tuple[float, int, float | None]]]:
        """Look at running jobs while the block runs: (moment, epochs done, ETA), as if polled."""
        noted: list[tuple[float, int, float | None]] = []
        stopped = Event()

        def look() -> None:
            running = select(Job.epochs_done, Job.eta_seconds).where(Job.state == JobState.RUNNING)
            while not stopped.wait(_POLL_SECONDS):
                with self._database.read() as session:
                    noted.extend((time.perf_counter(), *row) for row in session.execute(running))

        watch = Thread(target=look)
        watch.start()
        try:
            yield noted
        finally:
            stopped.set()
            watch.join()


def first_step_seconds(bench: Bench) -> float:
    """Seconds from just before a job's claim to its first step, where its shape is known: the median."""
    bench.train(regularization={"dropout": {"rate": 0.5}, "l2": {"factor": 1e-4}})
    return statistics.median(_second_job_seconds(bench, index) for index in range(1, SECOND_JOBS + 1))


def _second_job_seconds(bench: Bench, number: int) -> float:
    changes = {
        "seed": number,
        "regularization": {"dropout": {"rate": number / 20}, "l2": {"factor": number / 1e4}},
        "training": {"optimizer": {"learning_rate": number / 1e4}},
    }
    with steps_noted() as steps:
        run = bench.train(**changes)
    if run.compilations or steps.began is None:
        raise SystemExit("a second job of the same shape compiled something")
    return steps.began - run.began


def gigabytes_after_one_job(bench: Bench) -> float:
    """Peak resident gigabytes of this process after the seed's network."""
    bench.train(training={"epochs": EPOCHS})
    return _peak_gigabytes()


def eta_is_off_by(bench: Bench) -> float:
    """By what share of the time that was left the first epoch's ETA was wrong."""
    with bench.progress_noted() as noted:
        bench.train(training={"epochs": EPOCHS})
        ended = time.perf_counter()
    at, told = next((at, eta) for at, epochs_done, eta in noted if epochs_done >= 1 and eta is not None)
    return abs(told - (ended - at)) / (ended - at)


def _peak_gigabytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # In bytes on macOS, in KiB on Linux.
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


MEASUREMENTS: dict[str, Callable[[Bench], float]] = {
    "first-step": first_step_seconds,
    "one-job": gigabytes_after_one_job,
    "eta": eta_is_off_by,
}


def main() -> None:
    """Take the measurement that the command line names, on the dataset that it names."""
    name, dataset = sys.argv[1:]
    print(MEASUREMENTS[name](Bench(dataset)))


if __name__ == "__main__":
    main()
