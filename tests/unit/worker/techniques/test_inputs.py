"""Augmentation and mixup on images whose answer is known."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage, stats

from models.dataset_arrays import Dataset
from models.spec import JobSpec
from tests.factories import job_spec
from worker.techniques.inputs import Inputs, Mixup, Warp, sample_bilinear
from worker.techniques.randomness import StepClock

NONE = {"shift": 0.0, "rotation": 0.0, "zoom": 0.0, "elastic": 0.0}


def spec_of(seed: int = 0, **amounts: float) -> JobSpec:
    return job_spec(regularization={"augmentation": NONE | amounts}, seed=seed)


def warp_images(images: np.ndarray, *, step: int = 0, seed: int = 0, **amounts: float) -> np.ndarray:
    """Images (n, 28, 28), moved and bent."""
    clock = StepClock()
    clock.step.assign(step)
    spec = spec_of(seed, **amounts)
    inputs = Inputs(spec, clock)
    inputs.configure(spec)
    flat = tf.constant(images.reshape(-1, 784), tf.float32)
    moved, _ = inputs.prepare(flat, tf.zeros([len(images)], tf.int32))
    return moved.numpy().reshape(-1, 28, 28)


@pytest.fixture
def digits(mnist_5k: Dataset) -> np.ndarray:
    return mnist_5k.train_images[:200] / np.float32(255)


def centres(images: np.ndarray) -> np.ndarray:
    """Centre of mass (n, 2) of each image, in pixels down and across."""
    return np.array([ndimage.center_of_mass(image) for image in images])


def test_between_pixels_values_are_interpolated_and_outside_is_black() -> None:
    image = np.zeros((1, 28, 28), np.float32)
    image[0, 3, 4], image[0, 27, 27] = 8.0, 4.0
    rows = tf.constant([[3.0, 3.25, 2.5, 27.5, 28.0, 90.0]])
    columns = tf.constant([[4.0, 4.0, 4.5, 27.0, 27.0, -90.0]])
    sampled = sample_bilinear(tf.constant(image.reshape(1, 784)), rows, columns)
    assert np.allclose(sampled, [[8.0, 6.0, 2.0, 2.0, 0.0, 0.0]])


def test_shift_moves_each_image_by_its_own_distance_within_the_bound(digits: np.ndarray) -> None:
    moves = centres(warp_images(digits, shift=2.0)) - centres(digits)
    assert np.abs(moves).max() <= 2.0 + 1e-3
    for axis in (0, 1):
        assert stats.kstest(moves[:, axis] / 4 + 0.5, "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(moves.T)[0, 1]) < 0.3


def test_rotation_turns_about_the_centre_and_by_the_angle() -> None:
    bar = np.zeros((500, 28, 28), np.float32)
    bar[:, 13:15, 4:24] = 1.0
    turned = warp_images(bar, rotation=20.0)
    angles = np.array([principal_angle(image) for image in turned])
    assert np.abs(angles).max() <= 20.5
    assert stats.kstest(angles / 40 + 0.5, "uniform").pvalue > 1e-4
    assert np.abs(centres(turned) - 13.5).max() < 0.05


def principal_angle(image: np.ndarray) -> float:
    """Degrees between an image's long axis and the horizontal."""
    rows, columns = np.indices((28, 28)) - 13.5
    down, across, both = ((image * part).sum() for part in (rows**2, columns**2, rows * columns))
    return float(np.rad2deg(0.5 * np.arctan2(2 * both, across - down)))


def test_zoom_scales_the_area() -> None:
    square = np.zeros((500, 28, 28), np.float32)
    square[:, 8:20, 8:20] = 1.0
    sides = np.sqrt(warp_images(square, zoom=0.3).sum(axis=(1, 2))) / 12
    assert 0.66 < sides.min() < 0.75
    assert 1.25 < sides.max() < 1.32


def test_elastic_displacements_are_smooth_and_as_long_as_simards() -> None:
    spec = spec_of(elastic=34.0)
    warp = Warp(StepClock(), elastic=True)
    assert spec.regularization.augmentation is not None
    warp.configure(spec.regularization.augmentation, 0)
    assert warp._bends is not None
    fields = warp.draw_displacements(warp._bends, tf.constant(100)).numpy().reshape(2, 100, 28, 28)
    noise = np.random.default_rng(0).uniform(-1, 1, size=(200, 28, 28))
    # The usual recipe: uniform noise under a normal filter of sigma 4, zeros beyond the edge.
    usual = np.array([34.0 * ndimage.gaussian_filter(one, 4.0, mode="constant", truncate=8) for one in noise])
    assert fields.std() == pytest.approx(usual.std(), rel=0.1)
    roughness = [np.abs(np.diff(field, axis=-1)).mean() / field.std() for field in (fields, usual)]
    assert roughness[0] == pytest.approx(roughness[1], rel=0.1)
    assert abs(np.corrcoef(fields[0].ravel(), fields[1].ravel())[0, 1]) < 0.1


def test_each_step_and_seed_has_its_own_displacements(digits: np.ndarray) -> None:
    once = warp_images(digits, shift=2.0, rotation=10.0)
    assert np.array_equal(once, warp_images(digits, shift=2.0, rotation=10.0))
    for other in (
        warp_images(digits, shift=2.0, rotation=10.0, step=1),
        warp_images(digits, shift=2.0, seed=1),
    ):
        assert np.abs(once - other).max() > 0.5


def test_mixup_mixes_images_and_labels_with_the_same_weight() -> None:
    images, labels = np.eye(5, 784, dtype=np.float32), np.arange(5, dtype=np.int32)
    images_seen, targets = mixup_of(alpha=1.0).apply(tf.constant(images), tf.constant(labels))
    mixed, share = images_seen.numpy(), float(targets.share)
    assert 0.05 < share < 0.95
    for row in range(5):
        assert mixed[row, labels[row]] == pytest.approx(share)
        assert mixed[row, targets.partners.numpy()[row]] == pytest.approx(1 - share)
    assert sorted(targets.partners.numpy()) == [0, 1, 2, 3, 4]
    assert (targets.partners.numpy() != labels).all()
    larger = labels if share >= 0.5 else targets.partners.numpy()
    assert np.array_equal(targets.dominant, larger)


@pytest.mark.parametrize("alpha", [0.2, 2.0])
def test_mixups_share_follows_the_beta_distribution(alpha: float) -> None:
    clock = StepClock()
    mixup = mixup_of(alpha, clock)
    shares = []
    for step in range(500):
        clock.step.assign(step)
        shares.append(float(mixup.apply(tf.zeros((2, 784)), tf.zeros([2], tf.int32))[1].share))
    assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 1e-4


def mixup_of(alpha: float, clock: StepClock | None = None) -> Mixup:
    mixup = Mixup(clock or StepClock())
    mixup.configure(alpha, 1)
    return mixup
