"""Test images as they might come in practice: twelve kinds of damage in five severities.

After Mu and Gilmer, MNIST-C: A Robustness Benchmark for Computer Vision (2019), in code of our own. A kind
draws what is random once for each image, and scales it by severity, so that a severer image is the same one
damaged more. All models see the same images: their accuracies are paired.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.dataset_arrays import Bytes
from models.records import CORRUPTIONS, SEVERITIES
from models.spec import SIDE

Floats = NDArray[np.floating[Any]]
Random = np.random.Generator

_SEED = 2019
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Of motion: rows and columns a step."""
_BLOCK = 1_000
"""Images that are damaged at once: a warp holds some twenty numbers a pixel."""


def corrupt(images: Bytes, kind: str, severity: int) -> Bytes:
    """The images (n, 784), 0 to 255, damaged; severity 0 leaves them as they are."""
    if not severity:
        return images
    index = list(CORRUPTIONS).index(kind)
    damage = _DAMAGES[kind]
    damaged = np.empty_like(images)
    for block in range(0, len(images), _BLOCK):
        part = images[block : block + _BLOCK].reshape(-1, SIDE, SIDE) / np.float32(255)
        # The block's draws do not depend on the severity.
        random = np.random.default_rng([_SEED, index, block])
        result = np.clip(damage(part, severity / SEVERITIES, random), 0, 1)
        damaged[block : block + _BLOCK] = np.rint(255 * result).reshape(len(part), -1)
    return damaged


def _warp(images: Floats, rows: Floats, columns: Floats) -> Floats:
    """Each output pixel taken from that place (n, 28, 28) of its image, bilinearly; black outside."""
    padded = np.pad(images, [(0, 0), (1, 2), (1, 2)])
    rows, columns = np.clip(rows + np.float32(1), 0, SIDE + 1), np.clip(columns + np.float32(1), 0, SIDE + 1)
    top, left = np.floor(rows), np.floor(columns)
    below, right = rows - top, columns - left
    width = SIDE + 3
    first = np.arange(len(images))[:, None, None] * width**2 + (top * width + left).astype(np.int64)
    pixels = padded.ravel()
    upper = pixels[first] * (1 - right) + pixels[first + 1] * right
    lower = pixels[first + width] * (1 - right) + pixels[first + width + 1] * right
    warped: Floats = upper * (1 - below) + lower * below
    return warped


def _transform(images: Floats, matrices: NDArray[Any], offsets: NDArray[Any] | None = None) -> Floats:
    """Affine maps (n, 2, 2) about the centre and offsets (n, 2), from output pixels to input pixels."""
    middle = (SIDE - 1) / 2
    grid = (np.stack(np.meshgrid(*2 * [np.arange(SIDE)], indexing="ij")) - middle).astype(np.float32)
    places = np.einsum("nij,jrc->inrc", matrices.astype(np.float32), grid) + np.float32(middle)
    if offsets is not None:
        places += offsets.T.astype(np.float32)[:, :, None, None]
    return _warp(images, places[0], places[1])


def _draw_signs(images: Floats, random: Random) -> Floats:
    return random.choice(np.array([-1, 1], np.float32), len(images))


def shift(images: Floats, strength: float, random: Random) -> Floats:
    """By up to 5 pixels in any direction."""
    angles = random.uniform(0, 2 * np.pi, len(images))
    offsets = 5 * strength * np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    return _transform(images, np.tile(np.eye(2, dtype=np.float32), (len(images), 1, 1)), offsets)


def rotate(images: Floats, strength: float, random: Random) -> Floats:
    """By up to 50 degrees to either side."""
    angles = np.deg2rad(50 * strength) * _draw_signs(images, random)
    cosines, sines = np.cos(angles), np.sin(angles)
    return _transform(images, np.moveaxis(np.array([[cosines, -sines], [sines, cosines]]), -1, 0))


def scale(images: Floats, strength: float, random: Random) -> Floats:
    """Down to half of its size."""
    return _transform(images, np.tile(np.eye(2) / (1 - strength / 2), (len(images), 1, 1)))


def shear(images: Floats, strength: float, random: Random) -> Floats:
    """By up to 0.8 of a pixel a row, to either side."""
    matrices = np.tile(np.eye(2), (len(images), 1, 1))
    matrices[:, 1, 0] = 0.8 * strength * _draw_signs(images, random)
    return _transform(images, matrices)


def add_shot_noise(images: Floats, strength: float, random: Random) -> Floats:
    """Light counted in fewer and fewer photons, of which some fall on the background."""
    brightness = 60 / (1 + 24 * strength)
    counts: Floats = random.poisson((0.9 * images + 0.1 * strength) * brightness) / np.float32(brightness)
    return counts


def add_impulse_noise(images: Floats, strength: float, random: Random) -> Floats:
    """Up to 30 % of the pixels black or white."""
    draws, white = random.random(images.shape), random.random(images.shape) < 0.5
    return np.where(draws < 0.3 * strength, white, images).astype(np.float32)


def blur(images: Floats, strength: float, random: Random) -> Floats:
    """By a Gaussian with a standard deviation of up to 2 pixels."""
    taps = np.arange(-6, 7)
    kernel = np.exp(-0.5 * (taps / (2 * strength)) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for axis in (1, 2):
        padded = np.pad(images, [(0, 0), *((6, 6) if axis == side else (0, 0) for side in (1, 2))])
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(taps), axis=axis)
        images = windows @ kernel
    return images


def blur_by_motion(images: Floats, strength: float, random: Random) -> Floats:
    """Along a line of 3 to 11 pixels in one of four directions."""
    reach = round(SEVERITIES * strength)
    padded = np.pad(images, [(0, 0), (reach, reach), (reach, reach)])
    drawn = random.integers(0, len(_DIRECTIONS), len(images))
    blurred = np.empty_like(images)
    for index, (down, across) in enumerate(_DIRECTIONS):
        chosen = drawn == index
        moved = [
            padded[chosen, reach + step * down :, reach + step * across :][:, :SIDE, :SIDE]
            for step in range(-reach, reach + 1)
        ]
        blurred[chosen] = np.mean(moved, axis=0)
    return blurred


def brighten(images: Floats, strength: float, random: Random) -> Floats:
    """The background up to 0.6 brighter."""
    return images + np.float32(0.6 * strength)


def invert_stripe(images: Floats, strength: float, random: Random) -> Floats:
    """Up to ten columns in the middle in negative."""
    left = random.integers(6, 13, len(images))[:, None, None]
    columns = np.arange(SIDE)[None, None, :]
    return np.where((columns >= left) & (columns < left + 10 * strength), 1 - images, images)


def occlude(images: Floats, strength: float, random: Random) -> Floats:
    """A black square of up to 14 pixels at a place near the middle."""
    half = 7 * strength
    centres = random.uniform(9, 19, (2, len(images), 1, 1))
    places = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")
    hidden = (np.abs(places[0] - centres[0]) <= half) & (np.abs(places[1] - centres[1]) <= half)
    return np.where(hidden, np.float32(0), images)


def deform(images: Floats, strength: float, random: Random) -> Floats:
    """Elastically, after Simard, Steinkraus and Platt (2003): each pixel by up to some 4 pixels."""
    # A smooth field: four by four random displacements, interpolated by raised cosines.
    knots = random.uniform(-4, 4, (2, len(images), 4, 4)).astype(np.float32) * strength
    places = np.linspace(0, 3, SIDE)
    weights = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(4)))
    weights = (1 - np.cos(np.pi * weights)) / 2
    field = np.einsum("ra,dnab,cb->dnrc", weights, knots, weights)
    rows, columns = np.meshgrid(*2 * [np.arange(SIDE, dtype=np.float32)], indexing="ij")
    return _warp(images, rows + field[0].astype(np.float32), columns + field[1].astype(np.float32))


_DAMAGES: dict[str, Callable[[Floats, float, Random], Floats]] = {
    "shift": shift,
    "rotate": rotate,
    "scale": scale,
    "shear": shear,
    "shot_noise": add_shot_noise,
    "impulse_noise": add_impulse_noise,
    "blur": blur,
    "motion_blur": blur_by_motion,
    "brightness": brighten,
    "stripe": invert_stripe,
    "occlusion": occlude,
    "elastic": deform,
}
