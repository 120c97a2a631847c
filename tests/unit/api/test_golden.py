"""Reports as they were when someone last looked at them, word for word.

Where a change is meant, write them anew with WRITE_GOLDEN=1, look at the difference, and commit it.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from api.reports import html, markdown, tabular
from api.reports.schemas import Comparison
from tests.unit.api.test_reports import compared, job

GOLDEN = Path(__file__).parent / "golden"


def report() -> Comparison:
    """Two variants with six pairs, one with a single result, and what is missing."""
    losses = {"none": 0.11, "dropout": 0.08}
    variants = {
        name: [job(name, seed, 0.97 + 0.001 * seed, loss=loss + 0.001 * (seed % 3)) for seed in range(6)]
        for name, loss in losses.items()
    }
    variants["L2 & <b>others</b>"] = [job("L2", 0, 0.96), job("L2", 1, "failed"), job("L2", 2, "running")]
    return compared(variants, baseline="none", expected=19)


def without_charts(page: str) -> str:
    """Their drawing is matplotlib's, and changes with its releases."""
    return re.sub(r"<svg .*?</svg>", "<svg/>", page, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("name", "render"),
    [
        ("report.md", markdown.render),
        ("report.csv", tabular.render),
        ("report.html", lambda comparison: without_charts(html.render(comparison))),
    ],
)
def test_a_report_reads_as_it_did(name: str, render: Callable[[Comparison], str]) -> None:
    path, text = GOLDEN / name, render(report())
    if os.environ.get("WRITE_GOLDEN"):
        path.write_text(text, newline="")
    with path.open(newline="") as golden:
        assert text == golden.read()
