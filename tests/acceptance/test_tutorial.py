"""The tutorial's commands, run unchanged: they produce the reports that it describes."""

import json
from itertools import product
from pathlib import Path

import pytest

from regbench.client import Regbench
from tests.acceptance.pages import run_blocks


@pytest.mark.slow
def test_the_tutorial_leads_to_an_answer(url: str, client: Regbench, tmp_path: Path) -> None:
    output = run_blocks("docs/tutorial.md", url=url, folder=tmp_path, then='echo "$EXPERIMENT $SECOND"')
    assert '"to_train": 30' in output, "the cost of ten seeds"
    assert output.count("# dropout or L2 here?") == output.count("# dropout against L2") == 1
    first, second = (json.loads(client.report(name, "json")) for name in output.split()[-2:])
    for report, baseline, seeds in ((first, "none", range(10)), (second, "L2", range(10, 20))):
        assert (report["complete"], report["baseline"], report["seeds"]) == (True, baseline, [*seeds])
        assert report["inference"] == "fixed", "each is judged once"
    assert not [seed for variant in second["variants"] for seed in variant["seeds"] if seed["reused"]]
    for variant, contrast in zip(("dropout", "L2"), first["contrasts"], strict=True):
        assert contrast["variant"] == variant
        assert contrast["differences"]["test_loss"]["call"] == "lower", "each reduces the test loss"
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_the_tutorial_on_tuning_judges_what_validation_chose(
    url: str, client: Regbench, tmp_path: Path
) -> None:
    page = "docs/compare-fairly.md"
    output = run_blocks(page, url=url, folder=tmp_path, then='echo "$EXPERIMENT"', silent=False)
    lines = output.splitlines()
    assert " ".join(lines[0].split()) == "jobs 20"
    trials = client.trials(lines[-1])
    assert [(trial.variant, trial.trial) for trial in trials] == list(product(("none", "dropout"), range(4)))
    for variant in ("none", "dropout"):
        tried = [trial for trial in trials if trial.variant == variant]
        best = min(tried, key=lambda trial: trial.validation_loss["mean"])
        assert [trial.trial for trial in tried if trial.chosen] == [best.trial]
        [curve] = [line.split()[1:] for line in lines if line.startswith(f"{variant} ")]
        assert (len(curve), curve[-1]) == (4, f"{best.validation_loss['mean']:.4f}"), "the expected best"
    report = client.comparison(lines[-1])
    assert (report.complete, report.finished, report.seeds) == (True, 12, [*range(6)])
    assert "## Tuning" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "trials.csv").read_text().count("succeeded") == 8
    assert "<svg" in (tmp_path / "expected-best.svg").read_text()


@pytest.mark.slow
def test_the_how_to_on_sizes_compares_at_each_size(url: str, client: Regbench, tmp_path: Path) -> None:
    page = "docs/how-to/depends-on-size.md"
    output = run_blocks(page, url=url, folder=tmp_path, then='echo "$EXPERIMENT"', silent=False)
    jobs = [line.split(maxsplit=1)[1] for line in output.splitlines() if line.startswith("jobs ")]
    assert jobs == ["24", "36, 24 of them trained before", "36", "48"]
    report = client.comparison(output.split()[-1])
    assert (report.complete, report.finished) == (True, 24)
    assert [contrast.point for contrast in report.contrasts] == [
        {"/dataset/train_samples": size} for size in (250, 4000)
    ]
    assert "4,000 training examples" in (tmp_path / "report.md").read_text()
