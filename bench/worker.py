"""What a warm worker costs: seconds from claim to first step for another job of a known shape, and memory.

Also how far the first epoch's ETA is off.

    python -m bench worker [--dataset mnist|mnist_5k] [--only MEASUREMENT ...]

Each measurement is taken in a fresh process (bench/worker_process.py) on a database of its own, the last one
in a real worker (bench/memory.py), whose processes are replaced when they have grown. This process stays
small: Linux counts the memory of a process that starts another into the other's peak.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.child import run_python
from bench.harness import Row, parse_arguments, print_rows
from bench.memory import measure_peak_of_worker

MANY_JOBS = "many-jobs"
MEASUREMENTS = {
    "first-step": ("claim to first step, shape known, median of 10", "s", 0.1),
    "one-job": ("peak memory after the seed's network, 10 epochs", "GB", 1.5),
    "eta": ("ETA after the first of 10 epochs, share it is off", "", 0.3),
    MANY_JOBS: ("peak memory of a worker's process, 20 shapes", "GB", 1.5),
}


def main() -> int:
    """Print the table; exit code 1 if a target is missed."""
    arguments = parse_arguments(__doc__, dataset=None, only=list(MEASUREMENTS))
    print(arguments.dataset)
    return print_rows(_measure(arguments.only, arguments.dataset))


def _measure(names: list[str], dataset: str) -> Iterator[Row]:
    for name in names:
        title, unit, target = MEASUREMENTS[name]
        with TemporaryDirectory(prefix="regbench-bench-") as home:
            # Of its own, even where others are configured.
            own = {
                "REGBENCH_HOME": home,
                "REGBENCH_DATABASE_URL": f"sqlite:///{home}/regbench.db",
                "REGBENCH_ARTIFACTS_URL": f"file://{home}/artifacts",
            }
            if name == MANY_JOBS:
                value = measure_peak_of_worker(Path(home), dataset)
            else:
                run_python("-m", "migrations", environment=own)
                value = float(run_python("-m", "bench", "worker_process", name, dataset, environment=own))
        yield Row(title, value, unit, target)
