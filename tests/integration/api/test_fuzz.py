"""schemathesis against a real server: no response is a server error or violates the document.

A few cases for each operation; `make fuzz` runs 1,000 of each, and prints what it ran.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import make_url

from models.dataset_cards import DATASETS
from models.settings import Settings
from tests.fuzzing import FUZZING, Run
from tests.integration.api.serving import serving

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
FEW, MANY = 3, 1000


@pytest.fixture
def _nothing_to_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Requests for missing datasets are refused quickly."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for name, card in DATASETS.items():
        monkeypatch.setitem(DATASETS, name, replace(card, downloads=()))


@pytest.mark.usefixtures("_nothing_to_download")
def test_every_response_conforms_to_the_document(
    database_settings: Settings, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    fuzzing = request.config.stash[FUZZING]
    database = make_url(database_settings.resolved_database_url).get_backend_name()
    phases = "examples,fuzzing,stateful"
    # The bounds of every field: thousands of cases, few of which reach the database.
    if fuzzing.full:
        phases += ",coverage"
    report = tmp_path / "report.json"
    with serving(database_settings.model_copy(update={"data_dir": None})) as port:
        command = [sys.executable, "-c", "from schemathesis.cli import schemathesis as st; st()"]
        command += ["--config-file", str(CONFIGURATION), "run", f"http://127.0.0.1:{port}/openapi.json"]
        command += ["--seed", str(fuzzing.seed), "--max-examples", str(MANY if fuzzing.full else FEW)]
        command += ["--phases", phases, "--continue-on-failure", "--report-json-path", str(report)]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert report.exists(), run.stderr
    statistics = json.loads(report.read_text())
    cases = statistics["test_cases"]
    fuzzing.runs.append(
        Run(database, statistics["operations"]["tested"], cases["generated"], cases["unique_failures"])
    )
    assert run.returncode == 0, run.stdout
    # All but the upload of an archive, which schemathesis cannot make.
    assert statistics["operations"]["tested"] == statistics["operations"]["total"] - 1 > 30
    assert cases["generated"] > statistics["operations"]["tested"]
