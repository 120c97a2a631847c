"""Images that a variant gets right and the baseline not, from real files."""

import numpy as np
import pytest

from api.reports import html
from api.reports.ensembles import build_ensembles
from api.reports.mistakes import build_mistakes
from models.artifacts import ArtifactStore
from models.dataset_arrays import load
from models.settings import Settings
from models.store.tables import Job
from models.test_predictions import TestPredictions
from tests import comparisons
from tests.unit.api.reports.test_comparison import job

LABELS = np.array([0, 1, 1, 0], np.int32)


def predicted(store: ArtifactStore, name: str, seed: int, of_truth: list[float]) -> Job:
    """A job that gives the true class of each image this probability, of two."""
    truth = np.array(of_truth)
    probabilities = np.where(LABELS[:, None] == [0, 1], truth[:, None], 1 - truth[:, None])
    predictions = TestPredictions(np.log(probabilities).astype(np.float32), LABELS)
    made = job(name, seed, 0.9)
    assert made.result is not None
    made.result.predictions_path = f"jobs/{made.id}/1/test_predictions.npz"
    made.result.predictions_sha256 = store.put(made.result.predictions_path, predictions.to_bytes())
    return made


def test_ensembles_are_of_the_seeds_with_stored_predictions(settings: Settings) -> None:
    store = ArtifactStore(settings)
    variants = {
        "none": [predicted(store, "none", seed, [0.9, 0.1, 0.4, 0.6 + 0.1 * seed]) for seed in (2, 0)],
        "alone": [predicted(store, "alone", 0, [0.9, 0.9, 0.9, 0.9]), job("alone", 1, 0.9)],
        "lost": [job("lost", 0, 0.9)],
    }
    (item,) = build_ensembles(variants, store)
    assert (item.variant, item.seeds, [size.members for size in item.sizes]) == ("none", [0, 2], [1, 2])
    assert item.sizes[1].accuracy == 0.5
    expected = -np.log([0.9, 0.1, 0.4, 0.7]).mean()
    assert item.sizes[1].loss == pytest.approx(expected, rel=1e-6)


def test_the_nearest_mistakes_come_first_and_are_drawn(settings: Settings) -> None:
    store = ArtifactStore(settings)
    variants = {
        "none": [predicted(store, "none", seed, [0.9, 0.1, 0.4, 0.6]) for seed in (0, 1, 2)],
        # Its third seed is not there: pairs are of the other two.
        "dropout": [predicted(store, "dropout", seed, [0.8, 0.7, 0.7, 0.3]) for seed in (0, 1)],
        "lost": [job("lost", 0, 0.9)],
    }
    baselines = dict.fromkeys(variants, "none")
    (item,) = build_mistakes(variants, baselines, store, settings)
    assert (item.variant, item.baseline, item.seeds) == ("dropout", "none", 2)
    assert (item.only_variant, item.only_baseline) == (2, 1)
    assert [(image.index, image.label, image.answer) for image in item.images] == [(2, 1, 0), (1, 1, 0)]
    assert item.images[0].margin == pytest.approx(np.log(0.6 / 0.4), rel=1e-5)
    assert (item.images[0].variant_right, item.images[0].baseline_right) == (1, 0)
    picture = item.images[0].picture
    assert picture is not None
    assert picture.startswith("data:image/png;base64,")
    assert load("mnist_5k", settings).test_images[2].any()
    alone = item.model_copy(update={"seeds": 1})
    page = html.render(comparisons.full().model_copy(update={"mistakes": [item, alone]}))
    assert "Images that only dropout gets right: 2; that only none gets right: 1 (2 seeds)." in page
    assert "gets right: 1 (1 seed)." in page
    assert page.count(picture) == 2
    assert "1, not 0" in page
    (first,) = build_mistakes(variants, baselines, store, settings, limit=1)
    assert [image.index for image in first.images] == [2]
