"""docs/notebook.ipynb has its outputs, and runs from top to bottom against a real service."""

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.acceptance.conftest import DEADLINE_SECONDS

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


def test_the_notebook_is_stored_with_its_outputs() -> None:
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    for cell in cells:
        kinds = {output["output_type"] for output in cell["outputs"]}
        assert kinds, cell["id"]
        assert kinds <= {"execute_result", "display_data", "stream"}, cell["id"]
        assert not [output for output in cell["outputs"] if output.get("name") == "stderr"], cell["id"]
        # Neither a folder nor an address of the machine that ran it.
        assert not re.search(r"/(work|tmp|home|root|Users)/|https?://", _get_text(cell["outputs"])), cell[
            "id"
        ]


def _get_text(outputs: list[dict[str, Any]]) -> str:
    """What is readable in a cell's outputs: an image's bytes may look like a path."""
    data = [{**output, "data": {**output.get("data", {}), "image/png": ""}} for output in outputs]
    return json.dumps(data)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_runs_to_its_conclusion(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REGBENCH_URL", url)
    # Without the developer's own Jupyter configuration.
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=DEADLINE_SECONDS, kernel_name="python3").execute()
    outputs = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}

    assert outputs["experiment"][-1].data["text/plain"].startswith("{'queued': 0")
    table = outputs["table"][-1].data["text/html"]
    assert "without Dropout" in table
    assert "test_accuracy" in table
    assert "image/png" in outputs["chart"][-1].data
    assert outputs["conclusion"][-1].text.startswith("with Dropout: ")
