"""Damaged test images: seeded, severer by steps, and worth telling apart."""

import numpy as np
import pytest

from models.dataset_arrays import Dataset
from models.records import CORRUPTIONS, SEVERITIES
from worker.corruptions import corrupt


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_each_severity_damages_the_same_images_more(mnist_5k: Dataset, kind: str) -> None:
    images = mnist_5k.test.images[:200]
    assert corrupt(images, kind, 0) is images
    damaged = [corrupt(images, kind, severity) for severity in range(1, SEVERITIES + 1)]
    changes = [np.abs(item.astype(int) - images).mean() for item in damaged]
    assert changes[0] > 0
    assert changes == sorted(changes)
    assert len(set(changes)) == SEVERITIES
    assert damaged[2].dtype == np.uint8
    assert damaged[2].shape == images.shape
    assert np.array_equal(corrupt(images, kind, 3), damaged[2])


def test_there_are_twelve_kinds_that_differ(mnist_5k: Dataset) -> None:
    images = mnist_5k.test.images[:50]
    assert len({corrupt(images, kind, 3).tobytes() for kind in CORRUPTIONS}) == len(CORRUPTIONS) == 12


def test_a_shift_moves_the_ink_and_a_blur_keeps_it(mnist_5k: Dataset) -> None:
    images = mnist_5k.test.images[:100].astype(float)
    blurred = corrupt(mnist_5k.test.images[:100], "blur", 3).astype(float)
    assert blurred.sum() == pytest.approx(images.sum(), rel=0.02)

    def find_middles(pixels: np.ndarray) -> np.ndarray:
        squares, places = pixels.reshape(-1, 28, 28), np.arange(28)
        weights = squares.sum(axis=(1, 2))
        rows, columns = squares.sum(axis=2) @ places / weights, squares.sum(axis=1) @ places / weights
        return np.stack([rows, columns])

    shifted = corrupt(mnist_5k.test.images[:100], "shift", 4).astype(float)
    distances = np.hypot(*(find_middles(shifted) - find_middles(images)))
    assert np.median(distances) == pytest.approx(4, abs=0.2)
