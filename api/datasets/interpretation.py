"""What uploaded labels and numbers mean: classes, scale, ink; and which images test the others."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from api.datasets.files import UnreadableData
from api.datasets.schemas import DatasetOptions, Decision
from api.datasets.sources import Label
from api.datasets.spool import Codes, Keys, Pixels, Spool

FEWEST_CLASSES, MOST_CLASSES = 2, 62
MOST_DUPLICATES = 0.01
"""Share of the test images that may be among the training images without consent."""
_LIGHT_BORDER = 127.5
_LEAST_OF_BYTES = 128
"""Whole numbers that reach no further may be on another scale: scikit-learn's digits reach 16."""
_ODD = np.uint64(0x9E3779B97F4A7C15)


def map_labels(train: Spool, test: Spool, decisions: list[Decision]) -> tuple[list[Codes], list[Label]]:
    """Labels counted from 0 in place of those in the files, for each part, and those in their order.

    Raises:
        UnreadableData: there are too few or too many classes, numbers and text are mixed, a number is out of
            range, or a class has test images only.
    """
    kind = type(train.labels[0])
    trained: set[Label] = set(train.labels)
    for spool in (train, test):
        for index, label in enumerate(spool.labels):
            if type(label) is not kind:
                fault = "is text among numbers" if kind is int else "is a number among text"
            elif isinstance(label, int) and not 0 <= label < MOST_CLASSES:
                fault = f"is out of range: 0 to {MOST_CLASSES - 1}"
            elif label not in trained:
                fault = "has no training images"
            else:
                continue
            raise UnreadableData(f"{spool.describe(index)}: the label {label!r} {fault}")
    if not FEWEST_CLASSES <= len(trained) <= MOST_CLASSES:
        detail = f"{len(trained)} classes" if len(trained) > 1 else f"all labels are {train.labels[0]!r}"
        raise UnreadableData(f"{detail}; a dataset has {FEWEST_CLASSES} to {MOST_CLASSES} classes")
    # All are of one type, so that they can be compared.
    classes = sorted(trained)
    codes = {label: code for code, label in enumerate(classes)}
    mapped = ", ".join(f"{label} is {code}" for label, code in codes.items())
    is_same = classes == list(range(len(classes)))
    detail = f"0 to {len(classes) - 1} as they are" if is_same else mapped
    decisions.append(Decision(name="labels", detail=detail))
    arrays = [np.array([codes[label] for label in spool.labels], np.int32) for spool in (train, test)]
    return arrays, classes


def name_classes(
    labels: Sequence[Label], names: Mapping[Label, str], options: DatasetOptions, decisions: list[Decision]
) -> list[str]:
    """The classes' names: as given at upload, else as a file among the uploaded says, else the labels.

    Raises:
        UnreadableData: more or fewer names are given than there are classes.
    """
    if options.class_names is not None and len(options.class_names) != len(labels):
        raise UnreadableData(
            f"there are {len(labels)} classes, and options.class_names has {len(options.class_names)}"
        )
    if options.class_names is not None and len(set(options.class_names)) < len(labels):
        raise UnreadableData("options.class_names has a name twice")
    class_names = options.class_names or [names.get(label, str(label)) for label in labels]
    if class_names != [str(label) for label in labels]:
        decisions.append(Decision(name="names", detail=", ".join(class_names)))
    return class_names


def convert_pixels(
    spools: Sequence[Spool], options: DatasetOptions, names: Sequence[str], decisions: list[Decision]
) -> list[Pixels]:
    """The pixels of each part as bytes, light ink on black.

    Raises:
        UnreadableData: the scale cannot be determined, or pixels or sizes do not fit it.
    """
    white, reason = _choose_white(spools, options)
    decisions.append(Decision(name="scale", detail=f"0 to {white:g}: {reason}"))
    is_emnist = any("emnist" in name.lower() for name in names)
    transpose = is_emnist if options.transpose == "auto" else options.transpose
    if transpose:
        reason = "EMNIST's files hold them transposed" if is_emnist else "as asked"
        decisions.append(Decision(name="transpose", detail=f"rows and columns are exchanged: {reason}"))
    if options.resize:
        decisions.append(Decision(name="resize", detail="images of other sizes are scaled to 28x28"))
    is_given = options.scale != "auto"
    pixels = [
        spool.convert(white, is_given=is_given, transpose=transpose, resize=options.resize)
        for spool in spools
    ]
    border = pixels[0].border
    invert = border > _LIGHT_BORDER if options.invert == "auto" else options.invert
    reason = f"the mean of the edges is {border:.0f} of 255" if options.invert == "auto" else "as asked"
    detail = "dark ink on light ground is inverted" if invert else "no: light ink on dark ground"
    decisions.append(Decision(name="invert", detail=f"{detail}; {reason}"))
    return [replace(part, inverted=invert) for part in pixels]


def _choose_white(spools: Sequence[Spool], options: DatasetOptions) -> tuple[float, str]:
    """The number that a white pixel has, and how it is known."""
    maximum, has_fractions = max(spool.maximum for spool in spools), any(s.has_fractions for s in spools)
    if options.scale != "auto":
        return options.scale, "as asked"
    if all(spool.are_bools or not spool.labels for spool in spools):
        return 1, "the pixels are true or false"
    if all(spool.are_encoded or not spool.labels for spool in spools):
        return 255, "the images are PNG or JPEG files"
    if has_fractions and maximum <= 1:
        return 1, f"there are fractions, up to {maximum:g}"
    if not has_fractions and _LEAST_OF_BYTES <= maximum <= 255:
        return 255, f"whole numbers up to {maximum:g}"
    raise UnreadableData(
        f"pixels reach {maximum:g}{' with fractions' if has_fractions else ''}, which does not tell their "
        "scale; set options.scale to the number of a white pixel, such as 1, 16 or 255"
    )


def hash_images(pixels: Pixels) -> Keys:
    """A number for each image that depends on its pixels alone."""
    hashes = bytearray()
    for chunk in pixels.iter_chunks():
        for image in chunk:
            hashes += hashlib.blake2b(image.tobytes(), digest_size=8).digest()
    return np.frombuffer(bytes(hashes), np.uint64)


def choose_test_rows(keys: Keys, codes: Codes, options: DatasetOptions) -> NDArray[np.bool_]:
    """Which rows become test data: a share of each class, drawn by the images' own numbers and the seed.

    So that neither the files' order matters, nor are two copies of an image divided between the parts.

    Raises:
        UnreadableData: a class has too few different images to divide.
    """
    seed = np.random.default_rng(options.test_seed).integers(2**64, dtype=np.uint64)
    with np.errstate(over="ignore"):
        mixed = (keys ^ seed) * _ODD
    mixed ^= mixed >> np.uint64(29)
    chosen = np.zeros(len(keys), bool)
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        numbers = np.sort(mixed[rows])
        size = min(len(rows) - 1, max(1, round(options.test_fraction * len(rows))))
        if numbers[0] == numbers[-1]:
            raise UnreadableData(
                f"the class with label {code} has one image only, which cannot serve to train and to test"
            )
        # Copies of the last one go with it, or stay with the rest where nothing else would.
        last = numbers[size - 1]
        chosen[rows] = mixed[rows] <= last if last < numbers[-1] else mixed[rows] < last
    return chosen


def check_duplicates(train: Keys, test: Keys, options: DatasetOptions) -> list[str]:
    """A warning where test images are among the training images.

    Raises:
        UnreadableData: they are many, and that is not allowed.
    """
    count = int(np.isin(test, train).sum())
    if not count:
        return []
    detail = f"{count:,} of {len(test):,} test images ({count / len(test):.2%}) are also training images"
    if count > MOST_DUPLICATES * len(test) and not options.allow_duplicates:
        raise UnreadableData(
            f"{detail}, so that accuracy would be overestimated; remove them, or set options.allow_duplicates"
        )
    return [detail]
