"""A large report: 10 variants x 100 seeds x 100 epochs, through a real API on SQLite and on PostgreSQL.

    python -m bench report [--seeds 100] [--epochs 100] [--database sqlite postgresql]

The rows are made up, and of the size that real ones have. Beside the seconds: what the report adds to the
API's peak memory, and how long other requests take meanwhile (`GET /healthz`, sent all the time).
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from threading import Event, Thread

import httpx
import numpy as np
from sqlalchemy import insert, update

from bench.harness import DATABASES, Row, measure_on_databases, parse_arguments
from bench.server import read_memory, run_api
from bench.workload import build_spec
from models.experiments import ExperimentSpec
from models.settings import Settings
from models.states import JobState
from models.store.database import Database
from models.store.experiment_runs import get_runs
from models.store.experiments import create_experiment
from models.store.tables import Epoch, Job, Result
from tests.factories import epoch_record, result_record

VARIANTS = 10
TARGETS = {"json": 1.0, "html": 5.0}
MEMORY_MEGABYTES = 300.0
_NAMES = [f"dropout {n / 20}" for n in range(VARIANTS)]
_ROUNDS = 3
_SECONDS_BETWEEN_REQUESTS = 0.01


def main() -> int:
    """Print a table for each database; exit code 1 if a target is missed."""
    arguments = parse_arguments(__doc__, seeds=100, epochs=100, database=DATABASES)
    print(f"{VARIANTS} variants x {arguments.seeds} seeds x {arguments.epochs} epochs")
    return measure_on_databases(arguments.database, _measure, arguments)


def _measure(url: str, folder: str, arguments: argparse.Namespace) -> Iterator[Row]:
    experiment_id = _fill(url, arguments.seeds, arguments.epochs)
    with run_api(url, folder) as (pid, address), httpx.Client(base_url=address, timeout=120.0) as client:
        yield from _describe_latency("idle", _time_other_requests(address, lambda: time.sleep(1.0)))
        # Each report is of another baseline: the same one again would come from the API's cache.
        baselines = iter(_NAMES)
        for form, target in TARGETS.items():
            before = read_memory(pid, "VmRSS")
            seconds: list[float] = []

            def fetch(form: str = form, seconds: list[float] = seconds) -> None:
                for _ in range(_ROUNDS):
                    started = time.perf_counter()
                    query = {"format": form, "baseline": next(baselines)}
                    client.get(f"/v1/experiments/{experiment_id}/report", params=query).raise_for_status()
                    seconds.append(time.perf_counter() - started)

            others = _time_other_requests(address, fetch)
            yield Row(f"{form}: median of {_ROUNDS}", statistics.median(seconds), "s", target)
            growth = read_memory(pid, "VmHWM") - before
            yield Row(f"{form}: more memory at its peak", growth, "MB", MEMORY_MEGABYTES)
            yield from _describe_latency(form, others)


def _time_other_requests(address: str, meanwhile: Callable[[], None]) -> list[float]:
    """Seconds of each `GET /healthz` while `meanwhile` runs."""
    seconds: list[float] = []
    stopped = Event()

    def send() -> None:
        with httpx.Client(base_url=address, timeout=60.0) as client:
            while not stopped.wait(_SECONDS_BETWEEN_REQUESTS):
                started = time.perf_counter()
                client.get("/healthz").raise_for_status()
                seconds.append(time.perf_counter() - started)

    thread = Thread(target=send)
    thread.start()
    try:
        meanwhile()
    finally:
        stopped.set()
        thread.join()
    return seconds


def _describe_latency(what: str, seconds: list[float]) -> Iterator[Row]:
    yield Row(f"{what}: GET /healthz meanwhile, median", 1000 * statistics.median(seconds), "ms")
    yield Row(f"{what}: GET /healthz meanwhile, 99 %", 1000 * float(np.quantile(seconds, 0.99)), "ms")


def _fill(url: str, seeds: int, epochs: int) -> str:
    """Store a finished experiment; returns its id."""
    base = build_spec("mnist").model_dump(mode="json")
    base["training"]["epochs"] = epochs
    spec = ExperimentSpec.model_validate(
        {
            "name": "large",
            "base": base,
            "variants": [
                {"name": name, "changes": {"regularization": {"dropout": {"rate": n / 20}}}}
                for n, name in enumerate(_NAMES)
            ],
            "replicates": seeds,
        }
    )
    database = Database(Settings().model_copy(update={"database_url": url}))
    generator = np.random.default_rng(0)
    with database.write() as session:
        experiment, _ = create_experiment(session, spec, preset=None)
        runs = get_runs(session, experiment.id)
    with database.write() as session:
        ended = {"state": JobState.SUCCEEDED, "attempt": 1, "epochs_done": epochs, "fraction": 1.0}
        session.execute(update(Job).values(ended))
        for run in runs:
            correct, scatter = generator.random(10_000) < 0.98, generator.normal(0, 0.001)
            record = result_record(
                test_accuracy=float(correct.mean()),
                test_loss=0.07 + scatter,
                generalization_gap_loss=0.05 + scatter,
                epochs_run=epochs,
                test_correct=np.packbits(correct).tobytes(),
                model_path=f"jobs/{run.job.id}/1/model.keras",
            )
            session.execute(insert(Result), [asdict(record) | {"job_id": run.job.id}])
            history = [
                epoch_record(epoch, train_loss=float(loss), validation_loss=float(loss) + epoch / 1000)
                for epoch, loss in enumerate(generator.normal(0.1, 0.001, size=epochs), start=1)
            ]
            rows = [asdict(record) | {"job_id": run.job.id, "attempt": 1} for record in history]
            session.execute(insert(Epoch), rows)
    database.close()
    return experiment.id
