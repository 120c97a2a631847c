"""docs/how-to/add-a-metric.md, carried out: an entry, a computation, a migration and a line in a page."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from migrations import head

ROOT = Path(__file__).parents[3]

# Runs in the copy: one job is trained there, another has a result from before the metric.
SCRIPT = """
import json
import sys
from pathlib import Path

from fastapi.testclient import TestClient

from models.metrics import VARIANT_METRICS
from models.settings import Settings
from models.store.database import Database
from tests.applications import application
from tests.factories import finished_job, job_spec
from tests.servers import migrate
from worker.runner import Runner

settings = Settings(home=Path(sys.argv[1]), api_keys_required="false")
migrate(settings.resolved_database_url)
database = Database(settings)
old = finished_job(database, job_spec(seed=7)).id
runner = Runner(settings)
with TestClient(application(settings)) as client:
    document = {
        "name": "two",
        "base": job_spec(dataset={"train_samples": 320}).model_dump(mode="json"),
        "variants": [{"name": "none"}, {"name": "l2", "changes": {"regularization": {"l2": {}}}}],
        "seeds": [0],
        "primary": ["test_accuracy", "test_top2_accuracy"],
    }
    experiment = client.post("/v1/experiments", json=document).json()["id"]
    while runner.run_next():
        pass
    report = f"/v1/experiments/{experiment}/report?format="
    print(json.dumps({
        "jobs": client.get("/v1/jobs?sort=-test_top2_accuracy").json()["items"],
        "old": client.get(f"/v1/jobs/{old}").json()["result"],
        "report": client.get(f"{report}json").json(),
        "markdown": client.get(f"{report}md").text,
        "old_report": client.get(f"/v1/reports?job={old}&format=md").status_code,
        "page": client.get(f"/experiments/{experiment}").text,
        "command": [metric.name for metric in VARIANT_METRICS],
    }))
runner.close()
"""
CHECKS = [
    "tests/unit/models/test_records.py",
    "tests/unit/models/test_metrics.py",
    "tests/unit/api/test_reference.py",
    "tests/integration/models/test_migrations.py::test_tables_and_migrations_agree",
]


@pytest.mark.slow
def test_a_metric_takes_an_entry_a_computation_a_migration_and_a_line(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns("__pycache__", ".*cache", "*.ipynb", "images")
    for folder in ("models", "worker", "api", "regbench", "migrations", "bench", "tests", "docs"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tree)
    guide = (ROOT / "docs/how-to/add-a-metric.md").read_text()
    entry, computation, change, migration, reference, _ = re.findall(r"```\w+\n(.*?)```", guide, re.DOTALL)
    anchor, added = change.splitlines(keepends=True)

    def insert_before(path: str, anchor: str, text: str) -> None:
        source = (tree / path).read_text()
        assert source.count(anchor) == 1
        (tree / path).write_text(source.replace(anchor, text + anchor))

    insert_before("models/metrics.py", "    train_accuracy: Annotated[", entry)
    insert_before("worker/metrics.py", "def pack_correct(", f"{computation}\n\n")
    insert_before("worker/evaluation.py", anchor[1:], added[1:])
    insert_before("docs/reference/results.md", "| `train_accuracy` |", reference)
    newest = head()
    migration = re.sub('down_revision = ".*"', f'down_revision = "{newest}"', migration)
    migration = re.sub('^revision = ".*"', f'revision = "{newest}_top2"', migration, flags=re.MULTILINE)
    (tree / "migrations/versions/9999_top2_accuracy.py").write_text(migration)

    def run(*command: str) -> str:
        finished = subprocess.run(
            [sys.executable, *command],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    seen = json.loads(run("-c", SCRIPT, str(tmp_path)).splitlines()[-1])
    assert [
        job["result"]["test_top2_accuracy"] >= job["result"]["test_accuracy"] for job in seen["jobs"]
    ] == [
        True,
        True,
    ]
    assert seen["old"]["test_top2_accuracy"] is None
    [contrast] = seen["report"]["contrasts"]
    assert contrast["differences"]["test_top2_accuracy_points"]["n"] == 1
    assert "top-2 accuracy" in contrast["verdict"]
    assert "| top-2 accuracy |" in re.sub(" +", " ", seen["markdown"])
    assert seen["old_report"] == 200
    assert "Top-2 accuracy" in seen["page"]
    assert "test_top2_accuracy" in seen["command"]
    run("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *CHECKS)
