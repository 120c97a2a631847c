"""What a warm worker costs: seconds from claim to first step for another job of a known shape, and memory.

Also how far the first epoch's ETA is off.

    python -m bench.worker [--dataset mnist|mnist_5k] [--only MEASUREMENT ...]

Each measurement is taken in a fresh process (bench/worker_process.py) on a database of its own, the last one
in a real worker (bench/memory.py), whose processes are replaced when they have grown. This one stays small:
Linux counts the memory of the process that starts another into the other's peak.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.child import output_of
from bench.memory import peak_of_a_worker
from bench.workload import add_dataset


@dataclass(frozen=True)
class Measurement:
    """What is measured, and what it should be below."""

    title: str
    unit: str
    target: float


MANY_JOBS = "many-jobs"
MEASUREMENTS = {
    "first-step": Measurement("claim to first step, shape known, median of 10", "s", 0.1),
    "one-job": Measurement("peak memory after the seed's network, 10 epochs", "GB", 1.5),
    "eta": Measurement("ETA after the first of 10 epochs, share it is off", "", 0.3),
    MANY_JOBS: Measurement("peak memory of a worker's process, 20 shapes", "GB", 1.5),
}


def main() -> int:
    """Print the table; exit code 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="What a warm worker costs.")
    add_dataset(parser)
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS))
    arguments = parser.parse_args()
    print(f"{arguments.dataset}\n{'':52}{'measured':>12}{'target':>12}", flush=True)
    missed = False
    for name in arguments.only:
        wanted = MEASUREMENTS[name]
        measured = _measured(name, arguments.dataset)
        missed |= measured >= wanted.target
        found, target = f"{measured:.3f} {wanted.unit}", f"< {wanted.target:g} {wanted.unit}"
        print(f"{wanted.title:52}{found:>12}{target:>12}", flush=True)
    return int(missed)


def _measured(name: str, dataset: str) -> float:
    with TemporaryDirectory(prefix="regbench-bench-") as home:
        # Of its own, even where others are configured.
        own = {
            "REGBENCH_HOME": home,
            "REGBENCH_DATABASE_URL": f"sqlite:///{home}/regbench.db",
            "REGBENCH_ARTIFACTS_URL": f"file://{home}/artifacts",
        }
        if name == MANY_JOBS:
            return peak_of_a_worker(Path(home), dataset)
        output_of("-m", "migrations", environment=own)
        return float(output_of("-m", "bench.worker_process", name, dataset, environment=own))


if __name__ == "__main__":
    sys.exit(main())
