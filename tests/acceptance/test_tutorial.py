"""The tutorial's commands, run unchanged: they produce the reports that it describes."""

import json
from pathlib import Path

from regbench.client import Regbench
from tests.acceptance.pages import run_blocks


def test_the_tutorial_leads_to_an_answer(url: str, client: Regbench, tmp_path: Path) -> None:
    output = run_blocks("docs/tutorial.md", url=url, folder=tmp_path, then='echo "$EXPERIMENT $SECOND"')
    assert '"to_train": 18' in output, "the cost of six seeds"
    assert output.count("# dropout or L2 here?") == 3
    first, second = (json.loads(client.report(name, "json")) for name in output.split()[-2:])
    for report, baseline in ((first, "none"), (second, "L2")):
        assert (report["complete"], report["baseline"], report["seeds"]) == (True, baseline, [*range(10)])
    trained = {seed["job_id"] for variant in first["variants"] for seed in variant["seeds"]}
    linked = {seed["job_id"] for variant in second["variants"] for seed in variant["seeds"] if seed["reused"]}
    assert linked == trained, "the second question costs nothing"
    for variant, contrast in zip(("dropout", "L2"), first["contrasts"], strict=True):
        assert contrast["variant"] == variant
        assert contrast["differences"]["test_loss"]["high"] < 0, "each takes something off the test loss"
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
