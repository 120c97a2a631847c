"""Digits in photographs and scans are read as well as on a clean page, and a page without one is refused."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from api.predictions.image_files import Treatment, read_images
from models.errors import InvalidSpec
from models.predictions import Choice
from tests.unit.api.predictions import digit_photos
from tests.unit.api.predictions.digit_photos import KINDS, Array, place_digit, write

QUICK = (
    "clean",
    "frame, 3 px",
    "lined, dark",
    "squared, dark",
    "dust, coarse",
    "shade, corners",
    "noise 25",
    "transparent, black ink",
    "transparent, white ink",
    "equal luminance",
)
MNIST = Path(os.environ.get("REGBENCH_DATA_DIR", ""), "mnist.npz")
needs_mnist = pytest.mark.skipif(not MNIST.is_file(), reason="needs mnist.npz in REGBENCH_DATA_DIR")


@pytest.fixture(scope="module")
def mnist() -> dict[str, Array]:
    with np.load(MNIST) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def classify(mnist: dict[str, Array]) -> Callable[[Array], Array]:
    """About 97 % of the test images right, as a small network has, without a training."""
    images = mnist["x_train"].reshape(-1, 784).astype(np.float32) / 255
    neighbours = KNeighborsClassifier(3, algorithm="brute").fit(images, mnist["y_train"])
    return lambda pictures: neighbours.predict(pictures.reshape(-1, 784))


@needs_mnist
@pytest.mark.parametrize("kind", QUICK)
def test_f2_the_first_digits_are_read_in_pictures_of_each_kind(
    mnist: dict[str, Array], classify: Callable[[Array], Array], kind: str
) -> None:
    assert share_read(kind, 12, mnist, classify) >= 0.9


@needs_mnist
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_f2_nine_of_ten_of_a_hundred_digits_are_read(
    mnist: dict[str, Array], classify: Callable[[Array], Array], kind: str
) -> None:
    assert share_read(kind, 100, mnist, classify) >= (0.97 if kind == "clean" else 0.9)


def share_read(kind: str, count: int, mnist: dict[str, Array], classify: Callable[[Array], Array]) -> float:
    files = [
        KINDS[kind](digit, np.random.default_rng(seed))
        for seed, digit in enumerate(mnist["x_test"][:count] / 255)
    ]
    # One by one, because of the limit of pixels in a request.
    images = [read_images([content], [""], Treatment())[0][0] for content in files]
    return float((classify(np.stack(images)) == mnist["y_test"][:count]).mean())


RNG = np.random.default_rng
EMPTY = np.ones((300, 400))


@pytest.mark.parametrize(
    "page",
    [
        EMPTY,
        EMPTY * 0,
        digit_photos.shade(EMPTY, 0.5),
        digit_photos.shade(EMPTY, 0.45, "corners"),
        digit_photos.add_noise(0.8 * EMPTY, RNG(0), 20),
        digit_photos.rule(EMPTY, RNG(0), 0.5, 2, gap=30),
        digit_photos.rule(EMPTY, RNG(0), 0.5, 1, gap=20, squared=True),
        digit_photos.frame(EMPTY, 3, 8),
        digit_photos.strew_dust(EMPTY, RNG(0), 40, 2),
    ],
    ids=["white", "black", "shade", "corners", "noise", "lined", "squared", "frame", "dust"],
)
def test_f3_a_page_without_a_digit_is_refused(page: Array) -> None:
    with pytest.raises(InvalidSpec) as refused:
        read_images([write(page)], ["/image/0"], Treatment())
    [error] = refused.value.errors
    assert error.pointer == "/image/0"
    assert "nothing is drawn" in error.detail


@pytest.mark.parametrize("invert", ["auto", "true", "false"])
def test_a_picture_of_any_size_and_colours_is_read_or_refused(invert: Choice) -> None:
    """Warnings are errors here: none of it divides by zero, not even dark ink on black."""
    random = RNG(3)
    for height, width in [(1, 1), (1, 40), (3, 1), (2, 5), (28, 28), (9, 120)]:
        noise = random.random((height, width))
        pages = [*(np.full((height, width), grey) for grey in (0, 1 / 255, 0.5, 1)), noise, noise.round()]
        for page in [*pages, np.where(noise < 0.05, 0, 1), np.where(noise < 0.05, 0.01, 0)]:
            try:
                [image], _ = read_images([write(page)], [""], Treatment(invert=invert, center="true"))
            except InvalidSpec:
                continue
            assert (image.shape, image.min() >= 0, image.max() <= 1) == ((28, 28), True, True)


def stroke() -> Array:
    """A bent stroke in a picture of 28x28."""
    digit = np.zeros((28, 28))
    digit[4:7, 8:20] = digit[4:24, 17:20] = 1
    return digit


def test_f2_what_is_doubtful_is_told() -> None:
    page = 1 - place_digit(stroke(), RNG(0), 150)
    twice = np.hstack([page, page])
    cut = page[:, : int(np.flatnonzero(page.min(axis=0) < 0.5).mean()) + 20]
    pictures = [page, twice, cut, 0.8 + 0.1 * page]
    _, warnings = read_images([write(picture) for picture in pictures], [""] * 4, Treatment())
    assert warnings[0] == []
    assert warnings[1] == ["several figures are drawn; only the largest was read"]
    assert warnings[2] == ["the digit touches the edge of the picture; a part of it may be missing"]
    assert warnings[3] == ["the digit has little contrast with the paper"]
