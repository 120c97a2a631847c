"""`regbench demo` on a machine with an empty home, no data and no network."""

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.acceptance.conftest import DEADLINE_SECONDS, REGBENCH, list_processes

NOWHERE = "http://127.0.0.1:9"


def test_the_demo_compares_reports_and_leaves_nothing_running(tmp_path: Path) -> None:
    done = run_demo(tmp_path)
    assert "Full MNIST is not available: mnist is not on this machine" in done.stderr
    assert "Dataset: mnist_5k (4,000 images for training and validation, 1,000 for testing)." in done.stderr
    folder = tmp_path / ".regbench" / "demo"
    for variant in ("without Dropout", "with Dropout"):
        line = rf"^Model {variant} - Test Loss: \d\.\d{{4}}, Test Accuracy: 0\.\d{{4}}\s*$"
        assert re.search(line, done.stdout, re.MULTILINE), done.stdout
    assert (folder / "report.md").read_text() == done.stdout
    assert (folder / "report.html").read_text().lower().startswith("<!doctype html>")
    json.loads((folder / "report.json").read_text())
    assert list_processes(folder) == {}


@pytest.mark.slow
def test_f1_the_demo_uses_mnist_5k_when_mnist_is_damaged(tmp_path: Path) -> None:
    images = tmp_path / "mnist.npz"
    # Whole as far as a submission checks it; a worker that reads it finds out.
    np.savez(images, **dict.fromkeys(("x_train", "y_train", "x_test", "y_test"), np.zeros(3)))  # type: ignore[arg-type] # arrays by name
    # One process of the worker is enough to find out, and imports TensorFlow once less.
    done = run_demo(tmp_path, REGBENCH_DATA_DIR=str(tmp_path), REGBENCH_WORKER_CONCURRENCY="1")
    assert f"{images} is not mnist as published" in done.stderr
    assert "Dataset: mnist_5k (4,000 images for training and validation, 1,000 for testing)." in done.stderr


def run_demo(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The demo in `tmp_path`, with no network."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGBENCH_")}
    environment |= {"HOME": str(tmp_path), "KERAS_HOME": str(tmp_path / "keras")}
    environment |= {"HTTPS_PROXY": NOWHERE, "https_proxy": NOWHERE, "HTTP_PROXY": NOWHERE} | variables

    for name in ("api", "client", "migrations", "models", "worker"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name}.py of the user was imported')")
    done = subprocess.run(
        [*REGBENCH, "demo", "--epochs", "1"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )

    assert done.returncode == 0, done.stderr
    return done
