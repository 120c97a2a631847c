"""Slow: the map of memorized images; wrong labels, planted in an uploaded dataset, are at its top."""

import io
from base64 import b64decode
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.dataset_arrays import load
from models.settings import Settings
from models.store.database import Database
from tests.applications import application
from tests.integration.api.conftest import TestClient, over_sqlite
from tests.integration.api.experiments.test_routes import create
from tests.unit.api.datasets.forms import npz_bytes
from worker.program import ProgramCache
from worker.runner import Runner

pytestmark = pytest.mark.slow

WRONG = 24


def decode(picture: str) -> bytes:
    """The pixels of an image that is drawn dark on white."""
    content = b64decode(picture.partition(",")[2])
    return (255 - np.asarray(Image.open(io.BytesIO(content)))).astype(np.uint8).tobytes()


@over_sqlite
def test_wrong_labels_are_at_the_top_of_the_map(
    database: Database, database_settings: Settings, programs: ProgramCache
) -> None:
    real = load("mnist_5k", database_settings)
    # Zeros and ones, which a network tells apart: what it gets wrong unseen are the wrong labels.
    rows, test_rows = (np.flatnonzero(of < 2) for of in (real.train_labels, real.test_labels))
    images, labels = real.train_images[rows], real.train_labels[rows]
    labels[:WRONG] = 1 - labels[:WRONG]
    content = npz_bytes(
        x_train=images, y_train=labels, x_test=real.test_images[test_rows], y_test=real.test_labels[test_rows]
    )
    base: dict[str, Any] = {
        "dataset": {"name": "planted", "train_samples": 400, "validation_fraction": 0.0},
        "model": {"hidden_units": [128]},
        "training": {"epochs": 30, "batch_size": 20, "optimizer": {"learning_rate": 0.003}},
        "evaluation": {"memorization": True},
    }
    document = {"name": "planted", "base": base, "variants": [{"name": "none"}], "replicates": 10}
    runner = Runner(database_settings)
    runner._programs = programs
    with TestClient(application(database_settings)) as client:
        files = {"files": ("planted.npz", content)}
        assert client.post("/v1/datasets", data={"name": "planted"}, files=files).status_code == 201
        experiment = create(client, document)["id"]
        while runner.run_next():
            pass
        address = f"/v1/experiments/{experiment}"
        answer = client.get(f"{address}/memorization?limit=100").json()
        report = client.get(f"{address}/report").json()
    runner.close()
    (item,) = answer["items"]
    assert (answer["reason"], item["reason"], item["models"]) == (None, None, 10)
    # The service has put the images into an order of its own.
    wrong = {image.tobytes() for image in images[:WRONG]}
    is_wrong = [decode(image["picture"]) in wrong for image in item["images"]]
    # Those with four models on either side, as far as the models have learned them.
    planted = [image for image, planted in zip(item["images"], is_wrong, strict=True) if planted]
    assert (len(planted) >= 10, sum(is_wrong[:10]) >= 9) == (True, True)
    assert np.mean([image["estimate"] for image in planted]) > 0.6
    assert np.mean([image["memorized"] for image in planted]) > 0.5
    others = item["counted"] * item["mean"]["value"] - sum(image["estimate"] for image in planted)
    assert others / (item["counted"] - len(planted)) < 0.1
    assert item["memorized"] < 2 * len(planted)
    # It has the label that is in the file.
    of_image = {image.tobytes(): int(label) for image, label in zip(images, labels, strict=True)}
    assert all(image["label"] == of_image[decode(image["picture"])] for image in item["images"])
    assert report["memorization"] == [item | {"images": item["images"][:8]}]
