"""Bias and variance of an experiment on parts of the data, over HTTP."""

import csv
import io

import httpx
import numpy as np
import pytest
from scipy.special import log_softmax
from sqlalchemy import update

from models.artifacts import ArtifactStore
from models.bias_variance import decompose
from models.settings import Settings
from models.statistics import compute_mean_interval
from models.store.database import Database
from models.store.tables import Result
from models.test_predictions import TestPredictions
from tests.factories import finish_job, result_record
from tests.integration.api.experiments.test_routes import DOCUMENT, create

LABELS = np.array([0, 1, 2, 0], np.int32)


def finish_with_predictions(
    client: httpx.Client, database: Database, settings: Settings, experiment: str, skip: int = 0
) -> dict[tuple[str, int, int], np.ndarray]:
    """Ends all runs of an experiment but the last `skip`; returns their log-probabilities by their keys."""
    items = client.get("/v1/jobs", params={"experiment": experiment, "limit": 100}).json()["items"]
    predictions = {}
    for index, job in enumerate(items[skip:]):
        logs = log_softmax(np.random.default_rng(index).normal(size=(4, 3)), axis=1).astype(np.float32)
        path = f"jobs/{job['id']}/1/test_predictions.npz"
        digest = ArtifactStore(settings).put(path, TestPredictions(logs, LABELS).to_bytes())
        result = result_record(predictions_path=path, predictions_sha256=digest)
        finish_job(database, job["id"], result=result)
        predictions[job["variant"], job["spec"]["seed"], job["part"]] = logs
    return predictions


def predictions_of(
    predictions: dict[tuple[str, int, int], np.ndarray], variant: str, seed: int
) -> np.ndarray:
    return np.stack([predictions[variant, seed, part] for part in range(3)]).astype(float)


@pytest.mark.parametrize("split_per_seed", [True, False])
def test_each_variant_is_decomposed_over_its_parts_and_seeds(
    client: httpx.Client, database: Database, database_settings: Settings, split_per_seed: bool
) -> None:
    document = DOCUMENT | {"seeds": [1, 2], "parts": 3, "split_per_seed": split_per_seed}
    experiment = create(client, document)["id"]
    predictions = finish_with_predictions(client, database, database_settings, experiment)
    answer = client.get(f"/v1/experiments/{experiment}/bias-variance")
    report = answer.json()
    assert answer.headers["ETag"]
    assert [item["variant"] for item in report["items"]] == [v["name"] for v in DOCUMENT["variants"]]
    for item in report["items"]:
        logs = [np.stack([predictions[item["variant"], s, part] for part in range(3)]) for s in (1, 2)]
        expected = decompose([seed.astype(float) for seed in logs], LABELS, crossed=not split_per_seed)
        assert (item["parts"], item["seeds"], item["point"]) == (3, 2, None)
        assert item["cross_entropy"]["bias"]["value"] == pytest.approx(expected.cross_entropy.bias.value)
        assert item["brier"]["variance_unbiased"]["high"] == pytest.approx(
            expected.brier.variance_unbiased.high
        )
        assert item["zero_one"]["mean_loss"]["value"] == pytest.approx(expected.zero_one.mean_loss.value)
        assert (item["due_to"] is None) == split_per_seed
        assert (item["reason"] is None) == (not split_per_seed)
    name = report["items"][1]["variant"]
    change = report["differences"][0]["cross_entropy"]["variance"]
    expected_change = [
        decompose(
            [predictions_of(predictions, other, seed)], LABELS, crossed=False
        ).cross_entropy.variance.value
        for seed in (1, 2)
        for other in (name, "none")
    ]
    replicates = [expected_change[0] - expected_change[1], expected_change[2] - expected_change[3]]
    low, high = compute_mean_interval(replicates, level=0.05, fewest=2)
    assert change == pytest.approx({"value": sum(replicates) / 2, "low": low, "high": high})
    assert f"{name} compared with none: " in report["headline"]
    assert "The loss is lowest with" in report["headline"]
    page = client.get(f"/v1/experiments/{experiment}/report", params={"format": "html"}).text
    assert 'id="bias-variance"' in page
    table = client.get(f"/v1/experiments/{experiment}/bias-variance", params={"format": "csv"}).text
    rows = [row for row in csv.DictReader(io.StringIO(table)) if row["loss"] == "cross_entropy"]
    assert float(rows[1]["value"]) == report["items"][0]["cross_entropy"]["bias"]["value"]
    assert "t intervals over 2 seeds" in report["intervals"]


def test_what_is_missing_is_null_with_the_reason(
    client: httpx.Client, database: Database, database_settings: Settings
) -> None:
    whole = create(client, DOCUMENT)["id"]
    report = client.get(f"/v1/experiments/{whole}/bias-variance").json()
    assert (report["items"], "two parts" in report["reason"]) == (None, True)
    experiment = create(client, DOCUMENT | {"seeds": [1], "parts": 2})["id"]
    mistakes = client.get(f"/v1/experiments/{experiment}/mistakes").json()
    assert (mistakes["items"], "each part has models of its own" in mistakes["reason"]) == ([], True)
    finish_with_predictions(client, database, database_settings, experiment, skip=1)
    report = client.get(f"/v1/experiments/{experiment}/bias-variance").json()
    assert sorted(item["seeds"] for item in report["items"]) == [0, 1]
    unfinished = next(item for item in report["items"] if not item["seeds"])
    assert (unfinished["cross_entropy"], "no seed has finished" in unfinished["reason"]) == (None, True)
    assert "for these parts" in report["intervals"]
    # One variant alone cannot be compared with anything.
    assert (report["answers"], report["headline"], report["differences"]) == ([], None, [])


def test_other_test_images_are_not_compared(
    client: httpx.Client, database: Database, database_settings: Settings
) -> None:
    experiment = create(client, DOCUMENT | {"seeds": [1], "parts": 2})["id"]
    mistakes = client.get(f"/v1/experiments/{experiment}/mistakes").json()
    assert (mistakes["items"], "each part has models of its own" in mistakes["reason"]) == ([], True)
    finish_with_predictions(client, database, database_settings, experiment)
    names = [variant["name"] for variant in DOCUMENT["variants"]]
    items = client.get("/v1/jobs", params={"experiment": experiment, "limit": 100}).json()["items"]
    store = ArtifactStore(database_settings)
    for job in items:
        if job["variant"] == names[1]:
            logs = np.log(np.float32([[0.98, 0.01, 0.01]] * 5))
            path = f"jobs/{job['id']}/1/test_predictions.npz"
            digest = store.put(path, TestPredictions(logs, np.zeros(5, np.int32)).to_bytes())
            with database.write() as session:
                session.execute(
                    update(Result).where(Result.job_id == job["id"]).values(predictions_sha256=digest)
                )
    report = client.get(f"/v1/experiments/{experiment}/bias-variance").json()
    assert report["items"][1]["cross_entropy"]["mean_loss"]["value"] < 0.1
    assert names[1] not in [one["variant"] for one in report["differences"]]
    assert f"lowest with {names[1]}" not in (report["headline"] or "")
