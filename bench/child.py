"""Child processes: two frameworks in one process would contend for its threads and memory.

`start_trainer` and `serve_epochs` are the two ends of a pipe. The child trains one epoch for each line that
it reads and answers with the seconds; between the rounds it waits, compiled and warm, and uses no processor.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def start_trainer(module: str, dataset: str, threads: int) -> Iterator[Callable[[], float]]:
    """Start `python -m bench MODULE`; the yielded function trains one epoch there and returns its seconds."""
    command = [sys.executable, "-m", "bench", module, "--dataset", dataset, "--threads", str(threads)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        requests, results = process.stdin, process.stdout
        assert requests is not None  # noqa: S101 (a pipe, see above: narrows the type for mypy)
        assert results is not None  # noqa: S101 (a pipe, see above: narrows the type for mypy)

        def run() -> float:
            requests.write("\n")
            requests.flush()
            seconds = results.readline()
            if not seconds:
                raise SystemExit(f"{module} has ended; its output stands above")
            return float(seconds)

        # Popen's exit closes the child's input, which ends it, and waits for it.
        yield run


def serve_epochs(train_epoch: Callable[[], float]) -> None:
    """The child's end: train once for each line of input and print the seconds, until the input ends."""
    for _ in sys.stdin:
        print(train_epoch(), flush=True)


def run_python(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """The output of `python ARGUMENTS`, with `environment` added to this process's.

    Raises:
        SystemExit: it failed; the message holds its errors.
    """
    finished = subprocess.run(
        [sys.executable, *arguments],
        check=False,
        # TensorFlow's warnings are worth reading only where something fails.
        capture_output=True,
        text=True,
        env=os.environ | dict(environment or {}),
    )
    if finished.returncode:
        raise SystemExit(f"python {' '.join(arguments)} failed:\n{finished.stderr}")
    return finished.stdout
