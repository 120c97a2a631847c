"""The map of memorized images over HTTP: what is compared with what, and when there is none."""

from typing import Any

import httpx
import numpy as np
import pytest

from models.artifacts import ArtifactStore
from models.memorization import ModelAnswers, build_map
from models.settings import Settings
from models.store.database import Database
from models.test_predictions import TestPredictions, TrainingAnswers
from tests.factories import finish_job, result_record
from tests.integration.api.conftest import over_sqlite
from tests.integration.api.experiments.test_routes import DOCUMENT, create

pytestmark = over_sqlite

IMAGES = 4000
BASE = DOCUMENT["base"] | {"evaluation": {"memorization": True}}
ASKED = DOCUMENT | {"base": BASE, "seeds": list(range(10))}


def draw_seen(seed: int, part: int | None = None) -> np.ndarray:
    """Two thirds of the images, or those of one of three parts, drawn by the seed."""
    drawn = np.random.default_rng(seed).permutation(np.arange(IMAGES) % 3)
    return drawn < 2 if part is None else drawn == part


def draw_answers(seed: int, part: int | None, variant: str) -> TrainingAnswers:
    """The first hundred images are right where they were seen; with dropout only the first fifty."""
    seen = draw_seen(seed, part)
    correct = np.random.default_rng(seed + 1000).random(IMAGES) < 0.95
    memorized = 100 if variant == "none" else 50
    correct[:memorized] = seen[:memorized]
    return TrainingAnswers(seen, correct)


def finish(
    client: httpx.Client, database: Database, settings: Settings, experiment: str, **change: Any
) -> dict[tuple[str, int, int | None], TrainingAnswers]:
    """End all runs of an experiment; returns their answers. `change`: another seed to draw with, or none."""
    items = client.get("/v1/jobs", params={"experiment": experiment, "limit": 100}).json()["items"]
    stored = {}
    for job in items:
        seed = job["spec"]["seed"]
        answers = None
        if change.get("stored", True):
            answers = draw_answers(change.get("drawn_by", seed), job["part"], job["variant"])
            stored[job["variant"], seed, job["part"]] = answers
        path = f"jobs/{job['id']}/1/test_predictions.npz"
        logs = np.log(np.float32([[0.1] * 10]))
        predictions = TestPredictions(logs, np.zeros(1, np.int32), answers)
        digest = ArtifactStore(settings).put(path, predictions.to_bytes())
        result = result_record(predictions_path=path, predictions_sha256=digest)
        finish_job(database, job["id"], result=result)
    return stored


def read_map(client: httpx.Client, experiment: str, **query: Any) -> dict[str, Any]:
    answer = client.get(f"/v1/experiments/{experiment}/memorization", params=query)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_each_variant_has_a_map_and_its_difference_from_the_baseline(
    client: httpx.Client, database: Database, database_settings: Settings
) -> None:
    experiment = create(client, ASKED)["id"]
    stored = finish(client, database, database_settings, experiment)
    answer = read_map(client, experiment, limit=5)
    assert (answer["reason"], answer["baseline"], answer["fewest_models"]) == (None, "none", 4)
    none, dropout = answer["items"]
    chosen = [stored["none", seed, None] for seed in range(10)]
    expected = build_map(
        ModelAnswers(
            np.stack([one.seen for one in chosen]), np.stack([one.correct for one in chosen]), list(range(10))
        )
    )
    assert (none["models"], none["counted"]) == (10, len(expected.images))
    assert none["mean"]["value"] == pytest.approx(expected.estimates.mean())
    assert none["mean"]["low"] < none["mean"]["value"] < none["mean"]["high"]
    assert none["memorized"] == expected.memorized.sum()
    assert none["large_share_by_chance"] < none["large_share"]
    assert sum(item["images"] for item in none["histogram"]) == none["counted"]
    first = none["images"][0]
    assert (first["estimate"], first["accuracy_in"], first["accuracy_out"]) == (1, 1, 0)
    assert (first["memorized"], first["index"] < 100, len(none["images"])) == (True, True, 5)
    assert first["models_in"] + first["models_out"] == 10
    assert 0 < first["low"] < first["estimate"] == first["high"]
    assert first["caption"] == f"{first['label']}: 100 / 0 %"
    assert first["picture"].startswith("data:image/png;base64,")
    assert (none["difference"], dropout["point"]) == (None, None)
    # Fifty images of all are memorized less.
    assert dropout["difference"]["high"] < 0
    assert dropout["difference"]["value"] == pytest.approx(dropout["mean"]["value"] - none["mean"]["value"])
    assert "Mean estimate minus that of none: -0.0" in dropout["text"]
    other = read_map(client, experiment, baseline="dropout")
    assert other["items"][0]["difference"]["low"] > 0
    report = client.get(f"/v1/experiments/{experiment}/report", params={"format": "html"}).text
    assert "<h2>Memorized training images</h2>" in report
    assert first["picture"] in report


def test_parts_and_seeds_make_models_of_one_map(
    client: httpx.Client, database: Database, database_settings: Settings
) -> None:
    experiment = create(client, ASKED | {"seeds": list(range(5)), "parts": 3})["id"]
    finish(client, database, database_settings, experiment)
    none, _ = read_map(client, experiment, limit=1)["items"]
    assert (none["models"], none["reason"]) == (15, None)
    # Each image is in one part of each seed.
    first = none["images"][0]
    assert (none["counted"], first["models_in"], first["models_out"]) == (IMAGES, 5, 10)


def test_each_point_of_an_axis_has_a_map_of_its_own(
    client: httpx.Client, database: Database, database_settings: Settings
) -> None:
    axes = [{"field": "/training/epochs", "values": [3, 2]}]
    experiment = create(client, ASKED | {"seeds": list(range(8)), "axes": axes})["id"]
    finish(client, database, database_settings, experiment)
    items = read_map(client, experiment)["items"]
    assert [(item["variant"], item["point"]["/training/epochs"]) for item in items] == [
        ("none", 2),
        ("none", 3),
        ("dropout", 2),
        ("dropout", 3),
    ]
    assert {item["models"] for item in items} == {8}
    assert [item["difference"] is None for item in items] == [True, True, False, False]


@pytest.mark.parametrize(
    ("document", "change", "reason"),
    [
        (DOCUMENT, {}, "trained without `evaluation.memorization`"),
        (ASKED, {"stored": False}, "removed with their files"),
        (ASKED, {"drawn_by": 0}, "10 models have seen only 1 different set"),
        (ASKED | {"seeds": list(range(5))}, {}, "of its 5 models no image has 4 that saw it"),
    ],
    ids=["not asked", "removed", "shared", "few"],
)
def test_without_a_map_there_is_a_reason(
    client: httpx.Client,
    database: Database,
    database_settings: Settings,
    document: dict[str, Any],
    change: dict[str, Any],
    reason: str,
) -> None:
    experiment = create(client, document)["id"]
    finish(client, database, database_settings, experiment, **change)
    answer = read_map(client, experiment)
    assert reason in answer["reason"]
    assert all(reason in item["reason"] and item["mean"] is None for item in answer["items"])
    report = client.get(f"/v1/experiments/{experiment}/report").json()
    assert report["memorization"] == []


def test_a_map_of_an_experiment_that_has_not_begun_says_so(client: httpx.Client) -> None:
    answer = read_map(client, create(client, ASKED)["id"])
    assert answer["reason"] == "There is no map: none of its jobs has finished."
    refused = client.get(f"/v1/experiments/{create(client, ASKED)['id']}/memorization?limit=101")
    assert refused.status_code == 422


def test_a_variant_that_does_not_ask_has_no_map_and_no_difference(
    client: httpx.Client, database: Database, database_settings: Settings
) -> None:
    asking = {"name": "asked", "changes": {"evaluation": {"memorization": True}}}
    document = DOCUMENT | {"variants": [{"name": "none"}, asking], "seeds": list(range(10))}
    experiment = create(client, document | {"allow_confounders": True})["id"]
    finish(client, database, database_settings, experiment)
    answer = read_map(client, experiment)
    none, asked = answer["items"]
    assert answer["reason"] is None
    assert (none["mean"], "trained without" in none["reason"]) == (None, True)
    assert (asked["reason"], asked["difference"]) == (None, None)
    assert asked["mean"]["value"] > 0


def test_label_noise_is_refused_beside_it(client: httpx.Client) -> None:
    noisy = BASE | {"dataset": {"name": "mnist_5k", "label_noise": 0.2}}
    refused = client.post("/v1/experiments", json=ASKED | {"base": noisy})
    assert refused.status_code == 422
    assert "labels of its own" in refused.text
