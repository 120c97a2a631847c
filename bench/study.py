"""A whole study, submit to report, beside the same models as Keras scripts one after another.

    python -m bench study [--techniques none dropout ...] [--seeds 10] [--epochs 30] [--scripts 3]

Regbench trains every technique with every seed on mnist_5k, as one experiment on a stack of its own: what
`regbench up` starts, in a temporary folder, ready when the clock starts. Of the scripts (bench/script.py,
each a fresh process with the machine to itself) only a few are run; their mean stands for all.
"""

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.child import run_python
from bench.harness import Row, parse_arguments, print_rows
from bench.server import run_own_stack
from bench.workload import build_spec
from models.documents import Document, merge_patch
from models.states import JobState
from regbench.errors import StackError

# In the order in which scripts are run: a plain one, one with random numbers, one with a costly layer.
TECHNIQUES = ["none", "dropout", "batch_normalization", "l2", "l1", "max_norm"]
TARGET = 10.0
POLL_SECONDS = 1.0


def main() -> int:
    """Print both times and their ratio; exit code 1 if the target is missed."""
    arguments = parse_arguments(__doc__, techniques=TECHNIQUES, seeds=10, epochs=30, scripts=3)
    jobs = len(arguments.techniques) * arguments.seeds
    print(
        f"{len(arguments.techniques)} techniques x {arguments.seeds} seeds x {arguments.epochs} epochs on "
        f"mnist_5k: {jobs} jobs, 784-512-512-10, batch 32",
        flush=True,
    )
    base = build_spec("mnist_5k").model_dump(mode="json")
    document = {
        "name": "study",
        "base": merge_patch(base, {"training": {"epochs": arguments.epochs}}),
        "variants": [
            {"name": name, "changes": {} if name == "none" else {"regularization": {name: {}}}}
            for name in arguments.techniques
        ],
        "seeds": list(range(arguments.seeds)),
    }
    ours = time_experiment(document)
    print_rows([Row("Regbench, submit to report", ours, "s")])
    scripts = []
    for technique in arguments.techniques[: arguments.scripts]:
        started = time.perf_counter()
        run_python("-m", "bench", "script", "--technique", technique, "--epochs", str(arguments.epochs))
        scripts.append(time.perf_counter() - started)
        print_rows([Row(f"one script: {technique}", scripts[-1], "s")])
    theirs = statistics.mean(scripts) * jobs
    return print_rows(
        [
            Row(f"Keras scripts: {len(scripts)} measured, their mean x {jobs}", theirs, "s"),
            Row("times as long", theirs / ours, "", TARGET, at_least=True),
        ]
    )


def time_experiment(document: Document) -> float:
    """Seconds from the submission of an experiment to its report.

    Raises:
        StackError: a job did not succeed.
    """
    temporary = TemporaryDirectory(prefix="regbench-bench-")
    with temporary as folder, run_own_stack(Path(folder)) as (stack, client):
        started = time.perf_counter()
        experiment_id = client.create_experiment(document).id
        # One small response each time: loading every job and epoch would take time from the training.
        while not (progress := client.experiment(experiment_id).model_dump()["progress"])["finished"]:
            stack.check()
            time.sleep(POLL_SECONDS)
        if progress["counts"].get(JobState.SUCCEEDED, 0) < progress["total"]:
            raise StackError(f"Not all jobs succeeded: {progress['counts']}.")
        client.report(experiment_id, "html")
        return time.perf_counter() - started
