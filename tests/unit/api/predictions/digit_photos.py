"""Pictures of digits as people have them, made from MNIST's test images with fixed seeds.

Each kind takes a digit (28, 28), 0 (paper) to 1 (ink), and a random generator, and returns a file.
`python -m tests.unit.api.predictions.digit_photos DIRECTORY mnist.npz` writes examples of each to look at.
"""

import io
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Array = NDArray[Any]
Kind = Callable[[Array, np.random.Generator], bytes]
WIDTH, HEIGHT = 400, 300


def place_digit(
    digit: Array, rng: np.random.Generator, side: int = 200, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> Array:
    """The digit somewhere on a page (height, width) of ink, 0 to 1."""
    width, height = size
    ink = Image.fromarray(np.uint8(255 * digit)).resize((side, side), Image.Resampling.BICUBIC)
    page = Image.new("L", size)
    page.paste(ink, (int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))))
    return np.asarray(page, float) / 255


def write(page: Array, form: str = "PNG", **options: Any) -> bytes:
    """A page of brightness (height, width) or colour (height, width, 3), 0 to 1, as a file."""
    content = io.BytesIO()
    Image.fromarray(np.uint8(np.rint(255 * np.clip(page, 0, 1)))).save(content, form, **options)
    return content.getvalue()


def draw_lines(
    page: Array, lines: list[tuple[float, float, float, float]], brightness: float, width: int
) -> Array:
    """The page with straight lines, anti-aliased, that darken what is lighter than they are."""
    height, length = page.shape
    image = Image.new("L", (4 * length, 4 * height), 255)
    pen = ImageDraw.Draw(image)
    for line in lines:
        pen.line([4 * coordinate for coordinate in line], fill=round(255 * brightness), width=4 * width)
    return np.minimum(page, np.asarray(image.resize((length, height), Image.Resampling.BOX)) / 255)


def rule(
    page: Array,
    rng: np.random.Generator,
    brightness: float,
    width: int,
    *,
    gap: float,
    tilt: float = 0,
    squared: bool = False,
) -> Array:
    """The page with ruled lines `gap` apart, or squares."""
    height, length = page.shape
    slope = np.tan(np.radians(tilt))
    start = rng.uniform(0, gap)
    lines = [(0.0, y, float(length), y + slope * length) for y in np.arange(start - height, 2 * height, gap)]
    if squared:
        lines += [
            (x, 0.0, x - slope * height, float(height)) for x in np.arange(start - length, 2 * length, gap)
        ]
    return draw_lines(page, lines, brightness, width)


def frame(page: Array, width: int, inset: int) -> Array:
    """The page with a rectangle drawn around it."""
    height, length = page.shape
    left, top, right, bottom = inset, inset, length - 1 - inset, height - 1 - inset
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return draw_lines(page, [(*a, *b) for a, b in pairwise(corners)], 0, width)


def strew_dust(page: Array, rng: np.random.Generator, count: int, largest: float) -> Array:
    """The page with round black specks."""
    image = Image.fromarray(np.uint8(255 * page))
    pen = ImageDraw.Draw(image)
    for _ in range(count):
        x, y, radius = rng.uniform(0, page.shape[1]), rng.uniform(0, page.shape[0]), rng.uniform(0.3, largest)
        pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=int(rng.integers(0, 100)))
    return np.asarray(image) / 255


def shade(page: Array, strength: float, kind: str = "linear") -> Array:
    """The page under uneven light: darkest part `1 - strength`."""
    height, length = page.shape
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : length * 1j]
    light = {
        "linear": (x + y) / 2,
        "corners": 2 * ((x - 0.5) ** 2 + (y - 0.5) ** 2),
        "shadow": 1 / (1 + np.exp((x + 0.4 * y - 0.7) * 40)),
    }[kind]
    return page * (1 - strength * light)


def add_noise(page: Array, rng: np.random.Generator, deviation: float) -> Array:
    return page + rng.normal(0, deviation / 255, page.shape)


def colour(ink: Array, ink_colour: tuple[int, int, int], paper: tuple[int, int, int]) -> Array:
    return (np.array(paper) + ink[..., None] * (np.array(ink_colour) - np.array(paper))) / 255


def write_transparent(ink: Array, brightness: int, form: str = "RGBA") -> bytes:
    """Ink of one brightness on nothing."""
    content = io.BytesIO()
    grey = np.full(ink.shape, brightness, np.uint8)
    image = Image.fromarray(np.dstack([grey, grey, grey, np.uint8(255 * ink)]))
    (image.quantize(32) if form == "P" else image.convert(form)).save(content, "PNG")
    return content.getvalue()


def write_16_bit(page: Array) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.uint16(65_535 * page)).save(content, "PNG")
    return content.getvalue()


def photograph(ink: Array, rng: np.random.Generator) -> bytes:
    """All at once: squared paper, a tilt, uneven light, blur, noise, a large JPEG turned by its EXIF data."""
    page = rule(1 - 0.85 * ink, rng, 0.7, 3, gap=60, tilt=rng.uniform(-3, 3), squared=True)
    page = shade(strew_dust(page, rng, 30, 4), 0.5, "corners")
    image = Image.fromarray(np.uint8(255 * page)).filter(ImageFilter.GaussianBlur(2))
    page = add_noise(np.asarray(image) / 255, rng, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    return write(np.rot90(page), "JPEG", quality=70, exif=exif)


def thin(digit: Array) -> Array:
    """The digit, large, as a ball-point pen would write it."""
    image = Image.fromarray(np.uint8(255 * digit)).resize((280, 280), Image.Resampling.BICUBIC)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(4)), float) / 255


def border(page: Array, left: int, top: int = 0, right: int = 0, bottom: int = 0) -> Array:
    """The page with black edges."""
    height, width = page.shape
    inside = np.zeros_like(page)
    inside[top : height - bottom, left : width - right] = 1
    return page * inside


def blacken(page: Array, row: int, column: int) -> Array:
    page = page.copy()
    page[row, column] = 0
    return page


def strew_salt(page: Array, rng: np.random.Generator, share: float) -> Array:
    return np.where(rng.random(page.shape) < share, rng.integers(0, 2, page.shape), page)


def cut_out(digit: Array) -> Array:
    """The digit without the paper around it."""
    return digit[np.ix_(digit.max(axis=1) > 0.3, digit.max(axis=0) > 0.3)].repeat(8, 0).repeat(8, 1)


P = place_digit
KINDS: dict[str, Kind] = {
    "clean": lambda d, r: write(1 - P(d, r)),
    "clean, light on dark": lambda d, r: write(P(d, r)),
    "pale": lambda d, r: write(0.75 - 0.15 * P(d, r)),
    "one pixel": lambda d, r: write(blacken(1 - P(d, r), 295, 3)),
    "line at the edge": lambda d, r: write(border(1 - P(d, r), 1)),
    "edge, 12 px": lambda d, r: write(border(1 - P(d, r, 180), 12)),
    "black border": lambda d, r: write(border(1 - P(d, r, 180), 12, 12, 12, 12)),
    "frame, 1 px": lambda d, r: write(frame(1 - P(d, r, 200), 1, 3)),
    "frame, 3 px": lambda d, r: write(frame(1 - P(d, r, 200), 3, 8)),
    "frame, 8 px": lambda d, r: write(frame(1 - P(d, r, 200), 8, 15)),
    "lined, grey": lambda d, r: write(rule(1 - P(d, r), r, 0.7, 1, gap=30)),
    "lined, dark": lambda d, r: write(rule(1 - P(d, r), r, 0.2, 2, gap=40)),
    "lined, tilted": lambda d, r: write(rule(1 - P(d, r), r, 0.5, 2, gap=35, tilt=r.uniform(-4, 4))),
    "lined, light on dark": lambda d, r: write(1 - rule(1 - P(d, r), r, 0.5, 2, gap=35)),
    "squared, grey": lambda d, r: write(rule(1 - P(d, r), r, 0.7, 1, gap=20, squared=True)),
    "squared, dark": lambda d, r: write(rule(1 - P(d, r), r, 0.3, 2, gap=40, squared=True)),
    "squared, tilted": lambda d, r: write(
        rule(1 - P(d, r), r, 0.6, 1, gap=25, tilt=r.uniform(-4, 4), squared=True)
    ),
    "dust": lambda d, r: write(strew_dust(1 - P(d, r), r, 60, 2)),
    "dust, coarse": lambda d, r: write(strew_dust(1 - P(d, r), r, 40, 5)),
    "shade": lambda d, r: write(shade(1 - P(d, r), 0.5)),
    "shade, strong": lambda d, r: write(shade(1 - P(d, r), 0.8)),
    "shade, corners": lambda d, r: write(shade(1 - P(d, r), 0.45, "corners")),
    "shade, hard shadow": lambda d, r: write(shade(1 - P(d, r), 0.5, "shadow")),
    "shade, on blackboard": lambda d, r: write(shade(0.25 + 0.6 * P(d, r), 0.5)),
    "noise 10, JPEG": lambda d, r: write(add_noise(1 - P(d, r), r, 10), "JPEG"),
    "noise 25": lambda d, r: write(add_noise(1 - P(d, r), r, 25)),
    "noise 50": lambda d, r: write(add_noise(0.9 - 0.8 * P(d, r), r, 50)),
    "noise 6, 1600x1200": lambda d, r: write(add_noise(1 - P(d, r, 800, (1600, 1200)), r, 6), "JPEG"),
    "salt and pepper": lambda d, r: write(strew_salt(1 - P(d, r), r, 0.03)),
    "transparent, black ink": lambda d, r: write_transparent(P(d, r), 0),
    "transparent, white ink": lambda d, r: write_transparent(P(d, r), 255),
    "transparent, white ink, 28x28": lambda d, r: write_transparent(d, 255),
    "transparent, grey ink": lambda d, r: write_transparent(P(d, r), 150, "LA"),
    "transparent, palette": lambda d, r: write_transparent(P(d, r), 20, "P"),
    "JPEG, quality 20": lambda d, r: write(1 - P(d, r), "JPEG", quality=20),
    "JPEG, 120x90": lambda d, r: write(1 - P(d, r, 60, (120, 90)), "JPEG", quality=60),
    "JPEG, 3000x2000": lambda d, r: write(1 - P(d, r, 1200, (3000, 2000)), "JPEG"),
    "small on a large page": lambda d, r: write(add_noise(1 - P(d, r, 150, (1600, 1200)), r, 4), "JPEG"),
    "blue on yellow": lambda d, r: write(colour(P(d, r), (30, 40, 160), (250, 240, 150))),
    "equal luminance": lambda d, r: write(colour(P(d, r), (200, 0, 0), (0, 102, 0))),
    "equal luminance, JPEG": lambda d, r: write(colour(P(d, r), (200, 60, 60), (60, 118, 90)), "JPEG"),
    "16-bit": lambda d, r: write_16_bit(0.8 - 0.6 * P(d, r)),
    "tiny, 40x30": lambda d, r: write(1 - P(d, r, 28, (40, 30))),
    "tiny, 20x20": lambda d, r: write(1 - P(d, r, 20, (20, 20))),
    "cut out": lambda d, r: write(1 - cut_out(d)),
    "thin pen": lambda d, r: write(1 - np.clip(4 * thin(d) - 1.2, 0, 1)),
    "photograph": lambda d, r: photograph(P(d, r, 700, (1600, 1200)), r),
}


if __name__ == "__main__":
    images = np.load(sys.argv[2])["x_test"][:8] / 255
    for name, kind in KINDS.items():
        for index, image in enumerate(images):
            Path(sys.argv[1], f"{name}-{index}.image").write_bytes(kind(image, np.random.default_rng(index)))
