"""What happens to a batch before the network sees it: images moved and bent, pairs of examples mixed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.special import betaincinv

from models.spec import SIDE, JobSpec
from models.techniques.inputs import Augmentation
from worker.techniques.randomness import HashedStream, StepClock

_ELASTIC_SMOOTHNESS = 4.0  # pixels: sigma of Simard, Steinkraus and Platt (2003)
_AFFINE_DRAWS = 4  # shift across, shift down, angle, zoom
_QUANTILES = 4_096


@dataclass(frozen=True)
class Targets:
    """Labels (n,) of a batch; where examples are mixed, also their partners' and each label's share."""

    labels: Any
    partners: Any = None
    share: Any = None

    @property
    def dominant(self) -> Any:
        """The label (n,) that has the larger part of each image."""
        return (
            self.labels if self.partners is None else tf.where(self.share >= 0.5, self.labels, self.partners)
        )


class Inputs:
    """A step's own versions of its images.

    Numbers are variables; a technique that is off is not in the program.
    """

    def __init__(self, spec: JobSpec, clock: StepClock) -> None:
        regularization = spec.regularization
        augmentation = regularization.augmentation if "augmentation" in regularization.active else None
        self._warp = Warp(clock, elastic=bool(augmentation.elastic)) if augmentation else None
        self._mixup = Mixup(clock) if "mixup" in regularization.active else None

    def configure(self, spec: JobSpec) -> None:
        """Set the job's own numbers."""
        regularization = spec.regularization
        if self._warp and regularization.augmentation:
            self._warp.configure(regularization.augmentation, spec.seed)
        if self._mixup and regularization.mixup:
            self._mixup.configure(regularization.mixup.alpha, spec.seed)

    def prepare(self, images: Any, labels: Any) -> tuple[Any, Targets]:
        """Images (n, 784) and their targets, as the network is to see them in this step."""
        if self._warp:
            images = self._warp.apply(images)
        return self._mixup.apply(images, labels) if self._mixup else (images, Targets(labels))


class Warp:
    """Shift, rotation, zoom and elastic distortion of each image, by bilinear interpolation; outside is 0."""

    def __init__(self, clock: StepClock, *, elastic: bool) -> None:
        self._affine = HashedStream(clock, "augmentation/affine")
        self._bends = HashedStream(clock, "augmentation/elastic") if elastic else None
        self._amounts = tf.Variable(tf.zeros([_AFFINE_DRAWS]), trainable=False)
        self._alpha = tf.Variable(0.0, trainable=False)

    def configure(self, augmentation: Augmentation, job_seed: int) -> None:
        """Set the job's own amounts and seed."""
        shift, turn = augmentation.shift, float(np.deg2rad(augmentation.rotation))
        self._amounts.assign([shift, shift, turn, augmentation.zoom])
        self._affine.configure(job_seed)
        self._alpha.assign(augmentation.elastic)
        if self._bends:
            self._bends.configure(job_seed)

    def apply(self, images: Any) -> Any:
        """Images (n, 784), each moved and bent in its own way."""
        count = tf.shape(images)[0]
        draws = tf.reshape(self._affine.draw_uniform(count * _AFFINE_DRAWS), [count, _AFFINE_DRAWS, 1])
        across, down, angle, zoom = tf.unstack((2.0 * draws - 1.0) * self._amounts[:, None], axis=1)
        # For each pixel of the new image, the place in the old one that it shows.
        rows, columns = (tf.constant(axis, tf.float32) for axis in _CENTRED)
        cosine, sine, scale = tf.cos(angle), tf.sin(angle), 1.0 / (1.0 + zoom)
        from_rows = scale * (cosine * rows + sine * columns) + _MIDDLE - down
        from_columns = scale * (cosine * columns - sine * rows) + _MIDDLE - across
        if self._bends:
            down, across = tf.unstack(self.draw_displacements(self._bends, count))
            from_rows, from_columns = from_rows + down, from_columns + across
        return sample_bilinear(images, from_rows, from_columns)

    def draw_displacements(self, stream: HashedStream, count: Any) -> Any:
        """Elastic displacements (2, n, 784) in pixels: uniform noise, smoothed, times alpha."""
        noise = 2.0 * stream.draw_uniform(2 * count * SIDE * SIDE) - 1.0
        for _ in range(2):  # smoothed along rows, then, transposed, along columns
            lines = tf.matmul(tf.reshape(noise, [-1, SIDE]), tf.constant(_SMOOTHING))
            noise = tf.transpose(tf.reshape(lines, [-1, SIDE, SIDE]), [0, 2, 1])
        return self._alpha * tf.reshape(noise, [2, count, SIDE * SIDE])


def sample_bilinear(images: Any, rows: Any, columns: Any) -> Any:
    """The values (n, places) of images (n, 784) at places (n, places) between pixels; outside is 0."""
    # A margin of zeros, so that every place beyond the edge has four neighbours too.
    margin = tf.pad(tf.reshape(images, [-1, SIDE, SIDE]), [[0, 0], [1, 2], [1, 2]])
    width = SIDE + 3
    flat = tf.reshape(margin, [-1, width * width])
    top, below = _between(rows)
    left, right = _between(columns)
    corner = tf.cast(top, tf.int32) * width + tf.cast(left, tf.int32)
    value = tf.zeros_like(rows)
    for step_down, share_down in ((0, 1.0 - below), (width, below)):
        for step_right, share_right in ((0, 1.0 - right), (1, right)):
            neighbours = tf.gather(flat, corner + step_down + step_right, batch_dims=1)
            value += share_down * share_right * neighbours
    return value


def _between(places: Any) -> tuple[Any, Any]:
    """The pixel of the margined image before each place, and how far beyond it the place lies, 0 to 1."""
    shifted = tf.clip_by_value(places, -1.0, float(SIDE)) + 1.0
    before = tf.floor(shifted)
    return before, shifted - before


class Mixup:
    """Each example mixed with its neighbour in the batch, in the same proportion for a whole step."""

    def __init__(self, clock: StepClock) -> None:
        self._stream = HashedStream(clock, "mixup")
        # Beta's quantiles, configured for each job: drawing from them needs no loop of trials.
        self._shares = tf.Variable(tf.zeros([_QUANTILES]), trainable=False)

    def configure(self, alpha: float, job_seed: int) -> None:
        """Set the job's own distribution and seed."""
        middles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
        self._shares.assign(betaincinv(alpha, alpha, middles).astype(np.float32))
        self._stream.configure(job_seed)

    def apply(self, images: Any, labels: Any) -> tuple[Any, Targets]:
        """Images (n, 784) mixed, and both their labels with the share of the first."""
        drawn = tf.cast(self._stream.draw_uniform(1) * _QUANTILES, tf.int32)
        share = tf.gather(self._shares, drawn)[0]  # indexing the variable would cost more than the step
        # The batch is in random order, so that the neighbour is a random partner.
        partners = tf.roll(images, 1, axis=0)
        return share * images + (1.0 - share) * partners, Targets(labels, tf.roll(labels, 1, axis=0), share)


_MIDDLE = (SIDE - 1) / 2
_CENTRED: NDArray[np.float32] = (np.indices((SIDE, SIDE)).reshape(2, 1, -1) - _MIDDLE).astype(np.float32)
# Matrix (28, 28) whose product with a line is the line convolved with a normal density.
_DISTANCES = (np.arange(SIDE)[:, None] - np.arange(SIDE)[None, :]) / _ELASTIC_SMOOTHNESS
_SMOOTHING: NDArray[np.float32] = (
    np.exp(-(_DISTANCES**2) / 2) / (_ELASTIC_SMOOTHNESS * np.sqrt(2 * np.pi))
).astype(np.float32)
