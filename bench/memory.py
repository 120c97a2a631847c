"""How much memory a real worker's training processes take at their peak, while jobs of many shapes pass."""

import time
from itertools import product
from pathlib import Path
from typing import Any

from bench.server import read_memory, run_own_stack
from bench.workload import build_spec
from models.documents import merge_patch

POLL_SECONDS = 0.2
# Each network with each of the techniques, on a part of the images, so that it takes minutes and not an hour.
NETWORKS: tuple[dict[str, Any], ...] = (
    {"family": "mlp", "hidden_units": [512, 512]},
    {"family": "mlp", "hidden_units": [1024]},
    {"family": "mlp", "hidden_units": [256, 128, 64]},
    {"family": "cnn", "filters": [16, 32], "hidden_units": [128]},
)
TECHNIQUES: tuple[dict[str, Any], ...] = (
    {},
    {"dropout": {}},
    {"l2": {}, "label_smoothing": {}},
    {"batch_normalization": {}},
    {"augmentation": {}, "max_norm": {}},
)
CHANGES: dict[str, Any] = {"dataset": {"train_samples": 2_000}, "training": {"epochs": 2}}


def measure_peak_of_worker(home: Path, dataset: str) -> float:
    """Peak gigabytes of the largest training process, replaced ones included (Linux only)."""
    with run_own_stack(home) as (stack, client):
        base = merge_patch(build_spec(dataset).model_dump(mode="json"), CHANGES)
        # Each process trains the shapes one after another, in the order of the queue.
        ids = [
            client.submit_job(merge_patch(base, {"model": model, "regularization": regularization})).id
            for model, regularization in product(NETWORKS, TECHNIQUES)
        ]
        peak = 0.0
        while not all(client.job(job_id).state.terminal for job_id in ids[-2:]):
            stack.check()
            peak = max([peak, *_read_peaks(home)])
            time.sleep(POLL_SECONDS)
        ended = {str(client.job(job_id).state) for job_id in ids}
    if ended != {"succeeded"}:
        raise SystemExit(f"not all jobs succeeded: {ended}")
    return peak


def _read_peaks(home: Path) -> list[float]:
    """Peak resident gigabytes of each process of the worker that belongs to `home`."""
    peaks = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"REGBENCH_HOME={home}".encode() not in (process / "environ").read_bytes().split(b"\0"):
                continue
            if b"worker.app:app" in (process / "cmdline").read_bytes():
                peaks.append(read_memory(int(process.name), "VmHWM") * 1.024 / 1e3)
        except OSError:
            continue  # it has ended meanwhile
    return peaks
