"""docs/how-to/add-a-technique.md, carried out: a technique needs only an entry and a realization."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

# Runs in the copy: the technique as users see it, and a model trained with and without it.
SCRIPT = """
import json
import sys
from pathlib import Path

from fastapi.testclient import TestClient

from models.settings import Settings
from models.spec import JobSpec
from tests.applications import application
from tests.servers import migrate
from bench.stopwatch import EpochTimer
from models.dataset_arrays import load
from worker.datasets import split_dataset
from worker.program import ProgramCache
from worker.training import train

settings = Settings(home=Path(sys.argv[1]), api_keys_required="false")
migrate(settings.resolved_database_url)
with TestClient(application(settings)) as client:
    techniques = [technique["name"] for technique in client.get("/v1/techniques").json()["items"]]
    form = client.get("/new").text
documents = [{}, {"activity_l2": {}}, {"activity_l2": {"factor": 0.01}}]
programs, norms = ProgramCache(), []
for regularization in documents:
    spec = JobSpec.model_validate({
        "dataset": {"name": "mnist_5k", "train_samples": 320},
        "model": {"hidden_units": [8]},
        "training": {"epochs": 1},
        "regularization": regularization,
    })
    split = split_dataset(load("mnist_5k", settings), spec.dataset)
    trained = train(spec, split, EpochTimer(), programs=programs, chunk_seconds=1.0)
    norms.append(trained.evaluation.weight_norm)
print(json.dumps({"techniques": techniques, "form": "activity_l2" in form, "norms": norms}))
"""


@pytest.mark.slow
def test_a_technique_takes_an_entry_and_a_realization(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "docs")
    for folder in ("models", "worker", "api", "regbench", "migrations", "bench", "tests"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignored)
    guide = (ROOT / "docs/how-to/add-a-technique.md").read_text()
    entry, field, realization, _ = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)

    def replace(path: str, anchor: str, text: str) -> None:
        source = (tree / path).read_text()
        assert source.count(anchor) == 1
        (tree / path).write_text(source.replace(anchor, text))

    with (tree / "models/techniques/weights.py").open("a") as file:
        file.write(f"\n\n{entry}")
    catalogue, imported = "models/techniques/__init__.py", "techniques.weights import L1, L2, ActivityL1"
    replace(catalogue, imported, f"{imported}, ActivityL2")
    neighbour = "    activity_l1: ActivityL1 | None = None\n"
    replace(catalogue, neighbour, neighbour + field)
    anchor = '        if "confidence_penalty" in self._strengths:\n'
    replace("worker/techniques/loss.py", anchor, realization + anchor)

    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    seen = json.loads(finished.stdout.splitlines()[-1])
    assert "activity_l2" in seen["techniques"]
    assert seen["form"]
    without, weak, strong = seen["norms"]
    assert without > weak > strong
