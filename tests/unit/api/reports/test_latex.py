"""The report as LaTeX: what people wrote cannot leave its cell, and a TeX engine accepts it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from api.reports import latex
from api.reports.schemas import Comparison
from tests import comparisons

ODD = ("none", r"50% & #1_a $x$ {y} \input{z} ~^", "--help [3] <b>|'`\" ± Zürich\n%")
PREAMBLE = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,textcomp}\begin{document}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 5%", r"a\_b \& 5\%"),
        ("\\x{y}", r"\textbackslash{}x\{y\}"),
        ("+0.12 (-0.05 to +0.29)", "$+0.12$ ($-0.05$ to $+0.29$)"),
        ("97.98 ±0.11 %", r"97.98 $\pm$0.11 \%"),
        ("L2 1e-3, label-smoothing", "L2 1e-3, label-smoothing"),
        ("---", "-{}-{}-"),
        ("a\x00\x1bb\nc", "a  b c"),
    ],
)
def test_text_is_escaped(text: str, expected: str) -> None:
    assert latex.escape(text) == expected


def test_each_row_has_as_many_cells_as_its_head() -> None:
    text = latex.render(comparisons.full(ODD))
    for table in re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", text, flags=re.DOTALL):
        rows = [line for line in table.splitlines() if line.endswith(r" \\")]
        assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1
        assert len(rows) >= 3
    # Nothing that was written by a person is a command, a comment or a formula.
    assert r"\input" not in text
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert not re.search(r"(?<!\\)[#_~^]|(?<!\\)%", body.replace("tab:exp_1", ""))


def test_the_columns_that_fit_have_both_changes_of_an_ensemble() -> None:
    text = latex.render(comparisons.full(ODD))
    assert r"loss, together & change in loss & change in accuracy, points \\" in text


def test_a_caption_without_intervals_says_nothing_of_them() -> None:
    comparison = comparisons.on_parts()
    assert comparison.bias_variance is not None
    without = comparison.bias_variance.model_copy(update={"intervals": None, "headline": None})
    text = latex.render(comparison.model_copy(update={"bias_variance": without}))
    assert "None" not in text


@pytest.mark.parametrize("comparison", [comparisons.full(ODD), comparisons.empty()], ids=["full", "empty"])
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no TeX engine")
def test_a_tex_engine_accepts_it(comparison: Comparison, tmp_path: Path) -> None:
    (tmp_path / "report.tex").write_text(f"{PREAMBLE}\n{latex.render(comparison)}\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "report.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2_000:]
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
