"""The tutorial's lines, run as they stand: they lead to the reports that it speaks of."""

import re
from pathlib import Path

from client.client import Regbench
from tests.acceptance.pages import run_blocks


def test_the_tutorial_leads_to_its_answer(url: str, client: Regbench, tmp_path: Path) -> None:
    said = run_blocks("docs/tutorial.md", url=url, folder=tmp_path, then='echo "$EXPERIMENT $SECOND"')
    first, second = said.splitlines()[-1].split()
    assert '"to_train": 18' in said, "the price of six seeds"
    assert said.count("# dropout or L2 here?") == 3
    reports = [client.report(experiment_id, "json") for experiment_id in (first, second)]
