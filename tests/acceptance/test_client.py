"""The Python client and the terminal against a real service."""

import json
import time

import pytest

from regbench import Regbench
from regbench.errors import ProblemError, WaitTimeout
from regbench.resources import Experiment, Job, JobState
from tests.acceptance.conftest import DEADLINE_SECONDS, Up, run
from tests.factories import job_spec
from tests.terminal import terminal

LONG = {"dataset": {"name": "mnist_5k"}, "training": {"epochs": 1000}}
SMALL = job_spec().model_dump(mode="json", exclude_unset=True)


def test_an_experiment_from_submission_to_data_frame(client: Regbench) -> None:
    submitted = client.submit({"preset": "dropout-vs-none", "base": SMALL, "seeds": [0, 1]})
    assert isinstance(submitted, Experiment)
    finished = submitted.wait(DEADLINE_SECONDS)
    assert finished.progress is not None
    assert finished.progress.counts["succeeded"] == 4
    frame = finished.report().to_pandas()
    assert list(frame["seed"]) == [0, 1, 0, 1]
    assert frame.groupby("variant")["test_accuracy"].mean().between(0, 1).all()
    extended = finished.extend(seeds=[2]).wait(DEADLINE_SECONDS)
    assert len(extended.jobs()) == 6
    assert extended.report_as("csv").startswith(b"variant,")


def test_a_job_is_waited_for_and_another_is_not(client: Regbench) -> None:
    done = client.submit_job(job_spec(seed=77)).wait(DEADLINE_SECONDS)
    assert done.state is JobState.SUCCEEDED
    assert [epoch.epoch for epoch in done.history()] == [1]
    long = client.submit(LONG)
    assert isinstance(long, Job)
    with pytest.raises(WaitTimeout):
        long.wait(0.5)
    long.cancel()
    assert long.wait(DEADLINE_SECONDS).state is JobState.CANCELLED
    with pytest.raises(ProblemError) as refused:
        long.pause()
    assert refused.value.code == "conflict"
    assert refused.value.request_id


def test_jobs_of_many_seeds_are_submitted_together_and_listed_page_by_page(
    url: str, client: Regbench
) -> None:
    document = json.dumps(SMALL | {"labels": {"sweep": "pages"}})
    submitted = run("submit", "-", "--seeds", "0-6", "--json", stdin=document, REGBENCH_URL=url)
    assert submitted.returncode == 0, submitted.stderr
    ids = [job["id"] for job in json.loads(submitted.stdout)]
    assert len(ids) == 7
    listed = [job.id for job in client.jobs(label=["sweep=pages"], page_size=3)]
    assert sorted(listed) == sorted(ids)


def test_a_preset_is_run_and_watched_in_a_terminal_and_left_running(url: str, client: Regbench) -> None:
    command = [
        *("experiment", "run", "dropout-vs-none", "--url", url, "--seeds", "0"),
        *("--set", "base.dataset.name=mnist_5k", "--set", "base.training.epochs=1000"),
    ]
    try:
        with terminal(*command) as screen:
            experiment_id = screen.wait_for(lambda lines: any("exp_" in line for line in lines))[0]
            # Both bars, and the course of the loss of one that trains.
            screen.wait_for(lambda lines: any("acc. 0." in line and line[-1] in "▁▂▃▄▅▆▇█" for line in lines))
            screen.press_ctrl_c()
            assert screen.end() == 130
            assert "The jobs continue" in " ".join(screen.lines)
        time.sleep(1.0)
        states = [job.state for job in client.jobs_of(experiment_id)]
        assert not [state for state in states if state.terminal]
        assert run("cancel", experiment_id, REGBENCH_URL=url).returncode == 0
        assert client.wait_for_experiment(experiment_id, DEADLINE_SECONDS).finished
    finally:
        # Uncancelled they would train for minutes, and other tests wait for the same workers.
        for job in client.jobs(states=[JobState.QUEUED, JobState.RUNNING]):
            job.cancel()


def test_presets_and_techniques_of_the_service_are_listed_and_completed(url: str) -> None:
    assert "dropout-vs-none" in run("presets", REGBENCH_URL=url).stdout
    assert "Formula: " in run("techniques", "dropout", REGBENCH_URL=url).stdout
    assert json.loads(run("techniques", "dropout", "--json", REGBENCH_URL=url).stdout)["name"] == "dropout"
    unknown = run("techniques", "magic", REGBENCH_URL=url)
    assert (unknown.returncode, unknown.stdout) == (4, "")
    completed = run(
        REGBENCH_URL=url,
        _REGBENCH_COMPLETE="complete_bash",
        COMP_WORDS="regbench experiment run dropout-v",
        COMP_CWORD="3",
    )
    assert completed.stdout.split() == ["dropout-vs-none"]


def test_the_doctor_reports_no_fault_of_a_running_service(up: Up) -> None:
    seen = run("doctor", "--json", REGBENCH_URL=up.url(), REGBENCH_HOME=str(up.home))
    document = json.loads(seen.stdout)
    assert (seen.returncode, document["healthy"]) == (0, True), document
    assert "service: worker" in [finding["name"] for finding in document["findings"]]
