"""A large report: 10 variants x 100 seeds x 100 epochs, through a real API on SQLite and on PostgreSQL.

    python -m bench.report [--seeds 100] [--epochs 100] [--database sqlite postgresql]

The rows are made up, and of the size that real ones have. Beside the seconds stands what the report adds to
the API's memory at its peak, and how long others wait meanwhile: `GET /healthz`, asked all the time.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from tempfile import TemporaryDirectory
from threading import Event, Thread

import httpx
import numpy as np
from sqlalchemy import insert, update

from bench.server import api_process, megabytes, sqlite
from bench.workload import positive, seed_spec, warn_if_busy
from models.experiments import ExperimentSpec
from models.settings import Settings
from models.states import JobState
from models.store.database import Database
from models.store.experiment_runs import ExperimentRun, get_runs
from models.store.experiments import create_experiment
from models.store.tables import Epoch, Job, Result
from tests.factories import epoch_record, result_record
from tests.servers import postgresql

HOST = "127.0.0.1"
VARIANTS = 10
TARGETS = {"JSON": 1.0, "HTML": 5.0}
MEMORY_TARGET = 300.0
_ROUNDS = 3
_ASK_SECONDS = 0.01
_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Measured:
    """One format of the report."""

    seconds: float
    megabytes: float
    others: list[float]
    """Seconds that each of the others' requests took meanwhile."""


def main() -> int:
    """Print the tables; exit code 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="A large report.")
    parser.add_argument("--seeds", type=positive, default=100)
    parser.add_argument("--epochs", type=positive, default=100)
    parser.add_argument(
        "--database", nargs="+", choices=("sqlite", "postgresql"), default=["sqlite", "postgresql"]
    )
    arguments = parser.parse_args()
    warn_if_busy()
    missed = False
    for name in arguments.database:
        with TemporaryDirectory(prefix="regbench-bench-") as folder, ExitStack() as stack:
            url = stack.enter_context(postgresql()) if name == "postgresql" else sqlite(folder)
            experiment_id = _fill(url, arguments.seeds, arguments.epochs)
            print(f"{name}: {VARIANTS} variants x {arguments.seeds} seeds x {arguments.epochs} epochs")
            missed |= _metric(url, folder, experiment_id)
    return int(missed)


def _metric(url: str, folder: str, experiment_id: str) -> bool:
    """Print one database's table; returns whether a target is missed."""
    with api_process(url, folder) as (pid, address), httpx.Client(base_url=address, timeout=120.0) as client:
        idle = _asked(address, lambda: time.sleep(1.0))
        report = f"/v1/experiments/{experiment_id}/report"
        results = {
            form: _of_report(client, address, pid, f"{report}?format={form.lower()}") for form in TARGETS
        }
    print(f"{'':8}{'seconds':>9}{'target':>9}{'MB more':>9}{'target':>9}{'healthz: median':>17}{'99 %':>9}")
    print(f"{'idle':8}{'':36}{_milliseconds(idle)}")
    missed = False
    for form, item in results.items():
        seconds, memory = f"< {TARGETS[form]:g}", f"< {MEMORY_TARGET:g}"
        print(
            f"{form:8}{item.seconds:9.2f}{seconds:>9}{item.megabytes:9.0f}{memory:>9}{_milliseconds(item.others)}",
            flush=True,
        )
        missed |= item.seconds >= TARGETS[form] or item.megabytes >= MEMORY_TARGET
    return missed


def _of_report(client: httpx.Client, address: str, pid: int, path: str) -> Measured:
    """The median of a few, and the highest memory of all."""
    before = megabytes(pid, "VmRSS")
    took: list[float] = []

    def fetch() -> None:
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            client.get(path).raise_for_status()
            took.append(time.perf_counter() - began)

    others = _asked(address, fetch)
    return Measured(statistics.median(took), megabytes(pid, "VmHWM") - before, others)


def _asked(address: str, meanwhile: Callable[[], None]) -> list[float]:
    """Seconds of each `GET /healthz` while `meanwhile` runs."""
    took: list[float] = []
    stopped = Event()

    def ask() -> None:
        with httpx.Client(base_url=address, timeout=60.0) as client:
            while not stopped.wait(_ASK_SECONDS):
                began = time.perf_counter()
                client.get("/healthz").raise_for_status()
                took.append(time.perf_counter() - began)

    asker = Thread(target=ask)
    asker.start()
    try:
        meanwhile()
    finally:
        stopped.set()
        asker.join()
    return took


def _milliseconds(seconds: list[float]) -> str:
    high = float(np.quantile(seconds, 0.99))
    return f"{1000 * statistics.median(seconds):14.1f} ms{1000 * high:6.0f} ms"


def _fill(url: str, seeds: int, epochs: int) -> str:
    """Store a finished experiment; returns its id."""
    database = Database(Settings().model_copy(update={"database_url": url}))
    generator = np.random.default_rng(0)
    with database.write() as session:
        experiment, _ = create_experiment(session, _spec(seeds, epochs), preset=None)
        runs = get_runs(session, experiment.id)
    with database.write() as session:
        session.execute(
            update(Job).values(state=JobState.SUCCEEDED, attempt=1, epochs_done=epochs, fraction=1.0)
        )
        session.execute(insert(Result), [_result(run, generator, epochs) for run in runs])
        rows = [row for run in runs for row in _epochs(run, generator, epochs)]
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            session.execute(insert(Epoch), rows[first : first + _ROWS_AT_ONCE])
    database.close()
    return experiment.id


def _spec(seeds: int, epochs: int) -> ExperimentSpec:
    base = seed_spec("mnist").model_dump(mode="json")
    base["training"]["epochs"] = epochs
    return ExperimentSpec.model_validate(
        {
            "name": "large",
            "base": base,
            "variants": [
                {"name": f"dropout {n / 20}", "changes": {"regularization": {"dropout": {"rate": n / 20}}}}
                for n in range(VARIANTS)
            ],
            "replicates": seeds,
        }
    )


def _result(run: ExperimentRun, generator: np.random.Generator, epochs: int) -> dict[str, object]:
    correct = generator.random(10_000) < 0.98
    scatter = generator.normal(0, 0.001)
    record = result_record(
        test_accuracy=float(correct.mean()),
        test_loss=0.07 + scatter,
        generalization_gap_loss=0.05 + scatter,
        epochs_run=epochs,
        test_correct=np.packbits(correct).tobytes(),
        model_path=f"jobs/{run.job.id}/1/model.keras",
    )
    return asdict(record) | {"job_id": run.job.id}


def _epochs(run: ExperimentRun, generator: np.random.Generator, epochs: int) -> Iterator[dict[str, object]]:
    losses = generator.normal(0.1, 0.001, size=epochs)
    for epoch, loss in enumerate(losses, start=1):
        record = epoch_record(epoch, train_loss=float(loss), validation_loss=float(loss) + epoch / 1000)
        yield asdict(record) | {"job_id": run.job.id, "attempt": 1}


if __name__ == "__main__":
    sys.exit(main())
