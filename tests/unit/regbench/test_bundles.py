"""`regbench verify`: digests first, then a sample trained again, compared by weights or by measures."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from models.bundles import pack
from regbench.cli import bundles
from regbench.cli.main import app

ENGINE = {"tensorflow": "2", "keras": "3", "device": "a", "threads": 1, "regbench": "0.1"}
RESULT: dict[str, Any] = ENGINE | {
    "weights_sha256": "a" * 64,
    "dataset_sha256": "b" * 64,
    "test_accuracy": 0.95,
    "test_loss": 0.2,
    "confusion": [[500, 20], [30, 450]],
    "stop_reason": "completed",
}


def write_bundle(path: Path, jobs: int = 5) -> Path:
    document = [{"id": f"job_{index}", "spec": {"seed": index}, "result": RESULT} for index in range(jobs)]
    path.write_bytes(pack({"jobs.json": json.dumps(document).encode()}, {}))
    return path


@pytest.mark.parametrize(
    ("changes", "compared", "reproduced"),
    [
        ({}, "weights", True),
        ({"weights_sha256": "c" * 64}, "weights", False),
        ({"device": "b", "weights_sha256": "c" * 64, "test_accuracy": 0.96}, "measures", True),
        ({"device": "b", "test_accuracy": 0.9}, "measures", False),
        ({"dataset_sha256": "c" * 64}, "data", False),
    ],
)
def test_a_sample_is_trained_again_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], compared: str, reproduced: bool
) -> None:
    asked: list[int] = []

    def retrain(specs: list[dict[str, Any]]) -> Any:
        asked.extend(spec["seed"] for spec in specs)
        return [RESULT | changes for _ in specs]

    monkeypatch.setattr(bundles, "retrain", retrain)
    command = ["verify", str(write_bundle(tmp_path / "bundle.zip")), "--sample", "2", "--json"]
    done = CliRunner().invoke(app, command)
    document = json.loads(done.stdout)
    assert done.exit_code == (0 if reproduced else 1)
    assert [(item["compared"], item["reproduced"]) for item in document["models"]] == [
        (compared, reproduced)
    ] * 2
    first = list(asked)
    CliRunner().invoke(app, command)
    assert asked == first * 2  # the seed draws the same sample


def test_a_changed_file_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "bundle.zip")
    path.write_bytes(path.read_bytes().replace(b"jobs.json", b"jobz.json"))
    refused = CliRunner().invoke(app, ["verify", str(path)])
    assert refused.exit_code == 1
    assert "jobs.json" in refused.stderr
