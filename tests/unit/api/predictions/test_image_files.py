"""Untrusted files become 28x28 images of light ink on black, or are refused before they cost much."""

import io
import struct
import time
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw

from api.predictions import image_files
from api.predictions.image_files import MOST_SIDE, Grey, Treatment, read_images
from models.errors import InvalidSpec


def file_of(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def read(content: bytes, **treatment: Any) -> Grey:
    images, _ = read_images([content], [""], Treatment(**treatment))
    return images[0]


def fault(*contents: bytes) -> tuple[str, str]:
    with pytest.raises(InvalidSpec) as refused:
        read_images(contents, [f"/image/{number}" for number in range(len(contents))], Treatment())
    [error] = refused.value.errors
    return error.pointer, error.detail


def drawing(mode: str = "L", ink: Any = 0, paper: Any = 255) -> Image.Image:
    """A seven, away from the middle."""
    image = Image.new(mode, (200, 120), paper)
    ImageDraw.Draw(image).line([(40, 20), (90, 24), (60, 100)], fill=ink, width=12)
    return image


def centre_of_mass(image: Grey) -> tuple[float, float]:
    places = np.arange(28)
    return image.sum(axis=1) @ places / image.sum(), image.sum(axis=0) @ places / image.sum()


def digit_bytes() -> Grey:
    return np.random.default_rng(0).integers(0, 256, (28, 28)).astype(np.uint8)


def test_an_image_of_the_right_size_is_used_unchanged() -> None:
    pixels = digit_bytes()
    pixels[[0, -1]] = pixels[:, [0, -1]] = 0
    seen = read(file_of(Image.fromarray(pixels)))
    assert np.array_equal(np.rint(seen * 255), pixels)


REFERENCE = read(file_of(drawing()))
TRANSPARENT = drawing("RGBA", (0, 0, 0, 255), (0, 0, 0, 0))


@pytest.mark.parametrize(
    "content",
    [
        file_of(drawing("RGB", (0, 0, 0), (255, 255, 255))),
        file_of(drawing("RGB", (255, 255, 255), (0, 0, 0))),
        file_of(drawing("1", 0, 1)),
        file_of(drawing("LA", (0, 255), (255, 255))),
        file_of(TRANSPARENT),
        file_of(TRANSPARENT.quantize(4)),
        file_of(Image.fromarray(np.asarray(drawing()).astype(np.uint16) * 257)),
        file_of(drawing(), "JPEG", quality=95),
        file_of(drawing("RGB", (0, 0, 0), (255, 255, 255)), "JPEG", quality=95),
        file_of(drawing("RGB", (0, 0, 0), (255, 255, 255)).convert("CMYK"), "JPEG", quality=95),
        file_of(drawing().resize((1600, 960)), "JPEG", quality=95),
        file_of(drawing().resize((1600, 960))),
        file_of(drawing("L", 70, 180)),
    ],
    ids=[
        "colour",
        "light-on-dark",
        "bilevel",
        "grey-and-opaque",
        "transparent-paper",
        "palette",
        "16-bit",
        "jpeg",
        "colour-jpeg",
        "cmyk-jpeg",
        "large-jpeg",
        "large-png",
        "pale",
    ],
)
def test_the_same_drawing_gives_the_same_pixels_in_every_file_format(content: bytes) -> None:
    assert np.abs(read(content) - REFERENCE).mean() < 0.01


def test_a_digit_is_scaled_and_centred_as_in_mnist() -> None:
    seen = read(file_of(drawing()))
    rows, columns = (np.flatnonzero(seen.max(axis=axis) > 0.1) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    # The middle of 28 pixels is 14; a shift is by whole pixels.
    assert centre_of_mass(seen) == pytest.approx((14, 14), abs=0.5)
    assert seen.max() == pytest.approx(1, abs=0.05)
    assert seen[0].max() == 0


def test_without_centring_the_whole_image_is_fitted() -> None:
    seen = read(file_of(drawing()), center="false")
    # 200 x 120 becomes 28 x 17, and lies in the middle; the seven stays on its left.
    assert centre_of_mass(seen)[1] == pytest.approx(67 * 28 / 200, abs=0.7)
    assert seen[:5].max() == seen[23:].max() == 0
    assert seen[6:22].max() > 0.9


def test_a_prepared_image_can_be_centred_too() -> None:
    pixels = np.zeros((28, 28), np.uint8)
    pixels[2:12, 3:6] = 255
    seen = read(file_of(Image.fromarray(pixels)), center="true")
    assert centre_of_mass(seen) == pytest.approx((14, 14), abs=0.5)


@pytest.mark.parametrize(
    ("invert", "dark", "expected"),
    [("auto", True, 0), ("auto", False, 0), ("true", True, 0), ("false", True, 1), ("true", False, 1)],
)
def test_inverting(invert: str, dark: bool, expected: float) -> None:
    content = file_of(drawing() if dark else drawing("L", 255, 0))
    assert read(content, invert=invert, center="false")[14, 0] == expected


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (28, 28), (3, 500)])
@pytest.mark.parametrize("center", ["auto", "true", "false"])
@pytest.mark.parametrize("colour", [0, 128, 255])
def test_f3_a_picture_in_which_nothing_is_drawn_is_refused(
    size: tuple[int, int], center: Any, colour: int
) -> None:
    content = file_of(Image.new("L", size, colour))
    with pytest.raises(InvalidSpec) as refused:
        read_images([content], ["/image/0"], Treatment(center=center))
    assert "nothing is drawn" in refused.value.errors[0].detail


@pytest.mark.parametrize("size", [(1, 2), (1, 4000), (4000, 1), (28, 28), (3, 500), (9, 9)])
@pytest.mark.parametrize("center", ["auto", "true", "false"])
def test_images_of_odd_sizes_are_images_or_refused(size: tuple[int, int], center: str) -> None:
    image = Image.new("L", size, 255)
    image.paste(0, (0, 0, max(1, size[0] // 2), max(1, size[1] // 2)))
    with suppress(InvalidSpec):
        seen = read(file_of(image), center=center)
        assert seen.shape == (28, 28)
        assert np.isfinite(seen).all()


def test_a_photo_is_rotated_by_its_exif_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned = file_of(drawing().rotate(90, expand=True), "JPEG", quality=95, exif=exif)
    assert np.abs(read(turned) - REFERENCE).mean() < 0.01


@pytest.mark.parametrize("form", ["GIF", "TIFF", "BMP", "WEBP", "PPM", "ICO"])
def test_other_formats_are_refused(form: str) -> None:
    assert fault(file_of(drawing("L"), form)) == ("/image/0", "neither a PNG nor a JPEG file")


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"<svg/>", b"%PDF-1.7", b"\0" * 999]
)
def test_a_file_that_is_not_an_image_is_refused(content: bytes) -> None:
    assert fault(file_of(drawing()), content)[0] == "/image/1"


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_file_cut_off_or_damaged_anywhere_is_refused_or_read(form: str) -> None:
    whole = file_of(drawing(), form)
    # The last bytes of a PNG only check the ones before.
    for length in range(1, len(whole) - 40, 7):
        assert fault(whole[:length])[0] == "/image/0"
    rng = np.random.default_rng(0)
    for offset in rng.integers(0, len(whole), 200):
        damaged = bytearray(whole)
        damaged[offset] ^= int(rng.integers(1, 256))
        with suppress(InvalidSpec):
            assert read(bytes(damaged)).shape == (28, 28)


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG that declares this size, eight bits of grey."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )


@pytest.mark.parametrize(
    "size", [(MOST_SIDE + 1, 1), (10_000, 10_000), (2**31 - 1, 2**31 - 1), (1, 2**31 - 1)]
)
def test_a_decompression_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    bomb = png(*size, (b"IDAT", zlib.compress(b"\0" * 10**7)))
    started = time.process_time()
    assert "too large" in fault(bomb)[1]
    assert time.process_time() - started < 0.5


def test_the_total_size_of_several_images_is_bounded() -> None:
    image = Image.new("1", (MOST_SIDE, MOST_SIDE // 2), 1)
    image.paste(0, (2_000, 500, 2_200, 1_500))
    large = file_of(image)
    assert read_images([large] * 2, ["", ""], Treatment())[0].shape == (2, 28, 28)
    assert fault(large, large, large)[0] == "/image/2"


def test_a_compressed_comment_is_not_decompressed() -> None:
    text = b"Comment\0\0" + zlib.compress(b"\0" * 10**8, 9)
    assert fault(png(28, 28, (b"zTXt", text), (b"IDAT", zlib.compress(b"\0" * 29 * 28))))[0] == "/image/0"


def with_last_scan_again(jpeg: bytes, times: int) -> bytes:
    """A progressive JPEG whose last scan comes `times` times more."""
    begin, end = jpeg.rindex(b"\xff\xda"), jpeg.rindex(b"\xff\xd9")
    return jpeg[:end] + jpeg[begin:end] * times + jpeg[end:]


def test_a_jpeg_with_too_many_scans_is_refused() -> None:
    jpeg = file_of(Image.new("L", (MOST_SIDE, MOST_SIDE), 200), "JPEG", progressive=True)
    started = time.process_time()
    assert "scans" in fault(with_last_scan_again(jpeg, 100_000))[1]
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_progressive_jpegs_are_read(mode: str) -> None:
    jpeg = file_of(drawing().convert("RGB").convert(mode), "JPEG", progressive=True, quality=95)
    assert np.abs(read(jpeg) - REFERENCE).mean() < 0.01
    assert np.abs(read(with_last_scan_again(jpeg, 40)) - REFERENCE).mean() < 0.01


def test_metadata_in_many_pieces_is_refused() -> None:
    jpeg = file_of(drawing(), "JPEG")
    segment = b"\xff\xe1\x00\x0eExif\0\0MM\0*\0\0"
    profile = b"a\0\0" + zlib.compress(b"\0" * 10**6, 9)
    started = time.process_time()
    assert "EXIF" in fault(jpeg[:2] + segment * 200_000 + jpeg[2:])[1]
    assert "profiles" in fault(png(28, 28, *[(b"iCCP", profile)] * 3_000))[1]
    assert time.process_time() - started < 0.5


def test_a_colour_profile_is_accepted() -> None:
    profiled = file_of(
        drawing(), icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    )
    assert np.abs(read(profiled) - REFERENCE).mean() < 0.01


def test_a_header_with_a_wrong_size_is_refused() -> None:
    assert fault(png(600, 600, (b"IDAT", zlib.compress(b"\0" * 29 * 28))))[0] == "/image/0"


def test_the_pixel_limit_is_checked_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(image: Image.Image) -> Grey:
        raise AssertionError

    monkeypatch.setattr(image_files, "_decode", decoded)
    assert "too large" in fault(png(MOST_SIDE + 1, 1))[1]
