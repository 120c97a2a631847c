"""PNG and JPEG files, also photographs and scans, as 28x28 images such as MNIST has: light ink on black.

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
from api.predictions.segmentation import NothingDrawn, extract_digit
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

_ENOUGH = 640
"""Pixels of a side to which large pictures are brought first: ample for a digit that is small in them."""
_LEAST_RANGE = 0.02
"""Between the darkest and the lightest pixel of a picture in which something is drawn."""
_TOO_LARGE = f"too large: at most {MOST_SIDE:,} pixels a side, and {MOST_PIXELS:,} in all images of a request"


@dataclass(frozen=True)
class Treatment:
    """What is done to an image before a network sees it."""

    invert: Choice = "auto"
    """auto: where the border is light, so that the ink is the dark part."""
    center: Choice = "auto"
    """auto: unless the image is 28x28, and so looks as if it had been prepared."""


class UnreadableImage(Exception):
    """One sentence about a file."""


def read_images(
    files: Sequence[bytes], pointers: Sequence[str], treatment: Treatment
) -> tuple[Grey, list[list[str]]]:
    """Image files as pixels (n, 28, 28), 0 (black) to 1 (white), and what is doubtful about each.

    `pointers` name the files in errors.

    Raises:
        InvalidSpec: a file is no PNG or JPEG, is damaged, is too large, or has nothing drawn in it.
    """
    left = MOST_PIXELS
    images, warnings = [], []
    for content, pointer in zip(files, pointers, strict=True):
        try:
            picture, pixels = read_picture(content, left)
            image, doubts = _prepare(picture, treatment)
        except (UnreadableImage, NothingDrawn) as fault:
            raise InvalidSpec([FieldError(pointer, str(fault))]) from None
        left -= pixels
        images.append(image)
        warnings.append(doubts)
    return np.stack(images), warnings


def read_numbers(images: Sequence[Sequence[Sequence[float]]], scale: Literal["byte", "unit"]) -> Grey:
    """Posted numbers as pixels (n, 28, 28), 0 to 1.

    Raises:
        InvalidSpec: the numbers are not of this scale.
    """
    pixels = np.array(images, np.float32)
    if scale == "byte":
        if 0 < pixels.max() <= 1:
            hint = 'no pixel is above 1; for pixels from 0 to 1, set "scale": "unit"'
            raise InvalidSpec([FieldError("/images", hint)])
        return pixels / np.float32(255)
    if pixels.max() > 1:
        index = [int(position) for position in np.unravel_index(pixels.argmax(), pixels.shape)]
        pointer = format_json_pointer(["images", *index])
        raise InvalidSpec([FieldError(pointer, 'above 1, and "scale" is "unit"')])
    return pixels


def read_picture(content: bytes, most_pixels: int) -> tuple[Grey, int]:
    """The picture (height, width, 3), 0 to 1, and how many pixels its file holds."""
    # No marker stands in the data of a JPEG by chance; to count those in its metadata too does no harm.
    most_parts = _MOST_JPEG_PARTS if content.startswith(_JPEG) else _MOST_PNG_PARTS
    if any(content.count(part) > most for part, most in most_parts.items()):
        raise UnreadableImage("more scans, EXIF segments or colour profiles than cameras and programs write")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            # Before anything is decoded: so far only the header was read.
            if max(width, height) > MOST_SIDE or width * height > most_pixels:
                raise UnreadableImage(f"{width:,} x {height:,} pixels are {_TOO_LARGE}")
            return _decode(image), width * height
    except UnreadableImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(_TOO_LARGE) from None
    except UnidentifiedImageError:
        raise UnreadableImage("neither a PNG nor a JPEG file") from None
    except Exception as error:
        # Pillow has no one error for what is wrong inside of a file.
        raise UnreadableImage(f"the file is damaged: {str(error) or type(error).__name__}") from None


def _decode(image: Image.Image) -> Grey:
    """(height, width, 3), 0 to 1, without transparency."""
    # A JPEG is not even decoded to its full size; other formats know no such thing and ignore it.
    image.draft("RGB", (_ENOUGH, _ENOUGH))
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if (times := max(image.size) // _ENOUGH) > 1:
        image = image.reduce(times)
    pixels = np.asarray(image, np.float32) / np.float32(255)
    if image.mode == "RGB":
        return pixels
    colours, opacity = pixels[..., :3], pixels[..., 3:]
    if opacity.mean() > 0.5:
        # A page with holes or round corners.
        ground = np.median(colours[opacity[..., 0] > 0.5], axis=0)
    else:
        # Ink on nothing: on what it stands out from.
        ground = np.float32((colours * opacity).sum() < 1.5 * opacity.sum())
    composite: Grey = colours * opacity + ground * (1 - opacity)
    return composite


def _prepare(picture: Grey, treatment: Treatment) -> tuple[Grey, list[str]]:
    """The picture as (28, 28), light ink on black, and what is doubtful about it."""
    height, width = picture.shape[:2]
    prepared = height == width == SIDE
    if treatment.center == "true" or (treatment.center == "auto" and not prepared):
        dark_ink = None if treatment.invert == "auto" else treatment.invert == "true"
        return extract_digit(picture, dark_ink)
    grey = picture @ np.array([0.299, 0.587, 0.114], np.float32)
    if np.ptp(grey) < _LEAST_RANGE:
        raise NothingDrawn
    # The border is mostly paper.
    paper = float(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))
    if treatment.invert == "true" or (treatment.invert == "auto" and paper > 0.5):
        grey, paper = 1 - grey, 1 - paper
    if prepared:
        return grey, []
    # The whole picture, scaled to touch the sides of a square, in the middle of it.
    size = [max(1, round(length * SIDE / max(height, width))) for length in (width, height)]
    scaled = np.asarray(Image.fromarray(grey).resize((size[0], size[1]), Image.Resampling.BILINEAR))
    square = np.full((SIDE, SIDE), paper, np.float32)
    top, left = ((SIDE - length) // 2 for length in scaled.shape)
    square[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return square, []
