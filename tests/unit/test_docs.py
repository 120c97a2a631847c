"""Links of pages resolve, files that they name exist, and their examples work.

docs/reference is compared with the code in tests/unit/models/test_reference.py.
"""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from api.experiments.presets import PRESETS
from models.experiment_checks import find_variant_errors
from models.experiments import ExperimentSpec

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md"])
FOLDERS = "api|worker|models|regbench|migrations|tests|bench|docs"

# `a \| b` is one cell.
_CELL_BORDER = re.compile(r"(?<!\\)\|")


def _links(page: Path) -> set[str]:
    """The targets of a page's links within this repository, without anchors of the same page."""
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    return {target for target in targets if "://" not in target}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_have_existing_targets(page: Path) -> None:
    broken = [target for target in _links(page) if not (page.parent / target).exists()]
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    spoken_of = re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", page.read_text())
    missing = [name for name in spoken_of if not (ROOT / name).exists()]
    assert not missing


def test_the_index_links_every_page() -> None:
    linked = {(DOCS / target).resolve() for target in _links(DOCS / "index.md")}
    missing = {page for page in DOCS.rglob("*.md") if page.name != "index.md"} - linked
    assert not missing, f"docs/index.md leads to none of {sorted(page.name for page in missing)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_all_rows_of_a_table_have_the_same_number_of_cells(page: Path) -> None:
    for above, line in pairwise(page.read_text().splitlines()):
        if above.startswith("|") and line.startswith("|"):
            assert len(_CELL_BORDER.findall(above)) == len(_CELL_BORDER.findall(line)), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_presets_named_in_examples_exist(page: Path) -> None:
    named = re.findall(r"experiment run ([a-z]\S*)|\"preset\": *\"(.+?)\"", page.read_text())
    assert {command or document for command, document in named} <= PRESETS.keys()


def test_the_example_of_an_experiment_works() -> None:
    text = (DOCS / "how-to" / "own-experiment.md").read_text()
    [example] = re.findall(r"-d '(\{.*?\})'", text, flags=re.DOTALL)
    experiment = ExperimentSpec.model_validate_json(example)
    assert not find_variant_errors(experiment)
    assert len(experiment.build_runs()) == 30
