"""PNG and JPEG files as 28x28 images, such as MNIST has: light ink on black.

What comes from strangers is opened with care: only these two formats, nothing larger than its header may
say, and one request's files at a time.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from api.http.problems import format_json_pointer
from models.errors import FieldError, InvalidSpec
from models.predictions import Choice
from models.spec import SIDE

Grey = NDArray[np.float32]
"""(height, width), 0 (black) to 1 (white)."""

FORMATS = ("PNG", "JPEG")
MOST_SIDE = 4_096
MOST_PIXELS = MOST_SIDE**2
"""Of all files of one request together: decoded, a pixel takes up to eight bytes."""

_JPEG = b"\xff\xd8"
_MOST_JPEG_PARTS = {b"\xff\xda": 64, b"\xff\xe1": 256}
"""Scans and EXIF segments. A progressive JPEG is gone through once for each scan, and 33 bytes can be one:
a body of 4 MB could keep a processor busy for an hour. Cameras and programs write about ten."""
_MOST_PNG_PARTS = {b"iCCP": 1}
"""Colour profiles, each of which is decompressed; the format allows one."""

_ENOUGH = 256
"""Pixels of a side to which large images are brought first: ample for 28."""
_INK = 0.2
"""Share of the strongest ink above which a pixel belongs to the digit and not to the paper."""
_BOX = 20


@dataclass(frozen=True)
class Treatment:
    """What is done to an image before a network sees it."""

    invert: Choice = "auto"
    """auto: where the border is light, so that the ink is the dark part."""
    center: Choice = "auto"
    """auto: unless the image is 28x28, and so looks as if it had been prepared."""


class _Unreadable(Exception):
    """One sentence about a file."""


def read_images(files: Sequence[bytes], pointers: Sequence[str], treatment: Treatment) -> Grey:
    """Image files as pixels (n, 28, 28), 0 (black) to 1 (white). `pointers` name the files in errors.

    Raises:
        InvalidSpec: a file is no PNG or JPEG, is damaged, or is too large.
    """
    left = MOST_PIXELS
    images = []
    for content, pointer in zip(files, pointers, strict=True):
        try:
            grey, pixels = _convert_to_grey(content, left)
        except _Unreadable as fault:
            raise InvalidSpec([FieldError(pointer, str(fault))]) from None
        left -= pixels
        images.append(_prepare(grey, treatment))
    return np.stack(images)


def read_numbers(images: Sequence[Sequence[Sequence[float]]], scale: Literal["byte", "unit"]) -> Grey:
    """Posted numbers as pixels (n, 28, 28), 0 to 1.

    Raises:
        InvalidSpec: the numbers are not of this scale.
    """
    pixels = np.array(images, np.float32)
    if scale == "byte":
        if 0 < pixels.max() <= 1:
            hint = 'no pixel is above 1; where pixels go from 0 to 1, say "scale": "unit"'
            raise InvalidSpec([FieldError("/images", hint)])
        return pixels / np.float32(255)
    if pixels.max() > 1:
        results = [int(item) for item in np.unravel_index(pixels.argmax(), pixels.shape)]
        raise InvalidSpec(
            [FieldError(format_json_pointer(["images", *results]), 'above 1, and "scale" is "unit"')]
        )
    return pixels


def to_question(images: Grey) -> bytes:
    """As the predictor reads them: float32, little-endian."""
    return images.astype("<f4").tobytes()


def to_numbers(images: Grey) -> list[list[list[int]]]:
    """Pixels from 0 to 255, to be shown."""
    pixels: list[list[list[int]]] = np.rint(images * 255).astype(int).tolist()
    return pixels


def _convert_to_grey(content: bytes, most_pixels: int) -> tuple[Grey, int]:
    """The image on white paper, and how many pixels its file holds."""
    _check_parts(content)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            pixels = image.width * image.height
            # Before anything is decoded: so far only the header was read.
            _check_size(image.size, most_pixels)
            return _decode(image), pixels
    except _Unreadable:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _Unreadable(_TOO_LARGE) from None
    except UnidentifiedImageError:
        raise _Unreadable("neither a PNG nor a JPEG file") from None
    except Exception as error:
        # Pillow has no one error for what is wrong inside of a file.
        raise _Unreadable(f"the file is damaged: {str(error) or type(error).__name__}") from None


def _check_parts(content: bytes) -> None:
    # No marker stands in the data of a JPEG by chance; to count those in its metadata too does no harm.
    most = _MOST_JPEG_PARTS if content.startswith(_JPEG) else _MOST_PNG_PARTS
    if any(content.count(part) > item for part, item in most.items()):
        raise _Unreadable("more scans, EXIF segments or colour profiles than any camera or program writes")


_TOO_LARGE = (
    f"too large: at most {MOST_SIDE:,} pixels a side, and {MOST_PIXELS:,} in all images of a request together"
)


def _check_size(size: tuple[int, int], most_pixels: int) -> None:
    width, height = size
    if max(size) > MOST_SIDE or width * height > most_pixels:
        raise _Unreadable(f"{width:,} x {height:,} pixels are {_TOO_LARGE}")


def _decode(image: Image.Image) -> Grey:
    # A JPEG is not even decoded to its full size; other formats know no such thing and ignore it.
    image.draft("L", (_ENOUGH, _ENOUGH))
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        # 16 bits, which Pillow would cut off at 255.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert("RGBA" if image.has_transparency_data else "L")
    if (times := max(image.size) // _ENOUGH) > 1:
        image = image.reduce(times)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("L")
    return np.asarray(image, np.float32) / np.float32(255)


def _prepare(grey: Grey, treatment: Treatment) -> Grey:
    if treatment.invert == "true" or (treatment.invert == "auto" and _measure_paper(grey) > 0.5):
        grey = 1 - grey
    prepared = grey.shape == (SIDE, SIDE)
    if treatment.center == "true" or (treatment.center == "auto" and not prepared):
        return _center(grey)
    return grey if prepared else _fit(grey, SIDE)


def _measure_paper(grey: Grey) -> float:
    """The brightness of the border, which is mostly paper."""
    return float(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))


def _fit(grey: Grey, side: int) -> Grey:
    """The whole image, scaled to touch the sides of a square, in the middle of it."""
    scaled = _scale(grey, side)
    square = np.full((side, side), _measure_paper(grey), np.float32)
    top, left = ((side - length) // 2 for length in scaled.shape)
    square[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return square


def _center(grey: Grey) -> Grey:
    """The digit as MNIST has its own: its box scaled to 20 pixels, its centre of mass in the middle of 28x28.

    Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits". The paper
    becomes black and the strongest ink white, as they are there.
    """
    ink = np.clip(grey - _measure_paper(grey), 0, None)
    square = np.zeros((SIDE, SIDE), np.float32)
    strongest = ink.max()
    if strongest == 0:
        return square
    ink /= strongest
    rows, columns = (np.flatnonzero((ink > _INK).any(axis=axis)) for axis in (1, 0))
    digit = _scale(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], _BOX)
    top, left = _compute_corner(digit)
    square[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return square


def _compute_corner(digit: Grey) -> tuple[int, int]:
    """Where the digit's upper left corner goes, so that its centre of mass comes to the middle."""
    mass = digit.sum()
    places = []
    for axis, length in enumerate(digit.shape):
        centre = float(digit.sum(axis=1 - axis) @ np.arange(length) / mass)
        places.append(min(max(round(SIDE / 2 - centre), 0), SIDE - length))
    return places[0], places[1]


def _scale(grey: Grey, side: int) -> Grey:
    """The image with its longer side as long as `side`."""
    longest = max(grey.shape)
    height, width = (max(1, round(length * side / longest)) for length in grey.shape)
    image = Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)
