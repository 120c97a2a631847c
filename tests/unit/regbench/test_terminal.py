"""The output of `regbench watch` in a real terminal."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from tests.terminal import terminal
from tests.unit.regbench.conftest import Service
from tests.unit.regbench.documents import epoch, job, page

COLOUR = re.compile(rb"\x1b\[[0-9;]*3[0-9]m|\x1b\[38;")
BLOCKS = "▁▂▃▄▅▆▇█"


def at(epochs_done: int, state: str = "running", **changes: Any) -> dict[str, Any]:
    """A job of ten epochs, so far."""
    progress = {"epoch": epochs_done, "epochs": 10, "fraction": epochs_done / 10, "eta_seconds": 60.0}
    return job(state, progress=progress, **changes)


def history(service: Service, epochs_done: int, job_id: str = "job_1") -> None:
    """Epochs whose validation loss falls."""
    epochs = [epoch(number) | {"validation_loss": 1 / number} for number in range(1, epochs_done + 1)]
    service.answer(f"GET /v1/jobs/{job_id}/epochs", (200, {"items": epochs}))


def watching(service: Service, *ids: str) -> Sequence[str]:
    return ["watch", *ids, "--url", service.url]


def test_the_bar_advances_and_the_loss_curve_stays_on_one_line(service: Service) -> None:
    service.answer("GET /v1/jobs/job_1", (200, at(2)))
    history(service, 2)
    with terminal(*watching(service, "job_1")) as screen:
        [early] = screen.wait_for(lambda lines: "20%" in "".join(lines))
        assert "epoch 2/10, val. acc. 0.9000, 1 min 0 s left" in early
        assert early.endswith("█▁")
        service.answer("GET /v1/jobs/job_1/epochs", (200, {"items": [epoch(9) | {"validation_loss": 0.1}]}))
        service.answer("GET /v1/jobs/job_1", (200, at(9)))
        [late] = screen.wait_for(lambda lines: "90%" in "".join(lines))
        assert len([character for character in late if character in BLOCKS]) == 3
        # A bar changes its character at the current position.
        assert max(map(late.find, "╸╺")) > max(map(early.find, "╸╺")) > 0

        service.answer("GET /v1/jobs/job_1", (200, at(10, "succeeded")))
        assert screen.end() == 0
        [done] = screen.lines
    assert "✓ dropout 0.5" in done
    assert "100% succeeded, epoch 10/10" in done
    assert "━" not in done


def test_ctrl_c_leaves_the_job_running_and_says_so(service: Service) -> None:
    service.answer("GET /v1/jobs/job_1", (200, at(2)))
    history(service, 2)
    with terminal(*watching(service, "job_1")) as screen:
        screen.wait_for(lambda lines: "20%" in "".join(lines))
        screen.press_ctrl_c()
        assert screen.end() == 130
        assert "The jobs continue." in " ".join(screen.lines)
        # The cursor is shown again, or the user would type blindly.
        assert screen.raw.rindex(b"\x1b[?25h") > screen.raw.rindex(b"\x1b[?25l")
    assert not [request for request in service.requests if request.method == "POST"]


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_disables_colours(service: Service, environment: dict[str, str], coloured: bool) -> None:
    service.answer("GET /v1/jobs/job_1", (200, at(2)))
    history(service, 2)
    with terminal(*watching(service, "job_1"), environment=environment) as screen:
        screen.wait_for(lambda lines: "20%" in "".join(lines))
        assert bool(COLOUR.search(screen.raw)) is coloured


@pytest.mark.parametrize("columns", [30, 45, 70, 80])
def test_a_narrow_terminal_has_one_line_for_a_job(service: Service, columns: int) -> None:
    service.answer("GET /v1/jobs/job_1", (200, at(2, name="a name that is much too long for a terminal")))
    history(service, 2)
    with terminal(*watching(service, "job_1"), columns=columns) as screen:
        [line] = screen.wait_for(lambda lines: "20%" in "".join(lines))
        assert len(line) <= columns
        assert "a n" in line


def test_a_smaller_terminal_is_redrawn(service: Service) -> None:
    service.answer("GET /v1/jobs/job_1", (200, at(2)))
    history(service, 2)
    with terminal(*watching(service, "job_1"), columns=120) as screen:
        screen.wait_for(lambda lines: len(lines) == 1 and "━" in lines[0] and lines[0].endswith("█▁"))
        screen.resize(columns=50, rows=24)
        service.answer("GET /v1/jobs/job_1", (200, at(3)))
        lines = screen.wait_for(lambda lines: "30%" in "".join(lines))
        assert "━" not in lines[-1], "there is no room for a bar"
        assert "█" not in lines[-1], "there is no room for the course"


def test_a_spinner_on_stderr_does_not_change_stdout() -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "regbench.cli.main", "doctor", "--url", "http://regbench.invalid"]
    environment = os.environ | {"TERM": "xterm-256color"}
    seen = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=slave, env=environment, text=True, check=False
    )
    os.close(slave)
    os.close(master)
    assert seen.returncode == 1
    names = [line.partition(":")[0].split()[-1] for line in seen.stdout.splitlines() if "->" not in line]
    assert names == ["Python", "packages", "service"]
    assert "\x1b" not in seen.stdout


def test_a_hundred_jobs_fit_the_screen(service: Service) -> None:
    jobs = [
        at(
            4 if number in {70, 80} else 0,
            "running" if number in {70, 80} else "queued",
            id=f"job_{number}",
            name=f"number {number}",
            experiment_id="exp_1",
        )
        for number in range(100)
    ]
    service.answer("GET /v1/experiments/exp_1", (200, {"id": "exp_1", "name": "many"}))
    service.answer("GET /v1/jobs", (200, page(*reversed(jobs))))
    for number in (70, 80):
        history(service, 4, f"job_{number}")
    with terminal(*watching(service, "exp_1"), rows=15) as screen:
        last = "100 jobs: 98 queued, 2 running, 1% done, about 1 h 23 min left"
        lines = screen.wait_for(lambda lines: last in lines[-1:])
        assert len(lines) <= 15
        assert "number 70" in lines[0]
        assert "number 80" in lines[1]
        assert "number 0" in lines[2]


def test_a_terminal_without_unicode_gets_plain_characters(service: Service) -> None:
    service.answer("GET /v1/jobs/job_1", (200, at(2)), (200, at(10, "succeeded")))
    history(service, 2)
    plain = {"PYTHONIOENCODING": "ascii:replace"}
    with terminal(*watching(service, "job_1"), environment=plain) as screen:
        assert screen.end() == 0
        assert screen.raw.isascii()
        assert "?" not in "".join(screen.lines)
        assert "succeeded" in "".join(screen.lines)
