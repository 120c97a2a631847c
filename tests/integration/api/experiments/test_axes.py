"""Experiments with axes: variants are compared at every point, and nowhere across points."""

from typing import Any

import pytest

from models.store.database import Database
from models.store.experiment_runs import get_runs
from tests.factories import finish_job, result_record
from tests.integration.api.conftest import TestClient

SIZES = [200, 400]
DOCUMENT: dict[str, Any] = {
    "name": "size",
    "base": {"dataset": {"name": "mnist_5k"}, "model": {"hidden_units": [16]}, "training": {"epochs": 3}},
    "variants": [{"name": "none"}, {"name": "l2", "changes": {"regularization": {"l2": {}}}}],
    "axes": [{"field": "/dataset/train_samples", "values": SIZES}],
    "replicates": 6,
}


def finish_all(database: Database, experiment_id: str) -> None:
    """L2 gains five points with 200 images, and nothing with 400."""
    with database.read() as session:
        runs = get_runs(session, experiment_id)
    for run in runs:
        gains = run.variant == "l2" and run.job.spec["dataset"]["train_samples"] == SIZES[0]
        accuracy = 0.8 + 0.05 * gains + 0.001 * (run.seed * 7 % 5 if run.variant == "l2" else run.seed % 3)
        finish_job(database, run.job.id, result=result_record(test_accuracy=accuracy))


def test_every_variant_runs_at_every_point_with_every_seed(client: TestClient) -> None:
    dry = client.post("/v1/experiments?dry_run=true", json=DOCUMENT)
    assert (dry.status_code, dry.json()["jobs"]) == (200, 24)
    created = client.post("/v1/experiments", json=DOCUMENT)
    assert created.status_code == 202
    experiment = created.json()
    assert experiment["spec"]["split_per_seed"]
    assert experiment["progress"]["total"] == 24
    jobs = client.get("/v1/jobs", params={"experiment": experiment["id"], "limit": 100}).json()["items"]
    keys = {(job["variant"], job["point"]["/dataset/train_samples"], job["spec"]["seed"]) for job in jobs}
    assert keys == {(name, size, seed) for name in ("none", "l2") for size in SIZES for seed in range(6)}
    assert all(job["spec"]["dataset"]["train_samples"] in job["point"].values() for job in jobs)
    assert {(job["part"], job["purpose"]) for job in jobs} == {(None, "judge")}


def test_variants_are_judged_at_each_point(client: TestClient, database: Database) -> None:
    experiment = client.post("/v1/experiments", json=DOCUMENT).json()
    finish_all(database, experiment["id"])
    shown = client.get(f"/v1/experiments/{experiment['id']}").json()
    assert (shown["best"], "across points" in shown["no_best"]) == (None, True)
    address = f"/v1/experiments/{experiment['id']}/report"
    report = client.get(address, params={"format": "json"}).json()
    assert [(item["name"], item["point"], item["is_baseline"]) for item in report["variants"]] == [
        (name, {"/dataset/train_samples": size}, name == "none") for size in SIZES for name in ("none", "l2")
    ]
    contrasts = report["contrasts"]
    assert [(item["variant"], item["baseline"], item["point"]) for item in contrasts] == [
        ("l2", "none", {"/dataset/train_samples": size}) for size in SIZES
    ]
    first, second = (item["differences"]["test_accuracy_points"] for item in contrasts)
    assert (first["n"], first["call"], second["call"]) == (6, "higher", None)
    assert report["baseline"] == "none"
    assert report["axes"][0]["numbers"] == SIZES
    assert [(item["best"]["variant"], item["no_best"]) for item in report["points"]] == [("none", None)] * 2
    assert [item["may_be_best"] for item in report["points"]] == [["none", "l2"]] * 2
    gain = report["gains"][0]
    assert (gain["variant"], gain["metric"], gain["unit"]) == ("l2", "test_accuracy", "points")
    assert gain["pays"] == {"where": "up_to", "value": SIZES[0]}
    band = gain["points"][0]
    assert (band["n"], band["call"], band["low"]) == (6, "gain", first["simultaneous_low"])
    assert "Test accuracy, compared with none, is higher with l2 at 200 training" in report["headline"]
    assert {curve["variant"]: "4 sizes" in curve["reason"] for curve in report["error_curves"]} == {
        "none": True,
        "l2": True,
    }
    data = next(item for item in report["recommendation"] if item["name"] == "data")
    assert data["advice"][0]["text"].startswith("l2 in test accuracy: pays at 200 training examples")
    markdown = client.get(address, params={"format": "md"}).text
    assert "- none and l2: A curve of three numbers takes 4 sizes or more." in markdown
    assert "n^-c" not in markdown, "no table of curves that could not be fitted"
    assert "l2, 200 training examples" in markdown
    assert "| 200 training examples |" in markdown
    mistakes = client.get(f"/v1/experiments/{experiment['id']}/mistakes").json()
    assert (mistakes["items"], "each point has a baseline of its own" in mistakes["reason"]) == ([], True)
    charts = client.get(f"/v1/experiments/{experiment['id']}/charts").json()["items"]
    assert {"along-axis", "gain"} <= {chart["name"] for chart in charts}
    page = client.get(address, params={"format": "html"}).text
    assert all(f'<figure id="{name}">' in page for name in ("along-axis", "gain"))
    table = client.get(address, params={"format": "csv"}).text.splitlines()
    assert table[1].startswith("none,200,True,0,")


def test_a_point_that_was_trained_in_another_experiment_is_linked(
    client: TestClient, database: Database
) -> None:
    experiment = client.post("/v1/experiments", json=DOCUMENT).json()
    finish_all(database, experiment["id"])
    more = DOCUMENT | {"axes": [{"field": "/dataset/train_samples", "values": [*SIZES, 800]}]}
    progress = client.post("/v1/experiments", json=more).json()["progress"]
    assert (progress["total"], progress["reused"]) == (36, 24)


@pytest.mark.parametrize(
    ("axes", "pointer"),
    [
        ([{"field": "/seed", "values": [1]}], "/axes/0/field"),
        ([{"field": "/name", "values": ["a"]}], "/axes/0/field"),
        ([{"field": "/dataset/split_seed", "values": [1]}], "/axes/0/field"),
        ([{"field": "/dataset/rows", "values": [1]}], "/axes/0/field"),
        ([{"field": "/evaluation/robustness", "values": [True]}], "/axes/0/field"),
        # All of mnist_5k's examples, twice.
        ([{"field": "/dataset/train_samples", "values": [4000, None]}], "/axes/0/values/1"),
        ([{"field": "/regularization/l2/factor", "values": [0.1]}], "/axes/0/field"),
        ([{"field": "/training/epochs", "values": [1]}] * 2, "/axes/1/field"),
        ([{"field": "/training/epochs", "values": [1, 2, 1]}], "/axes/0/values/2"),
        ([{"field": "/training/epochs", "values": [1, 0]}], "/axes/0/values/1"),
        ([{"field": "/training/epochs", "values": []}], "/axes/0/values"),
        ([{"field": "/training/epochs", "values": [1]}] * 3, "/axes"),
        ([{"field": "/training/epochs", "values": [*range(1, 51)]}], "/replicates"),
    ],
)
def test_axes_that_cannot_be_are_refused(client: TestClient, axes: list[Any], pointer: str) -> None:
    document = DOCUMENT | {"axes": axes, "replicates": 21}
    answer = client.post("/v1/experiments", json=document)
    assert answer.status_code == 422
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    if pointer == "/replicates":
        assert "2,100 jobs" in answer.text


def test_steps_may_be_an_axis_though_the_base_has_none(client: TestClient) -> None:
    axes = [{"field": "/training/steps", "values": [20, None]}]
    answer = client.post("/v1/experiments", json=DOCUMENT | {"axes": axes}, params={"dry_run": True})
    assert (answer.status_code, answer.json()["jobs"]) == (200, 24)


def test_a_crossed_design_tells_the_variance_of_splits_from_that_of_seeds(
    client: TestClient, database: Database
) -> None:
    axes = [{"field": "/dataset/split_seed", "values": [10, 11, 12]}]
    document = DOCUMENT | {"axes": axes, "split_per_seed": False, "replicates": 2}
    experiment = client.post("/v1/experiments", json=document).json()
    with database.read() as session:
        runs = get_runs(session, experiment["id"])
    for run in runs:
        split = run.job.spec["dataset"]["split_seed"] - 10
        accuracy = 0.9 + 0.01 * split + 0.002 * run.seed
        finish_job(database, run.job.id, result=result_record(test_accuracy=accuracy))
    address = f"/v1/experiments/{experiment['id']}/report?format="
    components = client.get(f"{address}json").json()["variance_components"]
    assert [(item["variant"], item["metric"]) for item in components] == [
        (variant, metric) for variant in ("l2", "none") for metric in ("test_accuracy", "test_loss")
    ]
    first = components[0]
    assert (first["splits"], first["seeds"]) == (3, 2)
    assert (first["split"], first["seed"]) == pytest.approx((0.01**2, 0.002**2 / 2))
    assert first["residual"] == pytest.approx(0.0, abs=1e-12)
    assert "standard deviation in points 1 due to the split, 0.14 due to the seed" in client.get(
        f"{address}md"
    ).text.replace("\\", "")
