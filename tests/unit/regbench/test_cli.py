"""regbench.cli: exit codes, and what goes to stdout and to stderr."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from models.artifacts import ArtifactStore
from models.settings import Settings
from regbench.cli.main import app
from tests.unit.regbench.conftest import Service
from tests.unit.regbench.documents import epoch, job, page, predictions, problem

PROGRESS = {
    "counts": {"queued": 1, "running": 0, "succeeded": 1},
    "total": 2,
    "fraction": 0.5,
    "finished": False,
    "eta_seconds": 3.0,
}
FAILURE = {"code": "diverged", "message": "the loss is not a number", "retryable": False}


def run(service: Service, *arguments: str, stdin: str = "") -> Any:
    return CliRunner().invoke(app, list(arguments), input=stdin, env={"REGBENCH_URL": service.url})


def ending(service: Service, *jobs: dict[str, Any]) -> list[str]:
    for document in jobs:
        service.answer(f"GET /v1/jobs/{document['id']}", (200, document))
        service.answer(f"GET /v1/jobs/{document['id']}/epochs", (200, {"items": [epoch(2)]}))
    return [document["id"] for document in jobs]


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["succeeded"], 0),
        (["failed"], 1),
        (["cancelled"], 2),
        (["succeeded", "cancelled"], 2),
        (["succeeded", "cancelled", "failed"], 1),
    ],
)
def test_watch_ends_with_the_worst_outcome(service: Service, states: Sequence[str], code: int) -> None:
    jobs = [job(state, id=f"job_{number}") for number, state in enumerate(states)]
    result = run(service, "watch", *ending(service, *jobs))
    assert result.exit_code == code
    assert result.stdout == ""


def test_watch_reports_why_a_job_failed(service: Service) -> None:
    result = run(service, "watch", *ending(service, job("failed", error=FAILURE)))
    assert "dropout 0.5, seed 0 (job_1) failed: the loss is not a number" in result.stderr


def test_watch_accepts_an_experiment_for_its_jobs(service: Service) -> None:
    service.answer("GET /v1/experiments/exp_1", (200, {"id": "exp_1", "name": "dropout"}))
    service.answer("GET /v1/jobs", (200, page(job("cancelled", experiment_id="exp_1"))))
    ending(service, job("cancelled"))
    assert run(service, "watch", "exp_1").exit_code == 2


def test_ctrl_c_ends_the_watch_and_not_the_job(service: Service) -> None:
    ending(service, job("running"))
    watch = subprocess.Popen(
        [sys.executable, "-m", "regbench.cli.main", "watch", "job_1", "--url", service.url],
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(service.requests) < 3:
        assert watch.poll() is None
        time.sleep(0.05)
    watch.send_signal(signal.SIGINT)
    _, stderr = watch.communicate(timeout=60)
    assert watch.returncode == 130
    assert "The jobs continue. Watch again with: regbench watch job_1" in stderr
    assert "Traceback" not in stderr
    assert not [request for request in service.requests if request.method == "POST"]


def test_submit_prints_only_the_id_on_stdout(service: Service, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text('{"seed": 7}')
    service.answer("POST /v1/jobs", (202, job()))
    result = run(service, "submit", str(tmp_path / "job.json"))
    assert (result.exit_code, result.stdout) == (0, "job_1\n")
    assert "regbench watch job_1" in result.stderr
    assert service.requests[0].body == {"seed": 7}


def test_submit_reads_stdin_and_prints_the_job_as_json(service: Service) -> None:
    service.answer("POST /v1/jobs", (202, job()))
    result = run(service, "submit", "-", "--json", stdin='{"seed": 7}')
    assert json.loads(result.stdout) == job()


@pytest.mark.parametrize("document", [{"preset": "dropout-vs-none"}, {"name": "mine", "variants": []}])
def test_submit_recognizes_an_experiment(service: Service, document: dict[str, Any]) -> None:
    service.answer("POST /v1/experiments", (202, {"id": "exp_1", "name": "mine"}))
    result = run(service, "submit", "-", stdin=json.dumps(document))
    assert (result.exit_code, result.stdout) == (0, "exp_1\n")
    assert service.requests[0].body == document


def test_a_refusal_of_the_service_is_printed_with_its_field(service: Service) -> None:
    errors = [{"pointer": "/training/epochs", "detail": "must be at least 1"}]
    service.answer("POST /v1/jobs", (422, problem(422, errors=errors)))
    result = run(service, "submit", "-", stdin='{"training": {"epochs": 0}}')
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.splitlines() == [
        "regbench: Invalid: One field is wrong.",
        "/training/epochs: must be at least 1",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command"),
        (["watch"], "Missing argument"),
        (["report", "exp_1", "--format", "pdf"], "'pdf' is not one of"),
        (["submit", "no-such-file.json"], "There is no file no-such-file.json."),
        (["predict", "job_1", "no-such-file.png"], "no-such-file.png"),
        (["predict", "job_1"], "Missing argument"),
        (["submit", "-"], "stdin is neither JSON nor YAML: line 1, column 11"),
        (["submit", "no-such.json", "--seeds", "9-0"], "no-such.json"),
        (["experiment", "show", "job_1"], "job_1 is not an experiment"),
        (["experiment", "extend", "exp_1"], "specify what to add"),
        (["experiment", "run", "x", "--seeds", "9-0"], "from low to high, not 9-0"),
        (["experiment", "run", "x", "--set", "seeds"], "path.to.field=value"),
        (["experiment", "run", "x", "--axis", "training.epochs"], "a field and its values"),
        (["report", "exp_1", "job_1"], "one experiment, or any number of jobs"),
        (["report", "exp_1", "--format", "csv", "--json"], "omit one of them"),
        (["submit", "."], ". cannot be read: Is a directory."),
        (["jobs", "--label", "foo"], "a label is NAME=VALUE"),
        (["jobs", "--label", "=foo"], "a label is NAME=VALUE"),
        (["demo", "--epochs", "0"], "--epochs"),
        (["up", "--port", "65536"], "--port"),
    ],
)
def test_an_invalid_command_line_is_refused(service: Service, arguments: list[str], message: str) -> None:
    result = run(service, *arguments, stdin="{seed: 7, ]")
    assert result.exit_code == 4
    assert message in result.stderr
    assert service.requests == []


def test_a_file_in_place_of_a_preset_is_refused_with_the_command_for_files(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text("{}")
    result = CliRunner().invoke(app, ["experiment", "run", str(tmp_path / "own.json")])
    assert result.exit_code == 4
    assert "regbench submit" in result.output


def test_the_version_is_printed() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"regbench {version('regbench')}\n")


def test_a_too_deeply_nested_document_is_refused(service: Service) -> None:
    result = run(service, "submit", "-", stdin='{"a":' * 5_000)
    assert result.exit_code == 4
    assert "nested too deeply" in result.stderr


def test_a_service_that_cannot_be_reached_is_a_refusal_with_a_hint() -> None:
    result = CliRunner().invoke(app, ["jobs", "--url", "http://127.0.0.1:9"])
    assert result.exit_code == 4
    assert "No service responds at http://127.0.0.1:9" in result.stderr
    assert "regbench up" in result.stderr


def test_jobs_are_listed_one_a_line_up_to_the_limit(service: Service) -> None:
    result_of_job = {"test_accuracy": 0.97654, "test_loss": 0.1}
    done = job("succeeded", id="job_2", result=result_of_job)
    service.answer("GET /v1/jobs", (200, page(done, job(), job(id="job_0"), next_cursor="more")))
    result = run(service, "jobs", "--limit", "2", "--state", "queued", "--state", "succeeded")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["job_2", "succeeded", "2/10", "0.9765", "dropout", "0.5,", "seed", "0"],
        ["job_1", "queued", "2/10", "-", "dropout", "0.5,", "seed", "0"],
    ]
    assert service.requests[0].query == {"limit": ["2"], "state": ["queued", "succeeded"]}
    assert len(service.requests) == 1


def test_a_report_goes_to_stdout_or_to_a_file(service: Service, tmp_path: Path) -> None:
    service.answer("GET /v1/experiments/exp_1/report", (200, "# größer\n".encode()))
    assert run(service, "report", "exp_1").stdout == "# größer\n"
    result = run(service, "report", "exp_1", "--format", "html", "--output", str(tmp_path / "r.html"))
    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / "r.html").read_text() == "# größer\n"
    assert [request.query for request in service.requests] == [{"format": ["md"]}, {"format": ["html"]}]


def test_a_report_of_jobs_is_requested_by_their_ids(service: Service) -> None:
    service.answer("GET /v1/reports", (200, b"{}"))
    assert run(service, "report", "job_1", "job_2", "--format", "json").stdout == "{}"


def test_an_unwritable_file_is_a_one_line_error(service: Service, tmp_path: Path) -> None:
    service.answer("GET /v1/experiments/exp_1/report", (200, b"# report"))
    result = run(service, "report", "exp_1", "--output", str(tmp_path / "nowhere" / "r.md"))
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_cancel_sends_a_request_for_each_job(service: Service) -> None:
    service.answer("POST /v1/jobs/job_1/cancel", (202, job("running")))
    assert run(service, "cancel", "job_1").exit_code == 0
    assert run(service, "cancel", "job_2").exit_code == 4


def test_cancel_accepts_an_experiment_for_all_its_jobs(service: Service) -> None:
    service.answer("POST /v1/experiments/exp_1/cancel", (202, {"id": "exp_1", "name": "dropout"}))
    service.answer("POST /v1/jobs/job_1/cancel", (202, job("running")))
    result = run(service, "cancel", "exp_1", "job_1")
    assert (result.exit_code, result.stdout) == (0, "")
    assert len(service.requests) == 2


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_an_action_is_requested_for_each_job(service: Service, verb: str) -> None:
    service.answer(f"POST /v1/jobs/job_1/{verb}", (202, job("running")))
    service.answer(f"POST /v1/jobs/job_2/{verb}", (409, problem(409, title="No", detail="It has ended.")))
    result = run(service, verb, "job_1", "job_2")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.splitlines() == [
        "dropout 0.5, seed 0 (job_1): running",
        "regbench: No: It has ended.",
    ]
    assert len(service.requests) == 2


def test_submit_starts_from_a_stored_job_or_experiment(service: Service) -> None:
    service.answer("POST /v1/jobs", (202, job()))
    service.answer("POST /v1/experiments", (202, {"id": "exp_2", "name": "n"}))
    assert run(service, "submit", "--from", "job_1", "--set", "training.epochs=3").exit_code == 0
    assert run(service, "submit", "--from", "exp_1", "--seeds", "0-2").stdout == "exp_2\n"
    assert [request.body for request in service.requests] == [
        {"from": "job_1", "training": {"epochs": 3}},
        {"from": "exp_1", "seeds": [0, 1, 2]},
    ]
    assert run(service, "submit").exit_code == 4


def test_edit_sends_what_is_to_change(service: Service) -> None:
    service.answer("PATCH /v1/jobs/job_1", (200, job()))
    service.answer("PATCH /v1/experiments/exp_1", (200, {"id": "exp_1", "name": "n"}))
    words = "edit job_1 exp_1 --label a=b --remove-label c --notes= --priority 3 --unarchive"
    assert run(service, *words.split()).exit_code == 0
    expected = {"labels": {"a": "b", "c": None}, "notes": "", "priority": 3, "archived": False}
    assert [request.body for request in service.requests] == [expected, expected]
    assert run(service, "edit", "job_1").exit_code == 4


def test_delete_removes_each_one(service: Service) -> None:
    service.answer("DELETE /v1/jobs/job_1", (204, b""))
    service.answer("DELETE /v1/experiments/exp_1", (204, b""))
    result = run(service, "delete", "job_1", "exp_1", "--keep-jobs", "--json")
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["job_1", "exp_1"]
    assert service.requests[-1].query == {"keep_jobs": ["true"]}


def test_retry_prints_the_new_jobs_id(service: Service) -> None:
    service.answer("POST /v1/jobs/job_1/retry", (202, job(id="job_2", retry_of="job_1")))
    result = run(service, "retry", "job_1")
    assert (result.exit_code, result.stdout) == (0, "job_2\n")


@pytest.mark.parametrize("verb", ["pause", "resume", "retry-failed"])
def test_an_action_on_an_experiment_applies_to_all_its_jobs(service: Service, verb: str) -> None:
    answer = {"id": "exp_1", "name": "dropout", "progress": PROGRESS}
    service.answer(f"POST /v1/experiments/exp_1/{verb}", (202, answer))
    result = run(service, verb.removesuffix("-failed"), "exp_1")
    assert result.exit_code == 0, result.stderr
    assert len(service.requests) == 1


def test_an_invalid_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGBENCH_WORKER_CONCURRENCY", "many")
    result = CliRunner().invoke(app, ["up"])
    assert result.exit_code == 1
    assert "REGBENCH_WORKER_CONCURRENCY" in result.stderr


def test_a_key_is_created_shown_once_listed_and_revoked(database_settings: Settings) -> None:
    created = CliRunner().invoke(app, ["keys", "create", "laptop", "--scope", "read", "--owner", "ann"])
    assert created.exit_code == 0, created.output
    key = created.stdout.strip()
    assert re.fullmatch(r"rb_[A-Za-z0-9_-]{43}", key)
    assert "not shown again" in created.stderr
    listed = CliRunner().invoke(app, ["keys", "list"]).stdout
    key_id = listed.split()[0]
    assert key not in listed
    assert "read   ann  active  never used  laptop" in listed
    assert CliRunner().invoke(app, ["keys", "revoke", key_id]).exit_code == 0
    assert "revoked" in CliRunner().invoke(app, ["keys", "list"]).stdout
    refused = CliRunner().invoke(app, ["keys", "revoke", "key_none"])
    assert refused.exit_code == 4
    assert refused.stderr == "regbench: There is no key key_none.\n"
    nobody = CliRunner().invoke(app, ["keys", "create", "x", "--owner", "a b"])
    assert nobody.exit_code == 4
    assert "owner" in nobody.stderr


@pytest.mark.parametrize("command", ["keys list", "keys revoke key_1", "prune"])
def test_no_installation_is_created_in_an_empty_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    monkeypatch.setenv("REGBENCH_HOME", str(tmp_path / "nowhere"))
    refused = CliRunner().invoke(app, command.split())
    assert refused.exit_code == 4
    message, hint = refused.stderr.splitlines()
    assert message == f"regbench: There is no installation in {tmp_path / 'nowhere'}."
    assert "REGBENCH_HOME" in hint
    assert not (tmp_path / "nowhere").exists()


def test_the_first_key_can_be_created_before_the_first_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REGBENCH_HOME", str(tmp_path / "new"))
    created = CliRunner().invoke(app, ["keys", "create", "laptop"])
    assert created.exit_code == 0, created.output
    assert f"For the installation in {tmp_path / 'new'}." in created.stderr
    assert "laptop" in CliRunner().invoke(app, ["keys", "list"]).stdout


def test_prune_reports_what_it_removed_or_a_one_line_error(
    database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ArtifactStore(database_settings).put("jobs/job_unknown/1/model.keras", b"1")
    pruned = CliRunner().invoke(app, ["prune", "--days", "30"])
    assert pruned.exit_code == 0, pruned.output
    assert pruned.stdout.startswith(
        "0 file(s), 0.0 MB removed.\n1 file(s) belong to jobs that are not in this"
    )
    monkeypatch.setenv("REGBENCH_DATABASE_URL", "sqlite:////no/such/folder/regbench.db")
    refused = CliRunner().invoke(app, ["prune"])
    assert refused.exit_code == 1
    assert len(refused.stderr.splitlines()) == 1
    assert "Traceback" not in refused.stderr


def test_predictions_are_shown_with_a_bar_for_each_digit(service: Service, tmp_path: Path) -> None:
    files = [tmp_path / "[seven].png", tmp_path / "three.png"]
    for path in files:
        path.write_bytes(b"an image")
    service.answer("POST /v1/jobs/job_1/predict", (200, predictions(7, 3)))
    result = run(service, "predict", "job_1", *map(str, files), "--invert", "true")
    assert result.exit_code == 0, result.stderr
    assert service.requests[0].query["invert"] == ["true"]
    lines = result.stdout.splitlines()
    assert len(lines) == 22
    assert (lines[0], lines[11]) == ("[seven].png: 7 (91.0%)", "three.png: 3 (91.0%)")
    lengths = [line.count("█") for line in lines[1:11]]
    assert lengths.index(max(lengths)) == 7
    assert max(lengths) == int(0.91 * 40)
    assert [line.split()[0] for line in lines[1:11]] == list("0123456789")
    assert lines[8].split()[-1] == "91.0%"


def test_f2_the_reasons_to_doubt_a_prediction_are_shown(service: Service, tmp_path: Path) -> None:
    (tmp_path / "seven.png").write_bytes(b"an image")
    answer = predictions(7)
    answer["predictions"][0]["warnings"] = ["several figures are drawn", "the model is unsure"]
    service.answer("POST /v1/jobs/job_1/predict", (200, answer))
    result = run(service, "predict", "job_1", str(tmp_path / "seven.png"))
    assert result.stdout.splitlines()[1:3] == [
        "warning: several figures are drawn",
        "warning: the model is unsure",
    ]


def test_the_spread_of_dropout_samples_is_shown(service: Service, tmp_path: Path) -> None:
    (tmp_path / "seven.png").write_bytes(b"an image")
    answer = predictions(7)
    answer["predictions"][0]["dropout"] = {
        "samples": 50,
        "sd": [0.02] * 10,
        "predictive_entropy": 0.5,
        "mutual_information": 0.125,
    }
    service.answer("POST /v1/jobs/job_1/predict", (200, answer))
    result = run(service, "predict", "job_1", str(tmp_path / "seven.png"), "--dropout-samples", "50")
    assert service.requests[0].query["dropout_samples"] == ["50"]
    lines = result.stdout.splitlines()
    assert "entropy 0.500 nats, of which 0.125 are the model's own uncertainty" in lines[1]
    assert lines[9].endswith("91.0% (sd 2.0%)")


def test_predictions_as_json(service: Service, tmp_path: Path) -> None:
    (tmp_path / "seven.png").write_bytes(b"an image")
    service.answer("POST /v1/jobs/job_1/predict", (200, predictions(7)))
    result = run(service, "predict", "job_1", str(tmp_path / "seven.png"), "--json")
    assert json.loads(result.stdout) == predictions(7)


def test_a_file_that_is_not_an_image_is_refused_by_its_name(service: Service, tmp_path: Path) -> None:
    (tmp_path / "seven.png").write_bytes(b"no image")
    errors = [{"pointer": "/image/0", "detail": "neither a PNG nor a JPEG file"}]
    service.answer("POST /v1/jobs/job_1/predict", (422, problem(422, errors=errors)))
    result = run(service, "predict", "job_1", str(tmp_path / "seven.png"))
    assert (result.exit_code, result.stdout) == (4, "")
    assert "/image/0: neither a PNG nor a JPEG file" in result.stderr
