"""What a terminal shows of reports and jobs, at 80 columns and fewer."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from regbench.cli.jobs import print_jobs
from regbench.cli.options import connect
from regbench.cli.progress import Bars
from regbench.cli.report_view import draw_interval, print_report
from regbench.reports import Report
from regbench.resources import Job
from tests import comparisons
from tests.unit.regbench.conftest import Service
from tests.unit.regbench.documents import job, page

NAMES = ("none", "dropout", "a name that is much too long for any line of a terminal")


def make_console(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, highlight=False)


def get_lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_report_fits_the_terminal(width: int) -> None:
    report = Report.model_validate_json(comparisons.full(NAMES).model_dump_json())
    console = make_console(width)
    print_report(report, console, "http://x/1")
    lines = get_lines(console)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert lines[0] == report.title
    assert " ".join(report.headline.split()) in " ".join(text.split())
    assert text.count("●") + text.count("○") == 2 * (len(NAMES) - 1)


@pytest.mark.parametrize("width", [40, 80])
def test_a_report_with_axes_has_a_row_for_each_variant_and_point(width: int) -> None:
    comparison = comparisons.along_axis((250, 100000), ("none", "dropout", "L2"))
    console = make_console(width)
    print_report(Report.model_validate_json(comparison.model_dump_json()), console, "http://x/1")
    lines = get_lines(console)
    assert max(map(len, lines)) <= width
    assert [line for line in lines if ", by training examples" in line] == 2 * [
        f"{name}, by training examples" for name in ("dropout", "L2")
    ]
    rows = [line.split()[:1] + line.split()[-1:] for line in lines if line.startswith("  100,000 ")]
    assert len(rows) == 4
    cells = [line.split()[:2] for line in lines if "│" not in line]
    table = [row for row in cells if row[:1] in (["250"], ["100,000"])]
    assert [value for value, _ in table] == ["250"] * 3 + ["100,000"] * 3
    if width == 80:
        assert [name for _, name in table] == 2 * ["none", "dropout", "L2"]


def test_an_interval_that_ends_near_zero_shows_on_which_side() -> None:
    document = json.loads(comparisons.full(("none", "dropout")).model_dump_json())
    accuracy = document["contrasts"][0]["differences"]["test_accuracy_points"]
    accuracy |= {"mean": 0.198, "simultaneous_low": -0.004, "simultaneous_high": 0.4}
    console = make_console(80)
    print_report(Report.model_validate(document), console, "http://x/1")
    assert any(line.endswith(" +0.198 (-0.004 to +0.400)") for line in get_lines(console))


def test_without_unicode_an_interval_is_drawn_in_ascii() -> None:
    report = Report.model_validate_json(comparisons.full(("none", "dropout")).model_dump_json())
    differences = report.contrasts[0].differences
    assert differences is not None
    line = draw_interval(differences["test_loss"], -0.1, 0.1, 40, encoding="ascii")
    assert len(line) == 40
    assert line.isascii()
    assert "|" in line
    assert "*" in line or "o" in line


def test_many_seeds_are_watched_as_a_grid() -> None:
    console = make_console(80)
    bars = Bars(console)
    states = ["succeeded", "running", "failed", "queued"]
    for variant in ("none", "dropout"):
        for seed in range(12):
            place: dict[str, Any] = {
                "id": f"job_{variant}_{seed}",
                "variant": variant,
                "spec": {"seed": seed},
            }
            place |= {"experiment_id": "exp_1", "name": f"{variant}, seed {seed}, /training/epochs: 3"}
            place |= {"point": {"/training/epochs": 3}}
            bars.show(Job.model_validate(job(states[seed % 4], **place)), [])
    console.print(bars)
    lines = get_lines(console)
    assert len(lines) == 3
    assert lines[0].startswith("none, 3 epochs ")
    assert "✓▸✗·✓▸✗·✓▸✗·" in lines[0]
    assert "24 jobs" in lines[2]


def test_jobs_are_a_table_with_a_head_and_short_ids() -> None:
    console = make_console(80)
    document = job("succeeded", id="job_0123456789abcdef01234567", name=NAMES[2])
    print_jobs([Job.model_validate(document)], console)
    head, row, *_ = get_lines(console)
    assert head.split() == ["id", "state", "epoch", "accuracy", "job"]
    assert row.startswith("job_01234567 ")
    assert len(row) <= 80


def test_short_ids_are_expanded_among_the_newest(service: Service) -> None:
    ids = ["job_0123456789abcdef01234567", "job_01234567ffffffff01234567", "job_aaaaaaaaffffffff01234567"]
    service.answer("GET /v1/jobs", (200, page(*(job(id=name) for name in ids))))
    with connect(service.url) as client:
        assert client.expand_ids(["job_aaaaaaaa", "job_1", ids[0]]) == [ids[2], "job_1", ids[0]]
        for wrong in ("job_01234567", "job_bbbbbbbb"):
            with pytest.raises(Exception, match="newest"):
                client.expand_ids([wrong])
