"""What people would pick instead, side by side in one run: MLflow to track runs, Optuna to search.

    python -m bench alternatives [--only mlflow optuna] [--seconds 5] [--trials 12] [--epochs 10]

MLflow gets an environment of its own in HOME/bench; its rows are left out where it cannot be installed. One
server process each, over SQLite; wrk sends requests over sixteen connections, in turns. A comparison by Keras
scripts is measured by `python -m bench study`.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from bench.child import run_python
from bench.harness import Row, parse_arguments, print_rows
from bench.large_database import EPOCHS, fill
from bench.load import measure_rate, write_post_script
from bench.optuna_search import draw_trials
from bench.server import run_api, run_server
from bench.study import time_experiment
from bench.workload import build_spec
from models.documents import merge_patch
from models.settings import Settings

_MLFLOW = "mlflow>=3"
_ROUNDS = 3


def main() -> int:
    """Print each comparison; exit code 1 if Regbench is the slower one."""
    arguments = parse_arguments(__doc__, only=["mlflow", "optuna"], seconds=5, trials=12, epochs=10)
    measurements = {"mlflow": _compare_tracking, "optuna": _compare_search}
    return max(print_rows(measurements[name](arguments)) for name in arguments.only)


def _install_mlflow(folder: Path) -> str | None:
    """The Python of an environment with MLflow; None where it cannot be installed."""
    python = folder / "bin" / "python"
    if not python.exists():
        uv = shutil.which("uv") or "uv"
        for command in (["venv", str(folder)], ["pip", "install", "--python", str(python), _MLFLOW]):
            done = subprocess.run([uv, *command], capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"  MLflow cannot be installed: {done.stderr.strip().splitlines()[-1]}")
                shutil.rmtree(folder, ignore_errors=True)
                return None
    return str(python)


def _compare_tracking(arguments: argparse.Namespace) -> Iterator[Row]:
    python = _install_mlflow(Settings().home / "bench" / "mlflow")
    if python is None:
        return
    with TemporaryDirectory(prefix="regbench-bench-") as folder:
        url = f"sqlite:///{folder}/regbench.db"
        own = {"REGBENCH_DATABASE_URL": url, "REGBENCH_HOME": folder}
        run_python("-m", "migrations", environment=own)
        job = f"/v1/jobs/{fill(url, jobs=1_000, epochs=10 * EPOCHS).finished_job}"
        store = ("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", folder)
        server = ("-m", "mlflow", "server", *store, "--workers", "1")
        with (
            run_api(url, folder) as (_, ours),
            run_server(server, folder, {}, "/health", python=python) as (_, theirs),
        ):
            api = f"{theirs}/api/2.0/mlflow"
            run = _log_run(api)
            spec = merge_patch(build_spec("mnist_5k").model_dump(mode="json"), {"name": "new"})
            requests: dict[str, dict[str, tuple[str, dict[str, Any] | None]]] = {
                "read a run": {
                    "Regbench": (ours + job, None),
                    "MLflow": (f"{api}/runs/get?run_id={run}", None),
                },
                f"read {EPOCHS} epochs": {
                    "Regbench": (f"{ours}{job}/epochs", None),
                    "MLflow": (f"{api}/metrics/get-history?run_id={run}&metric_key=train_loss", None),
                },
                "create a run": {
                    "Regbench": (f"{ours}/v1/jobs", spec),
                    "MLflow": (f"{api}/runs/create", {"experiment_id": "0"}),
                },
            }
            for title, contestants in requests.items():
                yield from _compare_rates(title, contestants, Path(folder), arguments.seconds)


def _log_run(api: str) -> str:
    """Store a run with as many epochs as Regbench's job has; returns its id."""
    created = httpx.post(f"{api}/runs/create", json={"experiment_id": "0"}, timeout=60).raise_for_status()
    run_id: str = created.json()["run"]["info"]["run_id"]
    names = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate")
    for name in names:
        metrics = [
            {"key": name, "value": 1 / step, "step": step, "timestamp": step} for step in range(1, EPOCHS + 1)
        ]
        batch = {"run_id": run_id, "metrics": metrics}
        httpx.post(f"{api}/runs/log-batch", json=batch, timeout=60).raise_for_status()
    return run_id


def _compare_rates(
    title: str, contestants: dict[str, tuple[str, dict[str, Any] | None]], folder: Path, seconds: int
) -> Iterator[Row]:
    """Requests a second of each, and how many times as many Regbench answers: the median of the rounds."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for url, body in contestants.values():
        # The first request compiles statements and opens connections.
        httpx.request("POST" if body else "GET", url, json=body, timeout=60).raise_for_status()
    for _ in range(_ROUNDS):
        for name, (url, body) in contestants.items():
            script = None if body is None else write_post_script(json.dumps(body), folder)
            rates[name].append(measure_rate(url, seconds, script=script))
    for name, measured in rates.items():
        yield Row(f"{title}: {name}", statistics.median(measured), "a s")
    if not all(min(measured) for measured in rates.values()):
        raise SystemExit("one of them answered nothing in that time: give more --seconds")
    ratios = [ours / theirs for ours, theirs in zip(*rates.values(), strict=True)]
    yield Row(f"{title}: times as many", statistics.median(ratios), "", 1.0, at_least=True)


def _compare_search(arguments: argparse.Namespace) -> Iterator[Row]:
    """Seconds from nothing to the best of the same draws: an Optuna script with Keras, and one experiment."""
    base = build_spec("mnist_5k").model_dump(mode="json")
    variants = [
        {"name": f"trial {number}", "changes": changes}
        for number, changes in enumerate(draw_trials(arguments.trials))
    ]
    document = {
        "name": "search",
        "base": merge_patch(base, {"training": {"epochs": arguments.epochs}}),
        "variants": variants,
        "seeds": [0],
        "allow_confounders": True,  # the learning rate
    }
    started = time.perf_counter()
    time_experiment(document)
    ours = time.perf_counter() - started
    yield Row(f"{arguments.trials} trials: Regbench, with its start", ours, "s")
    started = time.perf_counter()
    options = ("--trials", str(arguments.trials), "--epochs", str(arguments.epochs))
    run_python("-m", "bench", "optuna_search", *options)
    theirs = time.perf_counter() - started
    yield Row(f"{arguments.trials} trials: Optuna, one script", theirs, "s")
    yield Row("trials: times as long", theirs / ours, "", 1.0, at_least=True)
