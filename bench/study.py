"""A whole study, submit to report, beside the same models as Keras scripts one after another.

    python -m bench.study [--techniques none dropout ...] [--seeds 10] [--epochs 30] [--scripts 3]

Regbench trains every technique with every seed on mnist_5k, as one experiment on a stack of its own: what
`regbench up` starts, in a temporary folder, ready when the clock starts. Of the scripts (bench/script.py,
each a fresh process with the machine to itself) only a few are run; their mean stands for all.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.child import output_of
from bench.workload import positive, seed_spec, warn_if_busy
from models.experiments import Document, merge_patch
from models.settings import Settings
from models.states import JobState
from regbench.cli.options import echo_message
from regbench.client import Regbench
from regbench.errors import StackError
from regbench.local.ports import find_free_port
from regbench.local.stack import Stack, run_stack

# In the order in which scripts are run: a plain one, one with random numbers, one with a costly layer.
TECHNIQUES = ("none", "dropout", "batch_normalization", "l2", "l1", "max_norm")
TARGET = 10.0
HOST = "127.0.0.1"
POLL_SECONDS = 1.0
# Between two lines that say how far the study is.
LINE_SECONDS = 15.0


def main() -> int:
    """Print both times and their ratio; exit code 1 if the target is missed."""
    arguments = _arguments()
    warn_if_busy()
    jobs = len(arguments.techniques) * arguments.seeds
    print(
        f"{len(arguments.techniques)} techniques x {arguments.seeds} seeds x {arguments.epochs} epochs on "
        f"mnist_5k: {jobs} jobs, 784-512-512-10, batch 32",
        flush=True,
    )
    ours = _on_a_stack(_document(arguments))
    print(f"{'Regbench, submit to report':44}{ours:9.1f} s", flush=True)
    scripts = [
        _script(technique, arguments.epochs) for technique in arguments.techniques[: arguments.scripts]
    ]
    theirs = statistics.mean(scripts) * jobs
    print(f"{f'Keras scripts: {len(scripts)} measured, their mean x {jobs}':44}{theirs:9.1f} s")
    print(f"{'times as long':44}{theirs / ours:9.1f}   target >= {TARGET:g}")
    return int(theirs / ours < TARGET)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A study beside the same models as Keras scripts.")
    parser.add_argument("--techniques", nargs="+", choices=TECHNIQUES, default=list(TECHNIQUES))
    parser.add_argument("--seeds", type=positive, default=10)
    parser.add_argument("--epochs", type=positive, default=30)
    parser.add_argument("--scripts", type=positive, default=3, help="how many to run")
    return parser.parse_args()


def _document(arguments: argparse.Namespace) -> Document:
    base = seed_spec("mnist_5k").model_dump(mode="json")
    return {
        "name": "study",
        "base": merge_patch(base, {"training": {"epochs": arguments.epochs}}),
        "variants": [
            {"name": name, "changes": {} if name == "none" else {"regularization": {name: {}}}}
            for name in arguments.techniques
        ],
        "seeds": list(range(arguments.seeds)),
    }


def _on_a_stack(document: Document) -> float:
    """Seconds from the submission of an experiment to its report."""
    with TemporaryDirectory(prefix="regbench-bench-") as folder:
        # A stack of its own, even where another is configured.
        own = {"home": Path(folder), "database_url": "", "broker_url": "", "artifacts_url": ""}
        settings = Settings().model_copy(update=own)
        with (
            run_stack(settings, HOST, find_free_port(HOST), echo=echo_message, throwaway=True) as stack,
            Regbench(stack.url) as client,
        ):
            stack.wait_until_ready(echo_message)
            began = time.perf_counter()
            experiment = client.create_experiment(document)
            _wait(stack, client, experiment.id)
            client.report(experiment.id, "html")
            return time.perf_counter() - began


def _wait(stack: Stack, client: Regbench, experiment_id: str) -> None:
    """Say how far the experiment is until it is finished.

    Raises:
        StackError: a job did not succeed.
    """
    said = time.monotonic()
    while True:
        # One small answer each time: looking at every job and every epoch would take time from the training.
        progress = client.experiment(experiment_id).model_dump()["progress"]
        succeeded, total = progress["counts"].get(JobState.SUCCEEDED, 0), progress["total"]
        if progress["finished"]:
            break
        stack.check()
        if time.monotonic() - said >= LINE_SECONDS:
            said = time.monotonic()
            echo_message(f"{succeeded} of {total} jobs done, {progress['percent']:.0f} % of all steps")
        time.sleep(POLL_SECONDS)
    if succeeded < total:
        raise StackError(f"Only {succeeded} of {total} jobs succeeded: {progress['counts']}.")


def _script(technique: str, epochs: int) -> float:
    """Seconds that one model takes as a script, from the process's start to its end."""
    began = time.perf_counter()
    output_of("-m", "bench.script", "--technique", technique, "--epochs", str(epochs))
    seconds = time.perf_counter() - began
    print(f"{f'  one script: {technique}':44}{seconds:9.1f} s", flush=True)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
