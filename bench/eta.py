"""By what share the time left is off after the first tenth of an experiment of short jobs, really trained.

python -m bench eta [--seeds 20] [--epochs 2]
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.harness import Row, parse_arguments, print_rows
from bench.server import run_own_stack
from bench.workload import build_spec
from models.documents import Document, merge_patch
from models.states import JobState

_VARIANTS = {"none": {}, "dropout": {"rate": 0.5}, "l2": {"factor": 1e-4}}
_POLL_SECONDS = 0.5
_MOST = 0.3


def main() -> int:
    """Print what was estimated and what it took; exit code 1 if the estimate is too far off."""
    arguments = parse_arguments(__doc__, seeds=20, epochs=2)
    base = build_spec("mnist_5k").model_dump(mode="json")
    document = {
        "name": "eta",
        "base": merge_patch(base, {"training": {"epochs": arguments.epochs}}),
        "variants": [
            {"name": name, "changes": {"regularization": {name: value}} if value else {}}
            for name, value in _VARIANTS.items()
        ],
        "seeds": list(range(arguments.seeds)),
    }
    estimated, taken = _measure(document)
    return print_rows(
        [
            Row("estimated after the first tenth of the jobs", estimated, "s"),
            Row("taken from then on", taken, "s"),
            Row("share it is off", abs(estimated - taken) / taken, "", _MOST),
        ]
    )


def _measure(document: Document) -> tuple[float, float]:
    """The estimate when a tenth of the jobs has succeeded, and the seconds from then to the end."""
    estimate: tuple[float, float] | None = None
    with (
        TemporaryDirectory(prefix="regbench-bench-") as folder,
        run_own_stack(Path(folder)) as (stack, client),
    ):
        experiment_id = client.create_experiment(document).id
        while not (progress := client.experiment(experiment_id).model_dump()["progress"])["finished"]:
            stack.check()
            if estimate is None and 10 * progress["counts"].get(JobState.SUCCEEDED, 0) >= progress["total"]:
                estimate = progress["eta_seconds"], time.perf_counter()
            time.sleep(_POLL_SECONDS)
        ended = time.perf_counter()
    if estimate is None:
        raise SystemExit("the experiment was over before a tenth of it was seen")
    return estimate[0], ended - estimate[1]
