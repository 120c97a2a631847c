"""regbench.cli.polling and regbench.cli.progress: jobs are followed to their end and shown on the way."""

import io

import pytest
from rich.console import Console

from regbench.cli.polling import poll_until_finished
from regbench.cli.progress import Bars, Lines, estimate_seconds_left, make_display
from regbench.client import Regbench
from regbench.errors import ProblemError, StackError, Unreachable
from regbench.reports import Trial
from regbench.resources import Epoch, Job, JobState
from tests.unit.regbench.conftest import Service
from tests.unit.regbench.documents import TRIALS, epoch, job, page, problem

HISTORY_SO_FAR = [Epoch.model_validate(epoch(number)) for number in (1, 2)]
HISTORY = "GET /v1/jobs/job_1/epochs"


def plain() -> Console:
    return Console(file=io.StringIO())


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_job_is_followed_to_its_end(service: Service) -> None:
    service.answer("GET /v1/jobs/job_1", (200, job("running")), (200, job("succeeded")))
    service.answer(HISTORY, (200, {"items": [epoch(1), epoch(2)]}))
    console = plain()
    with Regbench(service.url, retries=0) as client, make_display(console) as display:
        ended = poll_until_finished(client, [Job.model_validate(job())], display, poll_seconds=0)
    assert [final.state for final in ended] == [JobState.SUCCEEDED]
    assert printed(console).splitlines() == [
        "dropout 0.5, seed 0: 25%, running, epoch 2/10, val. accuracy 0.9000, 8 s left",
        "dropout 0.5, seed 0: 100%, succeeded, epoch 2/10, val. accuracy 0.9000",
    ]


def test_the_history_is_read_once_for_each_new_epoch(service: Service) -> None:
    service.answer("GET /v1/jobs/job_1", (200, job("running")), (200, job("running")), (200, job("failed")))
    service.answer(HISTORY, (200, {"items": [epoch(1), epoch(2)]}))
    with Regbench(service.url, retries=0) as client, make_display(plain()) as display:
        poll_until_finished(client, [Job.model_validate(job())], display, poll_seconds=0)
    assert [request.query for request in service.requests if request.path.endswith("epochs")] == [
        {"after": ["0"]}
    ]


def test_the_jobs_of_an_experiment_are_requested_together(service: Service) -> None:
    first, second = (job("cancelled", id=f"job_{number}", experiment_id="exp_1") for number in (1, 2))
    service.answer("GET /v1/jobs", (200, page(second, first)))
    service.answer(HISTORY, (200, {"items": []}))
    service.answer("GET /v1/jobs/job_2/epochs", (200, {"items": []}))
    waiting = [Job.model_validate(document | {"state": "queued"}) for document in (first, second)]
    with Regbench(service.url, retries=0) as client, make_display(plain()) as display:
        ended = poll_until_finished(client, waiting, display, poll_seconds=0)
    assert [(final.id, final.state) for final in ended] == [
        ("job_1", JobState.CANCELLED),
        ("job_2", JobState.CANCELLED),
    ]
    assert not [request for request in service.requests if request.path == "/v1/jobs/job_1"]


def test_a_brief_outage_of_the_service_is_tolerated(service: Service) -> None:
    service.answer(
        "GET /v1/jobs/job_1",
        (503, problem(503, title="Unavailable", detail="no database")),
        (503, problem(503)),
        (200, job("succeeded")),
    )
    service.answer(HISTORY, (200, {"items": []}))
    console = plain()
    with Regbench(service.url, retries=0) as client, make_display(console) as display:
        poll_until_finished(client, [Job.model_validate(job())], display, poll_seconds=0)
    assert printed(console).count("Waiting for it") == 1


def test_a_long_outage_of_the_service_ends_the_watch() -> None:
    with (
        Regbench("http://127.0.0.1:9", retries=0) as client,
        make_display(plain()) as display,
        pytest.raises(Unreachable),
    ):
        poll_until_finished(client, [Job.model_validate(job())], display, poll_seconds=0, patience_seconds=0)


def test_a_deleted_job_ends_the_watch(service: Service) -> None:
    with (
        Regbench(service.url, retries=0) as client,
        make_display(plain()) as display,
        pytest.raises(ProblemError, match="Not found"),
    ):
        poll_until_finished(client, [Job.model_validate(job())], display, poll_seconds=0)


def test_a_dead_process_of_the_stack_ends_the_watch(service: Service) -> None:
    def check() -> None:
        raise StackError("The worker has ended.")

    with (
        Regbench(service.url, retries=0) as client,
        make_display(plain()) as display,
        pytest.raises(StackError),
    ):
        poll_until_finished(client, [Job.model_validate(job())], display, check=check)


def test_without_a_terminal_there_are_no_control_characters_and_few_lines() -> None:
    console = plain()
    with make_display(console) as display:
        assert isinstance(display, Lines)
        for _ in range(50):
            display.show(Job.model_validate(job("running", name="[bold]x[/bold]")), [])
    assert printed(console) == "[bold]x[/bold], seed 0: 25%, running, epoch 2/10, 8 s left\n"


def test_a_name_cannot_contain_terminal_control_sequences() -> None:
    named = Job.model_validate(job(name="\x1b[31mred\x1b]0;title\x07\nnew line é日\x9b2J"))
    assert named.title == " [31mred ]0;title  new line é日 2J, seed 0"


@pytest.mark.parametrize(
    ("names", "title"),
    [
        ({"name": "mine"}, "mine, seed 7"),
        ({"name": None, "variant": "with L2"}, "with L2, seed 7"),
        ({"name": None}, "job_1, seed 7"),
        ({"name": "with L2, seed 7"}, "with L2, seed 7"),
        ({"name": "with L2, seed 17"}, "with L2, seed 17, seed 7"),
    ],
)
def test_a_title_names_the_seed_once(names: dict[str, str | None], title: str) -> None:
    assert Job.model_validate(job(spec={"seed": 7}, **names)).title == title


def test_on_a_terminal_there_is_a_bar_for_each_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with make_display(console) as display:
        assert isinstance(display, Bars)
        display.show(
            Job.model_validate(job("running", id="job_1", name="without Dropout, seed 0")), HISTORY_SO_FAR
        )
        display.show(Job.model_validate(job("queued", id="job_2", name="two")), [])
    one, two = (
        [line for line in printed(console).splitlines() if name in line][-1] for name in ("without", "two")
    )
    assert "25% epoch 2/10, val. acc. 0.9000, 8 s left" in one
    assert "25% queued, epoch 2/10" in two
    assert "\x1b[3" not in printed(console), "NO_COLOR is set, and colours were printed"


def job_at(state: str, fraction: float = 0.0, eta: float | None = None, took: float | None = None) -> Job:
    progress = {"epoch": 0, "epochs": 10, "fraction": fraction, "eta_seconds": eta}
    result = took and {"test_accuracy": 0.9, "test_loss": 0.3, "training_seconds": took}
    return Job.model_validate(job(state, progress=progress, result=result))


@pytest.mark.parametrize(
    ("jobs", "seconds"),
    [
        ([job_at("running", 0.5, eta=30), job_at("running", 0.5, eta=50)], 50),
        # Ended jobs took 100 s each; two run at a time.
        ([job_at("succeeded", took=100), *[job_at("running", 0.5, eta=50)] * 2, job_at("queued")], 100),
        # Running jobs take 60 s; the queued one is already half done.
        ([job_at("running", 0.5, eta=30), job_at("queued", 0.5)], 60),
        # One has only just begun.
        ([job_at("running", 0.5, eta=30), job_at("running")], 45),
        ([job_at("running"), job_at("queued")], None),
        ([job_at("succeeded", took=100), job_at("queued"), job_at("paused")], None),
        ([job_at("succeeded", took=100), job_at("failed")], None),
    ],
)
def test_the_total_remaining_time_is_shown_if_known(jobs: list[Job], seconds: float | None) -> None:
    assert estimate_seconds_left(jobs) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("width", "planned_trials", "line"),
    [
        (80, 0, "4 jobs: 1 queued, 1 running, 2 failed, 62% done, about 1 min 30 s left"),
        (40, 0, "4 jobs: 62% done, about 1 min 30 s left"),
        (20, 0, "4 jobs: 62% done, a…"),
        (80, 3, "4 jobs: 1 of 3 trials have ended, 62% done, about 1 min 30 s left"),
    ],
)
def test_the_last_line_summarizes_all_jobs_and_fits(
    monkeypatch: pytest.MonkeyPatch, width: int, planned_trials: int, line: str
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    jobs = [job_at("running", 0.5, eta=30), job_at("queued"), job_at("failed", 0.1), job_at("failed")]
    with make_display(console) as display:
        if planned_trials:
            display.planned_trials = planned_trials
            display.show_trials([Trial.model_validate(trial) for trial in TRIALS])
        for number, item in enumerate(jobs):
            display.show(item.model_copy(update={"id": f"job_{number}"}), [])
    assert printed(console).splitlines()[-2].endswith(line)
