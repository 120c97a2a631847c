"""Find the handwritten digit in a picture, and bring it into the form of MNIST's images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Array = NDArray[Any]

SIDE = 28
_WORKING_SIDE = 192
"""The longer side, in pixels, at which a picture is searched; sizes below are for this one."""
_LEAST_CONTRAST = 0.06
"""Share of the whole range by which ink differs from paper."""
_SIGMAS = 6
"""Ink differs from paper by so many standard deviations of the paper's own noise."""
_SHADOW = 48
"""What is wider in every direction than this is shade or a dark background, not a pen's stroke."""
_GREY = 1.5
"""Sum of a colour direction above which it leads from dark to light, not from hue to hue; at most 1.73."""
_LINE_WIDTH = 6
_LINE_LENGTH = 0.75
"""Of a side: printed lines are longer, and a digit's strokes hardly ever."""
_LINE_DRIFT = 9
_LINE_SLOPES = np.linspace(-0.09, 0.09, 9)
_LEAST_SIZE = 6
"""A smaller figure is a speck."""
_ENOUGH, _DETAILED = 70, 0.8
"""A digit smaller than this is read from the original, unless that has hardly more pixels."""
_BOX = 20


class NothingDrawn(Exception):
    """The picture contains no ink."""

    def __str__(self) -> str:
        return "nothing is drawn, or it is too faint or too small to be distinguished from noise and dust"


def extract_digit(picture: Array, dark_ink: bool | None) -> tuple[Array, list[str]]:
    """The digit of a picture (height, width, 3), 0 to 1, as MNIST has it (28, 28), and warnings about it.

    `dark_ink`: whether the ink is darker than the paper; None: found out.
    """
    sides = (picture[0], picture[-1], picture[:, 0], picture[:, -1])
    paper = np.median(np.concatenate(sides), axis=0)
    shares = [(np.linalg.norm(side - paper, axis=1) < 0.1).mean() for side in sides]
    margin = 0
    if min(shares) > 0.25 and max(np.abs(np.diff(side, axis=0)).max(initial=0) for side in sides) > 0.15:
        # Something touches the edge: a digit that is cut out tightly, perhaps. Some paper around it.
        margin = max(1, round(0.08 * max(picture.shape)))
        picture = np.dstack([np.pad(picture[..., i], margin, constant_values=paper[i]) for i in range(3)])
    warnings: list[str] = []
    for is_crop in (False, True):
        height, width = picture.shape[:2]
        scale = _WORKING_SIDE / max(height, width)
        small = _resize(picture, (max(1, round(height * scale)), max(1, round(width * scale))))
        ink, noise = _measure_ink(small, dark_ink)
        ink = _remove_lines(ink)
        figure, doubts = _find_figure(ink, max(_LEAST_CONTRAST, _SIGMAS * noise))
        warnings += [doubt for doubt in doubts if doubt not in warnings]
        rows, columns = (np.flatnonzero(figure.any(axis)) for axis in (1, 0))
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        size = max(bottom - top, right - left)
        if not is_crop and min(top, left, len(ink) - bottom, len(ink[0]) - right) <= margin * scale:
            warnings.append("the digit touches the edge of the picture; a part of it may be missing")
        if is_crop or size >= _ENOUGH or scale > _DETAILED:
            break
        # A small digit: once more, from the picture's own pixels around it.
        reach = max(1.2 * size, 12)
        middle = np.array([top + bottom, left + right]) / 2
        low = np.maximum((middle - reach) / scale, 0).astype(int)
        high = np.ceil((middle + reach) / scale).astype(int)
        picture = picture[low[0] : high[0], low[1] : high[1]]
    return _shape(ink, figure), warnings


def _resize(picture: Array, shape: tuple[int, ...]) -> Array:
    size = (shape[1], shape[0])
    channels = (Image.fromarray(np.ascontiguousarray(channel)) for channel in np.moveaxis(picture, 2, 0))
    return np.dstack([np.asarray(channel.resize(size, Image.Resampling.BILINEAR)) for channel in channels])


def _measure_ink(picture: Array, dark_ink: bool | None) -> tuple[Array, float]:
    """How much each pixel differs from the paper around it, 0 to 1, and the noise's standard deviation."""
    # The paper under uneven light: a polynomial in x and y, fitted to what is no outlier.
    height, width = picture.shape[:2]
    coarse = _resize(picture, (max(1, height // 5), max(1, width // 5)))
    x, y = np.meshgrid(np.linspace(-1, 1, coarse.shape[1]), np.linspace(-1, 1, coarse.shape[0]))
    terms = np.stack([x**i * y**j for i in range(5) for j in range(5 - i)], axis=-1).reshape(x.size, -1)
    colours = coarse.reshape(-1, 3)
    border = np.concatenate([coarse[0], coarse[-1], coarse[:, 0], coarse[:, -1]])
    residuals = colours - np.median(border, axis=0)
    for _ in range(8):
        distance = np.linalg.norm(residuals, axis=1)
        paper = distance <= 2.5 * np.median(distance) + 0.01
        inliers = terms[paper]
        ridge = 1e-3 * np.eye(inliers.shape[1])
        coefficients = np.linalg.solve(inliers.T @ inliers + ridge, inliers.T @ colours[paper])
        residuals = colours - terms @ coefficients
    background = _resize((terms @ coefficients).astype(np.float32).reshape(coarse.shape), (height, width))
    difference = picture - background
    # The colour of ink against paper is the direction in which pixels differ most.
    direction = np.full(3, 1 / np.sqrt(3))
    if dark_ink is None:
        flat = difference.reshape(-1, 3)
        direction = np.linalg.eigh(flat.T @ flat)[1][:, -1]
    signed = ndimage.median_filter(difference @ direction / np.sqrt(3), 3)
    signed = ndimage.gaussian_filter(signed, 1)
    if dark_ink is None:
        light, dark = (
            ((ink - _open_wide(ink)) ** 3).sum() for ink in (np.maximum(signed, 0), np.maximum(-signed, 0))
        )
        dark_ink = dark > light
    noise = 1.48 * float(np.median(np.abs(signed - np.median(signed))))
    ink = -signed if dark_ink else signed
    wide = _open_wide(ink)
    ink = ink - wide
    if dark_ink and abs(direction.sum()) > _GREY:
        # In a shadow black differs less from paper.
        brightness = background.mean(axis=2) - wide
        if (brightest := brightness.max()) > 0:
            ink *= brightest / np.maximum(brightness, brightest / 4)
    return ink, noise


def _open_wide(ink: Array) -> Array:
    """What of it is wider than a stroke. A dark border goes on outside, a stroke that touches it does not."""
    # Ink is smooth: half of its rows and columns tell the same in a quarter of the time.
    coarse = ink[::2, ::2]
    outside = coarse.copy()
    for side in (outside[0], outside[-1], outside[:, 0], outside[:, -1]):
        side[:] = ndimage.median_filter(side, _SHADOW + 1, mode="nearest")
    margin = _SHADOW // 2
    padded = np.pad(outside, margin, mode="edge")
    padded[margin:-margin, margin:-margin] = coarse
    opened = ndimage.grey_opening(padded, (margin, margin))[margin:-margin, margin:-margin]
    height, width = ink.shape
    wide: Array = np.minimum(opened.repeat(2, 0).repeat(2, 1)[:height, :width], ink)
    return wide


def _remove_lines(ink: Array) -> Array:
    """The ink without what is longer than a digit's strokes and thinner: a frame, ruled lines, squares."""
    for _ in range(2):  # horizontal lines; transposed, vertical ones
        height, width = ink.shape
        length = (1, max(1, round(_LINE_LENGTH * width)))
        thick = ndimage.grey_opening(ink, (_LINE_WIDTH + 1, 1))
        tolerant = ndimage.grey_opening(ndimage.grey_dilation(ink, (2 * _LINE_DRIFT + 1, 1)), length)
        if (tolerant - ndimage.grey_dilation(thick, (2 * _LINE_DRIFT + 1, 1))).max() > _LEAST_CONTRAST / 2:
            spread = ndimage.grey_dilation(ink, (3, 1))
            columns = np.arange(width)
            rows = np.arange(height)[:, None]
            long = np.zeros_like(ink)
            for slope in _LINE_SLOPES:
                shift = np.rint(slope * (columns - width / 2)).astype(int)
                # "clip" would prolong strokes at the upper and lower edge; they are short beside a line.
                sheared = spread[np.clip(rows + shift, 0, height - 1), columns]
                runs = ndimage.grey_opening(sheared, length)
                np.maximum(long, runs[np.clip(rows - shift, 0, height - 1), columns], out=long)
            ink = ink - np.clip(1.5 * (long - thick), 0, ink.clip(0))
        ink = ink.T
    return ink


def _find_figure(ink: Array, threshold: float) -> tuple[Array, list[str]]:
    """The pixels that belong to the digit, and what is doubtful about it."""
    labels, areas, masses = _label_figures(ink, threshold)
    main = int(np.argmax(masses))
    # Once more with what is nearly as strong as the strongest figure: fainter things may touch it.
    level = max(threshold, 0.4 * float(np.percentile(ink[labels == main], 90)))
    labels, areas, masses = _label_figures(ink, level)
    main = int(np.argmax(masses))
    size = max(np.ptp(indices) + 1 for indices in np.nonzero(labels == main))
    if main == 0 or size < _LEAST_SIZE:
        raise NothingDrawn
    # A digit may be broken into parts, which are near each other and larger than dust.
    distance = ndimage.distance_transform_edt(labels != main)
    nearest = ndimage.minimum(distance, labels, np.arange(len(areas)))
    belongs = (nearest <= 0.25 * size) & (areas >= 0.04 * areas[main]) & (masses > 0)
    figure = belongs[labels]
    warnings = []
    if (masses[~belongs] > 0.4 * masses[main]).any():
        warnings.append("several figures are drawn; only the largest was read")
    if level <= threshold:
        warnings.append("the digit has little contrast with the paper")
    return figure, warnings


def _label_figures(ink: Array, level: float) -> tuple[Array, Array, Array]:
    """Connected figures by number, 0 being paper; of each its area and the sum of its ink, 0 for a frame."""
    labels, count = ndimage.label(ink > level, np.ones((3, 3)))
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    masses = np.bincount(labels.ravel(), ink.ravel(), minlength=count + 1)
    masses[0] = 0
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        # What is hollow and reaches into all corners of its box is no digit.
        figure = labels[box] == number
        h, w = (max(1, extent // 12) for extent in figure.shape)
        corners = (figure[:h, :w], figure[:h, -w:], figure[-h:, :w], figure[-h:, -w:])
        if count > 1 and figure.mean() < 0.3 and all(corner.any() for corner in corners):
            masses[number] = 0
    return labels, areas, masses


def _shape(ink: Array, figure: Array) -> Array:
    strength = np.percentile(ink[figure], 80)
    digit = np.clip(ink * ndimage.binary_dilation(figure, iterations=2) / strength, 0, 1)
    rows, columns = (np.flatnonzero((digit > 0.2).any(axis)) for axis in (1, 0))
    digit = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    stroke = 4 * ndimage.distance_transform_edt(digit > 0.5)[digit > 0.5].mean()
    if (missing := round(0.1 * max(digit.shape) - stroke)) > 0:
        digit = ndimage.grey_dilation(np.pad(digit, missing), (missing + 1, missing + 1))
    longest = max(digit.shape)
    height, width = (max(1, round(length * _BOX / longest)) for length in digit.shape)
    scaled = Image.fromarray(digit.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    digit = np.asarray(scaled)
    square = np.zeros((SIDE, SIDE), np.float32)
    top, left = (
        min(max(round(SIDE / 2 - middle), 0), SIDE - length)
        for middle, length in zip(ndimage.center_of_mass(digit), digit.shape, strict=True)
    )
    square[top : top + height, left : left + width] = digit
    return square
