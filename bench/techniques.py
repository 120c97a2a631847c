"""What each technique costs: seconds an epoch beside the unregularized network, in the same process.

    python -m bench.techniques [--dataset mnist|mnist_5k] [--rounds 3] [--threads 1]

Each technique of the catalogue at its default strength, alone, in turn; the ratio is taken round by round
and the median quoted.
"""

import argparse
import statistics
import sys

from bench.stopwatch import Silent
from models.datasets import is_available
from models.settings import Settings
from models.spec import JobSpec
from models.techniques import CATALOGUE
from worker.datasets import DataSplit, load, split_dataset
from worker.engine import start_engine
from worker.program import ProgramCache
from worker.training import train

PLAIN = "none"
TARGETS = {
    "dropout": 1.1,
    **dict.fromkeys(("l1", "l2", "max_norm", "batch_normalization", "label_smoothing"), 1.25),
}
# Between epochs they do next to nothing, and early stopping would end a round; spatial dropout needs a cnn.
NOT_TIMED = {
    "early_stopping",
    "learning_rate_schedule",
    "spatial_dropout",
    "stochastic_weight_averaging",
}


def main() -> int:
    """Print the table; exit code 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="What each technique costs.")
    parser.add_argument("--dataset", default="mnist" if is_available("mnist", Settings()) else "mnist_5k")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    engine = start_engine(arguments.threads)
    specs = {PLAIN: _spec(arguments.dataset), **{name: _spec(arguments.dataset, name) for name in _timed()}}
    split = split_dataset(load(arguments.dataset, Settings()), specs[PLAIN].dataset)
    print(f"{engine.device}, {engine.threads} threads, {arguments.dataset}: {len(split.train):,} examples")
    # One program at a time is kept warm for each technique: more than a worker keeps.
    programs = {name: ProgramCache() for name in specs}
    for name, spec in specs.items():
        _seconds(spec, split, programs[name])  # compiles
    rounds = [
        {name: _seconds(spec, split, programs[name]) for name, spec in specs.items()}
        for _ in range(arguments.rounds)
    ]
    return _report(rounds)


def _timed() -> list[str]:
    return [name for name in CATALOGUE if name not in NOT_TIMED]


def _spec(dataset: str, technique: str | None = None) -> JobSpec:
    return JobSpec.model_validate(
        {
            "dataset": {"name": dataset},
            "regularization": {technique: {}} if technique else {},
            "training": {"epochs": 1},
        }
    )


def _seconds(spec: JobSpec, split: DataSplit, programs: ProgramCache) -> float:
    silent = Silent()
    train(spec, split, silent, programs=programs, chunk_seconds=1.0)
    return silent.seconds


def _report(rounds: list[dict[str, float]]) -> int:
    print(f"{'':24}{'s/epoch':>9}{'times plain':>13}{'target':>9}")
    missed = False
    for name in rounds[0]:
        seconds = statistics.median(item[name] for item in rounds)
        ratio = statistics.median(item[name] / item[PLAIN] for item in rounds)
        target = TARGETS.get(name)
        missed |= target is not None and ratio > target
        print(f"{name:24}{seconds:9.2f}{ratio:13.2f}{f'<= {target:g}' if target else '':>9}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
