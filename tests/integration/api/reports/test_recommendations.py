"""Recommendations: what this installation's experiments say for a task, and where they say nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from api.experiments.presets import PRESETS
from models.documents import merge_patch
from models.store.database import Database
from models.store.experiment_runs import ExperimentRun, get_runs
from tests.factories import finish_job, result_record
from tests.integration.api.conftest import TestClient, over_sqlite

pytestmark = over_sqlite
PATH = "/v1/recommendations"
SMALL = {"dataset": {"name": "mnist_5k"}, "training": {"epochs": 3}}
SEEDS = [*range(6)]


def finish(
    client: TestClient,
    database: Database,
    document: dict[str, Any],
    measure: Callable[[ExperimentRun], dict[str, float]],
) -> str:
    """Run an experiment with recorded results, which scatter a little from seed to seed."""
    created = client.post("/v1/experiments", json=document)
    assert created.status_code == 202, created.text
    with database.read() as session:
        runs = get_runs(session, created.json()["id"])
    for run in runs:
        values = {"test_accuracy": 0.9, "validation_loss": 0.4, "training_seconds": 2.0} | measure(run)
        values["test_accuracy"] += 0.001 * (run.seed * (7 if run.variant == "none" else 3) % 5)
        # Both experiments have the point of 1,000 examples and 256 units, which is trained once.
        if run.job.result is None:
            finish_job(database, run.job.id, result=result_record(**values), epochs=1)
    return str(created.json()["id"])


def along_widths(run: ExperimentRun) -> dict[str, float]:
    """Dropout harms four units, and helps 256; it takes twice the time."""
    (width,) = run.job.spec["model"]["hidden_units"]
    if run.variant != "dropout":
        return {"validation_loss": 0.4 if run.variant == "none" else 0.35}
    gain = {4: -0.05, 64: 0.0, 256: 0.03}[width]
    return {"test_accuracy": 0.9 + gain, "validation_loss": 0.4 - 10 * gain, "training_seconds": 4.0}


def along_sizes(run: ExperimentRun) -> dict[str, float]:
    """Label smoothing helps with 4,000 examples, where its probabilities are better, too."""
    if run.variant == "label smoothing" and run.job.spec["dataset"]["train_samples"] == 4000:
        debiased = 0.0001 + 0.00001 * (run.seed % 3)
        return {"test_accuracy": 0.92, "validation_loss": 0.3, "test_ece_debiased": debiased}
    return {"test_ece_debiased": 0.002 + 0.00001 * (run.seed % 2)}


@pytest.fixture
def experiments(client: TestClient, database: Database) -> dict[str, str]:
    """The ids of `width-path` and `size-path`, both small and finished."""
    axes = {"width-path": [[4], [64], [256]], "size-path": [250, 1000, 4000]}
    ids = {}
    for name, measure in (("width-path", along_widths), ("size-path", along_sizes)):
        axis = PRESETS[name].document["axes"][0] | {"values": axes[name]}
        changes = {"preset": name, "base": SMALL, "axes": [axis], "seeds": SEEDS}
        ids[name] = finish(client, database, changes, measure)
    return ids


def ask(client: TestClient, **task: Any) -> dict[str, Any]:
    answer = client.post(PATH, json=task)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def check_abstentions(client: TestClient, experiments: dict[str, str]) -> None:
    """Outside of what was measured nothing is said, and the experiment that would answer is offered."""
    size = {"train_examples": 1000, "parameters": 200_000}
    for task, variants in (
        (size | {"train_examples": 20_000}, 3),
        (size | {"parameters": 5_000_000}, 3),
        (size | {"needs": ["robustness"]}, 5),
        (size | {"needs": ["sparsity"]}, 4),
    ):
        answer = ask(client, **task)
        assert (answer["answers"], answer["abstains"]) == ([], True)
        assert answer["nearest"]["experiment_id"] in experiments.values()
        spec, cost = answer["experiment"]["spec"], answer["experiment"]["cost"]
        assert len(spec["variants"]) == variants
        assert cost["jobs"] == 8 * variants
        assert cost["parameters"]["none"] == pytest.approx(task["parameters"], rel=0.1)
        dry = client.post("/v1/experiments?dry_run=true", json=spec)
        # All of MNIST may neither be on this machine nor within reach.
        if "download" not in dry.text:
            assert (dry.status_code, dry.json()) == (200, cost)


def test_five_questions_are_answered_from_the_nearest_measured_point_and_others_are_not(
    client: TestClient, experiments: dict[str, str]
) -> None:
    reports = {
        name: client.get(f"/v1/experiments/{one}/report", params={"format": "json"}).json()
        for name, one in experiments.items()
    }

    def find(name: str, variant: str, value: Any) -> dict[str, Any]:
        contrasts = reports[name]["contrasts"]
        found = [one for one in contrasts if one["variant"] == variant and value in one["point"].values()]
        difference: dict[str, Any] = found[0]["differences"]["test_accuracy_points"]
        return difference

    # 1. A wide network: dropout is called higher, and validation chooses it.
    wide = ask(client, train_examples=1000, parameters=200_000)
    assert not wide["abstains"]
    assert wide["experiment"] is None
    assert wide["nearest"]["experiment_id"] in experiments.values()
    assert (wide["nearest"]["train_examples"], wide["nearest"]["parameters"]) == (1000, 203_530)
    gain = find("width-path", "dropout", [256])
    text = " ".join(answer["text"] for answer in wide["answers"])
    assert gain["call"] == "higher"
    assert f"For accuracy: dropout, {gain['mean']:+.2f} points" in text
    assert "Chosen by validation: dropout, with the lowest mean validation loss, 0.1000" in text
    # 2. A narrow one: dropout is called lower, and validation chooses L2.
    narrow = ask(client, train_examples=1000, parameters=3_000, needs=["accuracy"])
    loss = find("width-path", "dropout", [4])
    text = " ".join(answer["text"] for answer in narrow["answers"])
    assert loss["call"] == "lower"
    assert f"Test accuracy is lower than none's with: dropout, {loss['mean']:+.2f} points" in text
    assert "Chosen by validation: L2" in text
    assert "no technique that trained in every seed is shown to be worth choosing over none" in text
    # 3. The same wide network in three seconds, which dropout exceeds.
    quick = ask(client, train_examples=1000, parameters=200_000, seconds=3)
    text = " ".join(answer["text"] for answer in quick["answers"])
    assert "Left out, because a model takes longer than 3 s on average: dropout 4 s." in text
    assert "Among what trains in time L2 has the lowest mean validation loss, 0.3500" in text
    assert "For accuracy: dropout" not in text
    # 4. Many examples, where probabilities are acted upon.
    many = ask(client, train_examples=3500, parameters=150_000, needs=["calibration"])
    assert many["nearest"]["point"] == {"/dataset/train_samples": 4000}
    text = " ".join(answer["text"] for answer in many["answers"])
    assert "label smoothing has a lower calibration error than none, by 0.0019" in text
    # 5. Few examples: neither accuracy nor calibration of any technique is called.
    few = ask(client, train_examples=300, parameters=203_530, needs=["accuracy", "calibration"])
    text = " ".join(answer["text"] for answer in few["answers"])
    assert "no technique that trained in every seed is shown to be worth choosing over none" in text
    assert "No technique is shown to have a lower calibration error than none" in text
    names = {one: name for name, one in experiments.items()}
    for document in (wide, narrow, quick, many, few):
        for answer in document["answers"]:
            assert answer["evidence"]
            for one in answer["evidence"]:
                value: Any = reports[names[one["experiment_id"]]]
                for part in one["pointer"].removeprefix("/").split("/"):
                    value = value[int(part)] if isinstance(value, list) else value[part]
                assert value
    check_abstentions(client, experiments)


def test_the_offered_experiment_answers_once_it_has_ended(client: TestClient, database: Database) -> None:
    task = {"train_examples": 500, "parameters": 20_000, "needs": ["accuracy", "sparsity"]}
    before = ask(client, **task)
    assert (before["nearest"], before["abstains"]) == (None, True)
    spec = before["experiment"]["spec"]

    def measure(run: ExperimentRun) -> dict[str, float]:
        zeros = 0.4 if run.variant == "proximal L1" else 0.0
        return {"test_accuracy": 0.93 if zeros else 0.9, "zero_weight_fraction": zeros}

    finish(client, database, merge_patch(spec, {}), measure)
    after = ask(client, **task)
    assert (after["abstains"], after["experiment"]) == (False, None)
    text = " ".join(answer["text"] for answer in after["answers"])
    assert "proximal L1 has 40 % exact zeros, and a test accuracy above none's" in text


def test_nothing_is_offered_where_no_dataset_is_large_enough(client: TestClient) -> None:
    answer = ask(client, train_examples=10**6, parameters=1000)
    assert (answer["abstains"], answer["experiment"]) == (True, None)
    refused = client.post(PATH, json={"needs": ["speed"]})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/needs/0"
