"""What an upload of a large CSV file takes: an API process's peak memory above before, and seconds.

    python -m bench datasets [--megabytes 300]

The file is sent over HTTP to a real API process, read, and stored as a dataset.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np

from bench.harness import Row, measure_on_databases, parse_arguments
from bench.server import read_memory, run_api
from models.spec import PIXELS

GROWTH_MEGABYTES = 40.0
_ROWS = 2_000
_SMALL_BYTES = 1_000_000


def main() -> int:
    """Print a table; exit code 1 if a target is missed."""
    arguments = parse_arguments(__doc__, megabytes=300)
    return measure_on_databases(["sqlite"], _measure, arguments)


def _measure(url: str, folder: str, arguments: argparse.Namespace) -> Iterator[Row]:
    small, large = Path(folder) / "small.csv", Path(folder) / "large.csv"
    write_csv(small, _SMALL_BYTES)
    rows = write_csv(large, arguments.megabytes * 1_000_000)
    with run_api(url, folder) as (pid, address), httpx.Client(base_url=address, timeout=600.0) as client:
        # NumPy and Pillow are imported by the first upload.
        _upload(client, small)
        before = read_memory(pid, "VmHWM")
        yield Row("peak memory, after a file of 1 MB", before, "MB")
        started = time.perf_counter()
        _upload(client, large)
        seconds = time.perf_counter() - started
        yield Row(f"upload of {arguments.megabytes} MB, {rows:,} images", seconds, "s")
        yield Row("peak memory above that", read_memory(pid, "VmHWM") - before, "MB", GROWTH_MEGABYTES)


def write_csv(path: Path, size: int) -> int:
    """Write at least `size` bytes of rows as Kaggle's digit-recognizer has them; returns how many rows."""
    stream, rows = np.random.default_rng(0), 0
    with path.open("w") as file:
        file.write(",".join(["label", *(f"pixel{index}" for index in range(PIXELS))]) + "\n")
        while file.tell() < size:
            # A fifth of a digit's pixels are ink.
            ink = stream.random((_ROWS, PIXELS)) < 0.2
            images = np.where(ink, stream.integers(1, 256, (_ROWS, PIXELS)), 0)
            for image in images.tolist():
                file.write(f"{rows % 10},{','.join(map(str, image))}\n")
                rows += 1
    return rows


def _upload(client: httpx.Client, path: Path) -> None:
    with path.open("rb") as file:
        response = client.post("/v1/datasets", data={"name": path.stem}, files={"files": (path.name, file)})
    response.raise_for_status()
