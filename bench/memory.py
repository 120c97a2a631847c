"""How much memory a real worker's training processes take at their peak, while jobs of many shapes pass."""

import time
from itertools import product
from pathlib import Path
from typing import Any

from bench.workload import seed_spec
from models.experiments import merge_patch
from models.settings import Settings
from regbench.cli.options import echo_message
from regbench.client import Regbench
from regbench.local.ports import find_free_port
from regbench.local.stack import run_stack

HOST = "127.0.0.1"
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


def peak_of_a_worker(home: Path, dataset: str) -> float:
    """Gigabytes that the largest training process took, over all that came and went (Linux only)."""
    own = {"home": home, "database_url": "", "broker_url": "", "artifacts_url": ""}
    settings = Settings().model_copy(update=own)
    with (
        run_stack(settings, HOST, find_free_port(HOST), echo=echo_message, throwaway=True) as stack,
        Regbench(stack.url) as client,
    ):
        stack.wait_until_ready(echo_message)
        base = merge_patch(seed_spec(dataset).model_dump(mode="json"), CHANGES)
        # The shapes come one after another on every process: the order of the queue is theirs.
        ids = [
            client.submit_job(merge_patch(base, {"model": model, "regularization": regularization})).id
            for model, regularization in product(NETWORKS, TECHNIQUES)
        ]
        peak = 0.0
        while not all(client.job(job_id).state.terminal for job_id in ids[-2:]):
            stack.check()
            peak = max([peak, *_peaks(home)])
            time.sleep(POLL_SECONDS)
        ended = {str(client.job(job_id).state) for job_id in ids}
    if ended != {"succeeded"}:
        raise SystemExit(f"not all jobs succeeded: {ended}")
    return peak


def _peaks(home: Path) -> list[float]:
    """Peak resident gigabytes of each process of the worker that belongs to `home`."""
    results = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"REGBENCH_HOME={home}".encode() not in (process / "environ").read_bytes().split(b"\0"):
                continue
            if b"worker.app:app" in (process / "cmdline").read_bytes():
                results.append(_peak(process / "status"))
        except OSError:
            continue  # it has ended meanwhile
    return results


def _peak(status: Path) -> float:
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / 1e9
