"""What each technique costs: seconds an epoch beside the unregularized network, in the same process.

    python -m bench techniques [--dataset mnist|mnist_5k] [--rounds 3] [--threads 1]

Each technique of the catalogue at its default strength, alone, in turn; the ratio is taken round by round
and the median shown.
"""

from bench.harness import compare_rounds, parse_arguments, print_rows
from bench.stopwatch import EpochTimer
from bench.workload import load_split
from models.spec import JobSpec
from models.techniques import CATALOGUE
from worker.datasets import DataSplit
from worker.engine import start_engine
from worker.program import ProgramCache
from worker.training import train

PLAIN = "none"
TARGETS = {
    "dropout": 1.1,
    **dict.fromkeys(("l1", "l2", "max_norm", "batch_normalization", "label_smoothing"), 1.25),
}


def main() -> int:
    """Print the table; exit code 1 if a target is missed."""
    arguments = parse_arguments(__doc__, dataset=None, rounds=3, threads=1)
    engine = start_engine(arguments.threads)
    base = {"dataset": {"name": arguments.dataset}, "training": {"epochs": 1}}
    specs = {PLAIN: JobSpec.model_validate(base)}
    for name, technique in CATALOGUE.items():
        # What acts between epochs takes next to no time.
        if "mlp" in technique.model_families and not technique.between_epochs:
            specs[name] = JobSpec.model_validate(base | {"regularization": {name: {}}})
    split = load_split(specs[PLAIN])
    print(f"{engine.device}, {engine.threads} threads, {arguments.dataset}: {len(split.train):,} examples")
    # Each technique's program stays warm: more than a worker caches.
    programs = {name: ProgramCache() for name in specs}
    for name, spec in specs.items():
        _time_epoch(spec, split, programs[name])  # compiles
    rounds = [
        {name: _time_epoch(spec, split, programs[name]) for name, spec in specs.items()}
        for _ in range(arguments.rounds)
    ]
    return print_rows(compare_rounds(rounds, PLAIN, "x plain", TARGETS))


def _time_epoch(spec: JobSpec, split: DataSplit, programs: ProgramCache) -> float:
    timer = EpochTimer()
    train(spec, split, timer, programs=programs, chunk_seconds=1.0)
    return timer.seconds
