"""The tutorial's commands, run unchanged: they produce the reports that it describes."""

import json
from pathlib import Path

from regbench.client import Regbench
from tests.acceptance.pages import run_blocks


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
    assert "train_samples: 4000" in (tmp_path / "report.md").read_text()
