"""Processes of their own: two frameworks in one would contend for its threads and memory.

`child` and `serve` are the two ends of a pipe. The child trains one epoch for each line that it reads and
answers with the seconds; between the rounds it waits, compiled and warm, and leaves the processor to others.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def child(module: str, dataset: str, threads: int) -> Iterator[Callable[[], float]]:
    """Start `python -m module`; what is yielded trains one epoch there and returns its seconds."""
    command = [sys.executable, "-m", module, "--dataset", dataset, "--threads", str(threads)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        asked, answers = process.stdin, process.stdout
        assert asked is not None  # noqa: S101 (both are pipes, see above)
        assert answers is not None  # noqa: S101

        def run() -> float:
            asked.write("\n")
            asked.flush()
            answer = answers.readline()
            if not answer:
                raise SystemExit(f"{module} has ended; what it said stands above")
            return float(answer)

        # Popen's own end closes the child's input, which ends it, and waits for it.
        yield run


def serve(epoch: Callable[[], float]) -> None:
    """The child's end: `epoch` trains once and returns its seconds. Returns when the parent hangs up."""
    for _ in sys.stdin:
        print(epoch(), flush=True)


def output_of(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What `python ARGUMENTS` prints, with `environment` laid over this process's.

    Raises:
        SystemExit: it failed; the message holds what it said.
    """
    finished = subprocess.run(
        [sys.executable, *arguments],
        check=False,
        # TensorFlow talks much; it is worth reading only where something fails.
        capture_output=True,
        text=True,
        env=os.environ | dict(environment or {}),
    )
    if finished.returncode:
        raise SystemExit(f"python {' '.join(arguments)} failed:\n{finished.stderr}")
    return finished.stdout
