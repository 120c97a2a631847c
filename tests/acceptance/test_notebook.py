"""docs/notebook.ipynb runs from top to bottom against a real service."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.acceptance.conftest import DEADLINE_SECONDS

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


def test_the_notebook_is_stored_without_outputs() -> None:
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert [(cell["outputs"], cell["execution_count"]) for cell in cells] == [([], None)] * len(cells)


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
