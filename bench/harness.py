"""What the benchmarks share: command line, databases, and a table of measurements beside their targets."""

import argparse
import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

from bench.child import run_python
from models.datasets import is_available
from models.settings import Settings
from tests.servers import postgresql

DATABASES = ["sqlite", "postgresql"]
_IDLE_LOAD = 0.5


@dataclass(frozen=True)
class Row:
    """A line of the table. Without a target it only informs."""

    title: str
    value: float
    unit: str
    target: float | None = None
    at_least: bool = False

    @property
    def missed(self) -> bool:
        """Whether the target is missed."""
        if self.target is None:
            return False
        return self.value < self.target if self.at_least else self.value >= self.target

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<"
        target = "" if self.target is None else f"{sign} {self.target:.3g}"
        line = f"  {self.title:58}{self.value:10.2f} {self.unit:7}{target:>9}"
        return line + ("   missed" if self.missed else "")


def print_rows(rows: Iterable[Row]) -> int:
    """Print each row as it is measured; returns the exit code, 1 if a target is missed."""
    missed = False
    for row in rows:
        print(row, flush=True)
        missed |= row.missed
    return int(missed)


def compare_rounds(
    rounds: Sequence[Mapping[str, float]],
    baseline: str,
    unit: str,
    targets: Mapping[str, float],
    *,
    at_least: bool = False,
) -> Iterator[Row]:
    """How many times as long as `baseline` each takes: medians of the ratios within a round's seconds."""
    for name in rounds[0]:
        title = f"{name}: {statistics.median(seconds[name] for seconds in rounds):.2f} s"
        ratio = statistics.median(seconds[name] / seconds[baseline] for seconds in rounds)
        yield Row(title, ratio, unit, targets.get(name), at_least)


def parse_arguments(description: str | None, **defaults: Any) -> argparse.Namespace:
    """Options by name: a whole number of at least 1, or a list of texts, out of the default ones.

    `dataset=None` is MNIST in full where it is on this machine, else mnist_5k, which needs no download.
    """
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    for name, default in defaults.items():
        if name == "dataset":
            full = is_available("mnist", Settings())
            parser.add_argument("--dataset", default="mnist" if full else "mnist_5k")
        elif isinstance(default, list):
            parser.add_argument(f"--{name}", nargs="+", choices=default, default=default)
        else:
            parser.add_argument(f"--{name}", type=_parse_positive, default=default)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    if load > _IDLE_LOAD:
        print(f"The load of the last minute is {load:.1f}: unless the machine is idle, no ratio is fair.")
    return arguments


def _parse_positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"give a whole number of at least 1, not {text}")
    return int(text)


def measure_on_databases(
    names: Iterable[str],
    measure: Callable[[str, str, argparse.Namespace], Iterable[Row]],
    arguments: argparse.Namespace,
) -> int:
    """Print the rows of `measure(address, temporary folder, arguments)` for an empty database of each kind.

    Returns the exit code, 1 if a target is missed.
    """
    missed = 0
    for name in names:
        with TemporaryDirectory(prefix="regbench-bench-") as folder, ExitStack() as stack:
            if name == "postgresql":
                url = stack.enter_context(postgresql())
            else:
                url = f"sqlite:///{folder}/regbench.db"
                own = {"REGBENCH_DATABASE_URL": url, "REGBENCH_HOME": folder}
                run_python("-m", "migrations", environment=own)
            print(name)
            missed |= print_rows(measure(url, folder, arguments))
    return missed
