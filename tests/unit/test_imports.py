"""The directions of imports, and what an import loads."""

import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"celery", "fastapi", "keras", "scipy", "tensorflow"}


def loaded_by(module: str, depth: int = 1) -> set[str]:
    """The packages down to `depth` that a fresh interpreter has after importing `module`."""
    program = f"import {module}, sys; print(*{{'.'.join(name.split('.')[:{depth}]) for name in sys.modules}})"
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(finished.stdout.split())


def test_imports_run_one_way() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    finished = subprocess.run([lint, "--no-cache"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "0 broken" in finished.stdout


def test_no_module_imports_itself_through_others() -> None:
    """Imports within functions count too: they only hide a circle."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert {"api", "bench", "migrations", "models", "regbench", "worker"} <= packages
    graph = grimp.build_graph(*packages, cache_dir=None)
    # Raises CycleError, which names a circle's modules.
    TopologicalSorter(
        {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    ).prepare()


@pytest.mark.parametrize(
    "module",
    ["models.spec", "models.experiments", "models.states", "models.techniques", "models.settings"],
)
def test_the_pure_modules_load_no_heavy_package_and_no_database(module: str) -> None:
    assert not loaded_by(module) & (HEAVY | {"sqlalchemy", "redis", "fsspec", "numpy"})


@pytest.mark.parametrize(
    "module", ["models.store.tables", "models.store.database", "models.store.queue", "models.dispatch"]
)
def test_the_store_loads_no_heavy_package(module: str) -> None:
    assert not loaded_by(module) & HEAVY


@pytest.mark.parametrize("module", ["regbench.client", "regbench.cli.main"])
def test_the_client_needs_neither_service_nor_database(module: str) -> None:
    assert not loaded_by(module) & (HEAVY | {"sqlalchemy", "fsspec", "numpy"})


def test_the_api_loads_neither_tensorflow_nor_what_only_reports_and_predictions_need() -> None:
    loaded = loaded_by("api.app")
    assert not loaded & {"tensorflow", "keras", "mlxtend", "sklearn"}
    assert not loaded & {"matplotlib", "numpy", "PIL", "plotly", "scipy"}


def test_a_report_loads_of_scipy_only_its_functions() -> None:
    parts = ("html", "comparison", "ensembles", "memorization", "mistakes", "onsets", "targets", "tuning")
    loaded = loaded_by(", ".join(f"api.reports.{part}" for part in parts), depth=2)
    assert "scipy.special" in loaded
    # These are two thirds of the modules that a process's first report would load.
    assert not loaded & {"scipy.stats", "scipy.optimize", "scipy.integrate"}


def test_a_workers_parent_process_loads_no_tensorflow() -> None:
    """TensorFlow does not survive a fork; each training process imports its own."""
    assert not loaded_by("worker.app") & {"tensorflow", "keras", "sklearn"}


def test_a_training_process_leaves_out_what_only_happens_to_be_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGBENCH_HOME", str(tmp_path))
    loaded = loaded_by("worker.tasks as tasks; tasks.get_runner(); import sklearn.model_selection")
    assert {"keras", "sklearn"} <= loaded
    for name in ("IPython", "matplotlib", "pandas", "pyarrow"):
        assert find_spec(name), "it would be left out anyway"
        assert name not in loaded
