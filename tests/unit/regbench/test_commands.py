"""The commands: which requests they send, and that --json prints only JSON on stdout."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from models.settings import Settings
from regbench.cli.completion import complete_datasets, complete_ids, complete_presets, complete_techniques
from regbench.cli.main import app
from regbench.client import Regbench
from tests.unit.regbench.conftest import Service
from tests.unit.regbench.documents import TRIALS, epoch, job, page, predictions, problem

EXPERIMENT = {
    "id": "exp_1",
    "name": "dropout",
    "preset": "dropout-vs-none",
    "baseline": "without Dropout",
    "spec": {},
    "progress": {
        "counts": {"queued": 0, "running": 1, "succeeded": 1},
        "total": 2,
        "fraction": 0.5,
        "finished": False,
        "eta_seconds": 3.0,
    },
    "best": {
        "variant": "with Dropout",
        "selected_by": "validation_loss",
        "validation_loss": 0.07,
        "test_accuracy": 0.9777,
    },
}
FINISHED = EXPERIMENT | {"progress": EXPERIMENT["progress"] | {"finished": True}}  # type: ignore[operator]
PRESET = {"name": "dropout-vs-none", "title": "With and without", "expect": "", "jobs": 2, "document": {}}
CARD = {
    "name": "l2",
    "title": "L2",
    "formula": "sum(w^2)",
    "in_training": "a pull",
    "at_inference": "nothing",
    "when_to_use": "first",
    "cost": "little",
    "pitfall": "not weight decay",
    "source": "Krogh",
    "parameters": [
        {
            "name": "factor",
            "type": "number",
            "default": 0.0001,
            "minimum": 0.0,
            "maximum": 0.1,
            "choices": None,
            "description": "Lambda",
        }
    ],
}
COST = {"jobs": 4, "training_flops": 3e10, "memory_bytes": 18e6, "estimated_seconds": 2.4}
RESULT = {"test_accuracy": 0.9777, "test_loss": 0.1}


def run(service: Service, *arguments: str, stdin: str = "") -> Any:
    return CliRunner().invoke(app, list(arguments), input=stdin, env={"REGBENCH_URL": service.url})


_LOSS = {part: {"value": 0.5, "low": None, "high": None} for part in ("mean_loss", "bias", "variance")}
BIAS_VARIANCE = {
    "items": [
        {"variant": "[red]", "point": {"/model/hidden_units": [2]}, "cross_entropy": _LOSS},
        {"variant": "unfinished", "point": None, "cross_entropy": None},
    ],
    "differences": [],
    "trends": [],
    "answers": ["The loss is lowest with [red]."],
    "reason": None,
    "intervals": "over images",
    "headline": "The loss is lowest with [red].",
}


RECOMMENDATION = {
    "answers": [],
    "nearest": {"name": "width-path", "train_examples": 1000, "parameters": 203_530},
    "abstains": True,
    "experiment": {"spec": {"name": "n", "variants": []}, "cost": {"jobs": 24, "estimated_seconds": 60.0}},
}


@pytest.fixture
def full(service: Service) -> Service:
    """A service with one finished job in one experiment."""
    done = job("succeeded", result=RESULT, experiment_id="exp_1")
    service.answer("GET /v1/jobs/job_1", (200, done))
    service.answer("GET /v1/jobs/job_1/epochs", (200, {"items": [epoch(1), epoch(2)]}))
    service.answer("GET /v1/jobs", (200, page(done)))
    service.answer("POST /v1/jobs", (202, job()))
    service.answer("POST /v1/jobs/batch", (202, page(job(), job(id="job_2"))))
    for verb in ("cancel", "pause", "resume", "retry"):
        service.answer(f"POST /v1/jobs/job_1/{verb}", (202, job()))
    service.answer("GET /v1/experiments/exp_1", (200, FINISHED))
    service.answer("GET /v1/experiments", (200, page(EXPERIMENT)))
    service.answer("POST /v1/experiments", (202, EXPERIMENT))
    service.answer("POST /v1/experiments/exp_1/extend", (202, EXPERIMENT))
    service.answer("GET /v1/experiments/exp_1/report", (200, b'{"title": "dropout"}'))
    service.answer("GET /v1/experiments/exp_1/bias-variance", (200, BIAS_VARIANCE))
    service.answer("GET /v1/experiments/exp_1/trials", (200, {"items": TRIALS}))
    service.answer("POST /v1/recommendations", (200, RECOMMENDATION))
    service.answer("GET /v1/techniques", (200, {"items": [CARD]}))
    service.answer("GET /v1/techniques/l2", (200, CARD))
    service.answer("GET /v1/presets", (200, {"items": [PRESET]}))
    return service


@pytest.mark.parametrize(
    "command",
    [
        "submit -",
        "submit - --seeds 0-1",
        "submit - --watch",
        "jobs",
        "show job_1",
        "show exp_1",
        "cancel job_1",
        "pause job_1",
        "resume job_1",
        "retry job_1",
        "experiment run dropout-vs-none --no-watch",
        "experiment run dropout-vs-none --watch",
        "experiment list",
        "experiment show exp_1",
        "experiment extend exp_1 --seeds 5",
        "experiment confirm exp_1 --variant dropout",
        "experiment bias-variance exp_1",
        "experiment trials exp_1",
        "report exp_1",
        "recommend --examples 1000 --need sparsity",
        "presets",
        "techniques",
        "techniques l2",
    ],
)
def test_with_json_stdout_contains_only_json(full: Service, command: str) -> None:
    result = run(full, *command.split(), "--json", stdin="seed: 7")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document


def test_confirm_names_the_variants_and_the_fresh_seeds(service: Service) -> None:
    service.answer("POST /v1/experiments", *[(202, EXPERIMENT)] * 4)
    options = ["--variant", "dropout", "--variant", "L2", "--seeds", "5-7"]
    assert run(service, "experiment", "confirm", "exp_1", *options).exit_code == 0
    assert run(service, "experiment", "confirm", "exp_1").exit_code == 0
    with Regbench(service.url) as client:
        client.confirm("exp_1").confirm(variants=["L2"], seeds=[5])
    assert [request.body for request in service.requests] == [
        {"confirms": "exp_1", "variants": [{"name": "dropout"}, {"name": "L2"}], "seeds": [5, 6, 7]},
        {"confirms": "exp_1"},
        {"confirms": "exp_1"},
        {"confirms": "exp_1", "variants": [{"name": "L2"}], "seeds": [5]},
    ]


def test_a_watch_with_json_is_a_line_for_each_change(service: Service) -> None:
    service.answer("GET /v1/jobs/job_1", *[(200, job("running"))] * 3, (200, job("succeeded")))
    service.answer("GET /v1/jobs/job_1/epochs", (200, {"items": [epoch(1), epoch(2)]}))
    result = run(service, "watch", "job_1", "--json")
    running, succeeded = [json.loads(line) for line in result.stdout.splitlines()]
    assert (running["state"], running["epoch"], running["fraction"]) == ("running", 2, 0.25)
    assert (succeeded["state"], succeeded["error"]) == ("succeeded", None)
    assert succeeded["validation_accuracy"] == 0.9
    assert result.stderr == ""


def test_an_auto_extending_experiment_is_watched_further(service: Service) -> None:
    service.answer("GET /v1/experiments/exp_1", (200, EXPERIMENT), (200, EXPERIMENT), (200, FINISHED))
    one, two = (job("succeeded", id=f"job_{number}", experiment_id="exp_1") for number in (1, 2))
    service.answer("GET /v1/jobs", (200, page(one)), (200, page(two, one)))
    for number in (1, 2):
        service.answer(f"GET /v1/jobs/job_{number}/epochs", (200, {"items": [epoch(1)]}))
    result = run(service, "watch", "exp_1", "--json")
    assert result.exit_code == 0, result.stderr
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["job_1", "job_2"]


def test_a_preset_is_run_with_changes(full: Service) -> None:
    changes = ["--set", "base.training.epochs=5", "--set", "base.regularization=null", "--seeds", "0,2"]
    result = run(full, "experiment", "run", "dropout-vs-none", "--no-watch", *changes)
    assert (result.exit_code, result.stdout) == (0, "exp_1\n")
    assert full.requests[0].body == {
        "preset": "dropout-vs-none",
        "base": {"training": {"epochs": 5}, "regularization": None},
        "seeds": [0, 2],
    }
    assert "regbench report exp_1" in result.stderr


def test_seeds_make_jobs_of_one_document_together(full: Service, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("training: {epochs: 3}\nregularization: {l2: {factor: 1e-4}}\n")
    settings = ["--set", "training.epochs=5", "--seeds", "3-4"]
    result = run(full, "submit", str(tmp_path / "job.yaml"), *settings)
    assert (result.exit_code, result.stdout) == (0, "job_1\njob_2\n")
    both = {"training": {"epochs": 5}, "regularization": {"l2": {"factor": 0.0001}}}
    assert full.requests[0].body == {"jobs": [both | {"seed": 3}, both | {"seed": 4}]}


def test_seeds_replace_those_of_an_experiment(full: Service) -> None:
    run(full, "submit", "-", "--seeds", "0-2", stdin='{"preset": "dropout-vs-none"}')
    assert full.requests[0].body == {"preset": "dropout-vs-none", "seeds": [0, 1, 2]}


def test_axes_replace_those_of_an_experiment(full: Service) -> None:
    axes = ["--axis", "/training/epochs=1,2", "--axis", "model.hidden_units=[16],[64]"]
    run(full, "submit", "-", *axes, stdin='{"preset": "dropout-vs-none", "axes": []}')
    assert full.requests[0].body["axes"] == [
        {"field": "/training/epochs", "values": [1, 2]},
        {"field": "/model/hidden_units", "values": [[16], [64]]},
    ]
    run(full, "experiment", "run", "dropout-vs-none", "--no-watch", *axes)
    assert full.requests[1].body["axes"] == full.requests[0].body["axes"]
    full.answer(
        "POST /v1/experiments", (202, EXPERIMENT | {"progress": EXPERIMENT["progress"] | {"reused": 1}})
    )
    again = run(full, "experiment", "run", "dropout-vs-none", "--no-watch", *axes)
    assert "1 of 2 jobs were trained before and are linked." in again.stderr
    refused = run(full, "submit", "-", *axes, stdin="{}")
    assert (refused.exit_code, "--axis is for experiments" in refused.stderr) == (4, True)


def test_a_cost_estimate_stores_no_job(full: Service) -> None:
    full.answer("POST /v1/experiments", (200, COST))
    result = run(full, "experiment", "run", "dropout-vs-none", "--dry-run")
    assert full.requests[0].query == {"dry_run": ["true"]}
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        *("jobs", "floating-point", "memory", "training")
    ]
    assert "about 2 s" in result.stdout
    full.answer("POST /v1/experiments", (200, COST | {"reused": 3}))
    again = run(full, "experiment", "run", "dropout-vs-none", "--dry-run").stdout
    assert ", 3 of them trained before" in again.splitlines()[0]
    full.answer("POST /v1/jobs", (200, COST | {"estimated_seconds": None}))
    assert "unknown" in run(full, "submit", "-", "--dry-run", stdin="{}").stdout
    assert len(full.requests) == 3


def test_the_cost_of_a_job_with_several_seeds_is_that_of_a_batch(full: Service) -> None:
    full.answer("POST /v1/jobs/batch", (200, COST | {"jobs": 10, "items": []}))
    command = ["submit", "-", "--seeds", "0-9", "--dry-run"]
    lines = [line.split(maxsplit=1) for line in run(full, *command, stdin="{}").stdout.splitlines()]
    assert lines[0] == ["jobs", "10"]
    assert lines[3][1].endswith("about 2 s")
    assert full.requests[0].query == {"dry_run": ["true"]}
    assert [job["seed"] for job in full.requests[0].body["jobs"]] == [*range(10)]
    cost = json.loads(run(full, *command, "--json", stdin="{}").stdout)
    assert (cost["jobs"], cost["training_flops"], cost["memory_bytes"]) == (10, 3e10, 18e6)


def test_all_filters_are_sent(full: Service) -> None:
    options = {
        "technique": ["l2", "dropout"],
        "dataset": ["mnist"],
        "experiment": ["exp_1"],
        "label": ["sweep=7"],
        "created_after": ["2026-01-31T12:00:00Z"],
        "created_before": ["2026-02-01T12:00:00Z"],
        "sort": ["-test_accuracy"],
    }
    arguments: list[str] = []
    for name, values in options.items():
        for value in values:
            arguments += [f"--{name.replace('_', '-')}", value]
    assert run(full, "jobs", *arguments).exit_code == 0
    assert full.requests[0].query == options | {"limit": ["50"]}


def test_a_job_is_shown_with_its_loss_curve(full: Service) -> None:
    full.answer(
        "GET /v1/jobs/job_1/epochs",
        (200, {"items": [epoch(number) | {"validation_loss": 1 / number} for number in (1, 2, 4)]}),
    )
    output = run(full, "show", "job_1").stdout
    assert "test accuracy    97.77 %" in output
    assert "validation loss  1.0000 █▃▁ 0.2500" in output


def test_a_job_is_shown_with_its_metrics_and_the_remaining_time(full: Service) -> None:
    used = {
        "dropout": {"rate": 0.5, "hidden": True, "input_rate": 0.0},
        "l2": {"factor": 1e-4, "kind": "all"},  # words of another release
    }
    full.answer("GET /v1/jobs/job_1", (200, job("running", spec={"seed": 0, "regularization": used})))
    output = run(full, "show", "job_1").stdout.splitlines()
    assert "regularization   Dropout 0.5, hidden true + L2 0.0001, kind all" in output
    assert "time left        about 8 s" in output
    failure = {"code": "diverged", "message": "The loss is not a number.", "retryable": False}
    full.answer("GET /v1/jobs/job_1", (200, job("failed", error=failure)))
    assert "error            The loss is not a number." in run(full, "show", "job_1").stdout.splitlines()
    full.answer("GET /v1/jobs/job_1", (200, job("queued", spec={"seed": 0, "regularization": {}})))
    assert "regularization   none" in run(full, "show", "job_1").stdout
    assert "time left" not in run(full, "show", "job_1").stdout


def test_an_experiment_is_shown_with_its_jobs(full: Service) -> None:
    for command in (["show"], ["experiment", "show"]):
        lines = run(full, *command, "exp_1").stdout.splitlines()
        assert "jobs      2 in total: 1 running, 1 succeeded" in lines
        assert lines[-1] == "job_1  succeeded       2/10  0.9777  dropout 0.5, seed 0"
        assert not [line for line in lines if line.startswith("tuning")]
    assert run(full, "experiment", "list").stdout.split() == ["exp_1", "50%", "dropout"]


def test_an_experiment_that_tunes_says_how_many_trials_have_ended(full: Service) -> None:
    tuned = {"spec": {"tune": {"trials": 2}, "variants": [{"name": "[red]"}, {"name": "L2"}]}}
    full.answer("GET /v1/experiments/exp_1", (200, FINISHED | tuned))
    assert "tuning    1 of 4 trials have ended" in run(full, "experiment", "show", "exp_1").stdout
    running = (200, page(job("running", experiment_id="exp_1")))
    full.answer("GET /v1/jobs", running, running, (200, page()))
    ended = [trial | {"state": "failed"} for trial in TRIALS]
    full.answer("GET /v1/experiments/exp_1/trials", (200, {"items": TRIALS}), (200, {"items": ended}))
    lines = run(full, "watch", "exp_1").stderr.splitlines()
    counts = ["1 of 4 trials have ended", "2 of 4 trials have ended"]
    assert [line for line in lines if "trials" in line] == counts
    # The trials of a follow-up are its pilot's.
    spec = tuned["spec"] | {"confirms": "exp_0"}
    full.answer("GET /v1/experiments/exp_1", (200, FINISHED | {"spec": spec}))
    full.answer("GET /v1/jobs", (200, page()))
    output = run(full, "experiment", "show", "exp_1").stdout
    assert "confirms  exp_0" in output
    assert "tuning" not in output


def test_a_technique_is_explained(full: Service) -> None:
    explained = run(full, "techniques", "l2").stdout
    assert "factor (number, from 0 to 0.1, default 0.0001): Lambda" in explained
    assert """echo '{"regularization": {"l2": {}}}' | regbench submit -""" in explained


def test_a_report_is_opened_in_a_browser(
    full: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or len(opened) == 1)
    command = ["report", "exp_1", "--open", "--output", str(tmp_path / "r.html")]
    result = run(full, *command)
    assert (result.exit_code, result.stdout) == (0, "")
    assert full.requests[-1].query == {"format": ["html"]}
    assert opened == [(tmp_path / "r.html").as_uri()]
    # The second time there is no browser, and the report is still written.
    assert "Could not start a browser" in run(full, *command).stderr
    assert (tmp_path / "r.html").read_bytes() == b'{"title": "dropout"}'


@pytest.mark.parametrize(
    ("name", "form"), [("r.csv", "csv"), ("r.json", "json"), ("r.html", "html"), ("r", "md")]
)
def test_the_format_of_a_report_follows_the_files_name(
    full: Service, tmp_path: Path, name: str, form: str
) -> None:
    run(full, "report", "exp_1", "--output", str(tmp_path / name))
    assert full.requests[0].query == {"format": [form]}


@pytest.mark.parametrize(
    ("arguments", "form"),
    [
        ("--output r.CSV", "csv"),
        ("--output r.HTML", "html"),
        ("--output r.htm", "html"),
        ("--output r.markdown", "md"),
        ("--output r.csv --open", "csv"),
        ("--output r --open", "html"),
        ("--output r.txt --format md", "md"),
        ("--output r.txt --json", "json"),
    ],
)
def test_f18_a_report_has_the_format_of_its_suffix(
    full: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: str, form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("webbrowser.open", lambda address: True)
    assert run(full, "report", "exp_1", *arguments.split()).exit_code == 0
    assert full.requests[0].query == {"format": [form]}


@pytest.mark.parametrize("name", ["r.pdf", "r.xlsx", "r.csv.gz", "r.md "])
def test_f18_a_suffix_of_no_format_is_refused(full: Service, tmp_path: Path, name: str) -> None:
    result = run(full, "report", "exp_1", "--output", str(tmp_path / name))
    assert result.exit_code == 4
    assert ".html" in result.stderr
    assert full.requests == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.parametrize("command", ["jobs", "show job_1", "experiment list", "watch job_1", "predict job_1"])
def test_f22_a_terminal_that_lacks_characters_does_not_end_a_command(
    full: Service, tmp_path: Path, encoding: str, command: str
) -> None:
    strange = job("succeeded", name="名前 \U0001f600 é")
    full.answer("GET /v1/jobs", (200, page(strange, job(id="job_2", name="plain one"))))
    full.answer("GET /v1/jobs/job_1", (200, strange))
    full.answer("GET /v1/experiments", (200, page({"id": "exp_1", "name": "名前"})))
    full.answer("POST /v1/jobs/job_1/predict", (200, predictions(7)))
    arguments = command.split()
    if command.startswith("predict"):
        (tmp_path / "名前.png").write_bytes(b"an image")
        arguments.append(str(tmp_path / "名前.png"))
    environment = os.environ | {"PYTHONIOENCODING": encoding, "REGBENCH_URL": full.url}
    for options in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "regbench.cli.main", *arguments, *options],
            env=environment,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        # Where ASCII is all that there is, click writes UTF-8.
        output = done.stdout.decode("utf-8" if encoding == "ascii" else encoding)
        if options:
            assert {"名前 \U0001f600 é", "名前", "job_1"} & set(find_values(output))
        elif command == "jobs":
            assert "plain one" in output
            assert ("??" in output) is (encoding == "latin-1")


def find_values(text: str) -> list[str]:
    """The name, or the job, of the first JSON document."""
    document, _ = json.JSONDecoder().raw_decode(text)
    return [str(document.get("name") or document["job_id"])]


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
def test_keys_and_prune_print_json(database_settings: Settings) -> None:
    created = json.loads(CliRunner().invoke(app, ["keys", "create", "laptop", "--json"]).stdout)
    assert created["key"].startswith(created["prefix"])
    assert created["scope"] == "write"
    [listed] = json.loads(CliRunner().invoke(app, ["keys", "list", "--json"]).stdout)
    assert listed == {name: value for name, value in created.items() if name != "key"}
    revoked = CliRunner().invoke(app, ["keys", "revoke", created["id"], "--json"])
    assert json.loads(revoked.stdout) == {"id": created["id"], "revoked": True}
    pruned = CliRunner().invoke(app, ["prune", "--dry-run", "--json"])
    assert json.loads(pruned.stdout) == {
        "files": 0,
        "bytes": 0,
        "unknown": 0,
        "datasets": [],
        "dry_run": True,
    }


def test_names_and_ids_are_completed(full: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    assert complete_techniques("spatial") == ["spatial_dropout"]
    assert complete_datasets("mnist_") == ["mnist_5k"]
    monkeypatch.setenv("REGBENCH_URL", full.url)
    assert complete_presets("drop") == [("dropout-vs-none", "With and without")]
    assert complete_presets("l") == []
    assert complete_ids("") == [("exp_1", "dropout"), ("job_1", "succeeded, dropout 0.5, seed 0")]
    full.answer("GET /v1/presets", (401, problem(401)))
    assert complete_presets("") == []


def test_without_a_service_there_are_no_completions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGBENCH_URL", "http://127.0.0.1:9")
    assert complete_ids("") == []


def test_bias_and_variance_are_a_table_and_a_sentence(full: Service) -> None:
    result = run(full, "experiment", "bias-variance", "exp_1")
    assert "[red], hidden units 2" in result.stdout
    assert "0.5000" in result.stdout
    assert "The loss is lowest with [red]." in result.stdout
    watched = ("experiment", "run", "bias-variance")
    full.answer("GET /v1/experiments/exp_1", (200, FINISHED | {"headline": "Test accuracy: none."}))
    ending = run(full, *watched).stderr.splitlines()[-4:-2]
    assert ending == ["Test accuracy: none.", *BIAS_VARIANCE["answers"]]
    assert "lowest" not in run(full, *watched, "--no-watch").stderr
    empty = {
        "items": None,
        "differences": [],
        "trends": [],
        "answers": [],
        "intervals": None,
        "headline": None,
    }
    nothing = empty | {"reason": "no parts"}
    full.answer("GET /v1/experiments/exp_1/bias-variance", (200, nothing))
    result = run(full, "experiment", "bias-variance", "exp_1")
    assert (result.exit_code, "no parts" in result.stderr) == (1, True)
    assert run(full, *watched).stderr.splitlines()[-3] == "Test accuracy: none."


def test_trials_are_a_table_in_which_the_chosen_one_is_marked(full: Service) -> None:
    table = run(full, "experiment", "trials", "exp_1").stdout
    assert [heading in table for heading in ("[red]", "learning_rate", "0.1235", "chosen", "queued")] == [
        True
    ] * 5
    full.answer("GET /v1/experiments/exp_1/trials", (200, {"items": []}))
    assert "tunes nothing" in run(full, "experiment", "trials", "exp_1").stderr


def test_a_recommendation_quotes_the_experiments_or_offers_one(full: Service) -> None:
    task = ("recommend", "--examples", "50", "--need", "accuracy", "--need", "sparsity")
    abstaining = run(full, *task)
    assert (abstaining.exit_code, abstaining.stdout) == (0, "")
    assert "1,000 examples and 203,530 parameters: width-path" in abstaining.stderr
    assert (
        "--run starts an experiment that would answer it: 24 jobs, 1 min 0 s of training" in abstaining.stderr
    )
    assert full.requests[-1].body == {
        "train_examples": 50,
        "parameters": None,
        "seconds": None,
        "needs": ["accuracy", "sparsity"],
    }
    assert run(full, *task, "--run").stdout == "exp_1\n"
    answer = {"text": "For accuracy: dropout, +3.00 points.", "evidence": []}
    answered = RECOMMENDATION | {"answers": [answer], "abstains": False, "experiment": None}
    full.answer("POST /v1/recommendations", (200, answered))
    assert run(full, *task).stdout == "- For accuracy: dropout, +3.00 points.\n"
    assert run(full, *task, "--run").exit_code == 4
