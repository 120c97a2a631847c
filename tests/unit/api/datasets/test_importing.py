"""Datasets in the forms that people bring, and in those that are refused."""

import hashlib
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.datasets.files import UnreadableData, UploadedFile
from api.datasets.importing import ImportedDataset, import_dataset
from api.datasets.schemas import DatasetOptions
from tests.unit.api.datasets.forms import (
    FORMS,
    Files,
    as_csv,
    as_emnist,
    as_folders,
    as_idx,
    as_keras,
    as_kmnist,
    csv_bytes,
    draw,
    idx_bytes,
    npz_bytes,
    png_bytes,
    zip_bytes,
)

DATA = draw()
TRAIN, TRAIN_LABELS, TEST, TEST_LABELS = DATA


def read(files: Files, folder: Path, most_bytes: int = 10_000_000, **options: Any) -> ImportedDataset:
    folder.mkdir(exist_ok=True)
    uploaded = []
    for index, (name, content) in enumerate(files.items()):
        path = folder / str(index)
        path.write_bytes(content)
        uploaded.append(UploadedFile(name, path))
    return import_dataset(uploaded, DatasetOptions(**options), folder, most_bytes)


def decision(imported: ImportedDataset, name: str) -> str:
    return next(item.detail for item in imported.decisions if item.name == name)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    return read(FORMS["idx"](DATA), tmp_path_factory.mktemp("reference")).digest


@pytest.mark.parametrize("form", FORMS)
def test_the_same_images_have_one_digest_in_every_form(form: str, reference: str, tmp_path: Path) -> None:
    imported = read(FORMS[form](DATA), tmp_path)
    assert imported.digest == reference
    assert imported.class_names == ["0", "1", "2"]
    assert [(count.train, count.test) for count in imported.counts] == [(14, 4), (13, 3), (13, 3)]
    assert imported.warnings == []


def test_the_archive_holds_the_images_as_keras_does_and_the_digest_is_that_of_its_idx_files(
    tmp_path: Path,
) -> None:
    from models.dataset_arrays import compute_idx_sha256  # noqa: PLC0415 (TensorFlow is not needed elsewhere here)

    imported = read(as_keras(DATA), tmp_path)
    imported.write_archive(tmp_path / "stored.npz")
    arrays = np.load(tmp_path / "stored.npz")
    digests = [compute_idx_sha256(arrays[name]) for name in ("x_train", "y_train", "x_test", "y_test")]
    assert imported.digest == hashlib.sha256("".join(digests).encode()).hexdigest()
    rows = {(image.tobytes(), int(label)) for image, label in zip(TRAIN, TRAIN_LABELS, strict=True)}
    stored = zip(arrays["x_train"], arrays["y_train"], strict=True)
    assert {(image.tobytes(), int(label)) for image, label in stored} == rows


def test_what_was_decided_is_reported(tmp_path: Path) -> None:
    letters = (TRAIN, TRAIN_LABELS + 1, TEST, TEST_LABELS + 1)
    emnist = read(as_idx(letters, names="emnist-letters-{}-{}-idx{}-ubyte"), tmp_path / "emnist")
    assert decision(emnist, "labels") == "1 is 0, 2 is 1, 3 is 2"
    assert "transposed" in decision(emnist, "transpose")
    assert emnist.class_names == ["1", "2", "3"]
    floats = read(as_keras(DATA, "f4", 255), tmp_path / "floats")
    assert decision(floats, "scale").startswith("0 to 1: there are fractions")
    dark = read(as_folders(DATA, inverted=True), tmp_path / "dark")
    assert "is inverted" in decision(dark, "invert")
    header = read(as_csv(DATA, header=True), tmp_path / "header")
    assert "the first row names the columns; the label is column 1" in decision(header, "header")


def test_a_split_of_emnists_archive_is_chosen_and_its_classes_are_named(
    tmp_path: Path, reference: str
) -> None:
    archive = as_emnist(DATA, "balanced", "letters")
    with pytest.raises(UnreadableData, match=r"have balanced, letters: choose one, as options\.split"):
        read(archive, tmp_path)
    with pytest.raises(UnreadableData, match=r"have balanced, letters: there is no digits"):
        read(archive, tmp_path, split="digits")
    assert read(archive, tmp_path, split="letters").digest == reference
    letters = (TRAIN, TRAIN_LABELS + 1, TEST, TEST_LABELS + 1)
    files = as_idx(letters, names="emnist-letters-{}-{}-idx{}-ubyte")
    mapping = b"1 65 97\n2 66 98\n3 67 99\n"
    named = read(files | {"emnist-letters-mapping.txt": mapping}, tmp_path)
    assert named.class_names == ["A/a", "B/b", "C/c"]
    assert decision(named, "names") == "A/a, B/b, C/c"
    with pytest.raises(UnreadableData, match=r"mapping.txt: row 2: 'A' does not name a label"):
        read(files | {"emnist-letters-mapping.txt": b"1 65\nA\n"}, tmp_path)


def test_kmnists_class_map_names_its_classes(tmp_path: Path) -> None:
    classes = "index,codepoint,char\n0,U+304A,お\n1,U+304D,き\n2,U+3059,す\n".encode()
    assert read(as_kmnist(DATA) | {"kmnist_classmap.csv": classes}, tmp_path).class_names == [
        "お",
        "き",
        "す",
    ]


def test_names_of_classes_may_be_given(tmp_path: Path) -> None:
    assert read(as_keras(DATA), tmp_path, class_names=["cat", "dog", "eel"]).class_names[1] == "dog"
    with pytest.raises(UnreadableData, match=r"3 classes, and options.class_names has 2"):
        read(as_keras(DATA), tmp_path, class_names=["cat", "dog"])
    with pytest.raises(UnreadableData, match="a name twice"):
        read(as_keras(DATA), tmp_path, class_names=["cat", "dog", "cat"])


def test_folders_named_with_digits_and_letters_are_classes_in_the_order_of_text(tmp_path: Path) -> None:
    members = {
        f"{name}/{index}.png": png_bytes(TRAIN[10 * row + index])
        for row, name in enumerate(("a", "7", "B"))
        for index in range(10)
    }
    assert read({"mine.zip": zip_bytes(members)}, tmp_path).class_names == ["7", "B", "a"]


def test_labels_named_by_the_header_may_be_the_last_column(tmp_path: Path, reference: str) -> None:
    def lines(images: np.ndarray, labels: np.ndarray) -> bytes:
        names = [*(f"pixel{index}" for index in range(784)), "class"]
        rows = [[*map(str, image.ravel()), f'"{label}"'] for image, label in zip(images, labels, strict=True)]
        return "\r\n".join(";".join(row) for row in [names, *rows]).encode("utf-8-sig")

    files = {"a-train.csv": lines(TRAIN, TRAIN_LABELS), "a-test.csv": lines(TEST, TEST_LABELS)}
    assert read(files, tmp_path).digest == reference


def test_qmnist_labels_have_further_columns(tmp_path: Path, reference: str) -> None:
    files = as_idx(DATA)
    table = np.stack([TRAIN_LABELS, *[np.full(40, 9)] * 7], axis=1)
    del files["train-labels-idx1-ubyte"]
    files["qmnist-train-labels-idx2-int"] = idx_bytes(table, 0x0C, ">i4")
    assert read(files, tmp_path).digest == reference


def test_a_share_of_each_class_becomes_test_data_whatever_the_rows_order(tmp_path: Path) -> None:
    images, labels = draw(train=100, seed=3)[:2]
    order = np.random.default_rng(1).permutation(100)
    one = read({"train.csv": csv_bytes(images, labels)}, tmp_path / "one")
    other = read({"data.csv": csv_bytes(images[order], labels[order])}, tmp_path / "other")
    assert one.digest == other.digest
    assert [(count.train, count.test) for count in one.counts] == [(27, 7), (26, 7), (26, 7)]
    assert "20% of each class, by the seed 0" in decision(one, "test")
    assert read({"train.csv": csv_bytes(images, labels)}, tmp_path / "seed", test_seed=1).digest != one.digest


def test_two_copies_of_an_image_are_not_divided_between_the_parts(tmp_path: Path) -> None:
    images, labels = draw(train=60, seed=4)[:2]
    twice = read({"d.csv": csv_bytes(np.tile(images, (2, 1, 1)), np.tile(labels, 2))}, tmp_path)
    assert twice.warnings == []


def test_duplicates_are_counted_warned_of_and_beyond_one_percent_refused(tmp_path: Path) -> None:
    images, labels, test, test_labels = draw(train=60, test=200)
    test[0], test_labels[0] = images[0], labels[0]
    few = read(as_keras((images, labels, test, test_labels)), tmp_path / "few")
    assert few.warnings == ["1 of 200 test images (0.50%) are also training images"]
    test[:5], test_labels[:5] = images[:5], labels[:5]
    files = as_keras((images, labels, test, test_labels))
    with pytest.raises(UnreadableData, match=r"5 of 200 test images \(2.50%\).*allow_duplicates"):
        read(files, tmp_path / "many")
    assert read(files, tmp_path / "allowed", allow_duplicates=True).warnings


def test_other_sizes_are_scaled_with_consent(tmp_path: Path) -> None:
    small = (TRAIN[:, ::2, ::2], TRAIN_LABELS, TEST[:, ::2, ::2], TEST_LABELS)
    with pytest.raises(UnreadableData, match=r"14 x 14 pixels; .*options.resize"):
        read(as_keras(small), tmp_path / "refused")
    for form in (as_keras, as_folders):
        imported = read(form(small), tmp_path / form.__name__, resize=True)
        assert next(imported.train.pixels.iter_chunks()).shape == (40, 784)
        assert decision(imported, "resize")
    digests = {read(form(small), tmp_path / "x", resize=True).digest for form in (as_keras, as_folders)}
    assert len(digests) == 1


def test_the_preview_shows_images_as_networks_see_them(tmp_path: Path) -> None:
    preview = read(as_folders(DATA, inverted=True), tmp_path).build_preview()
    assert len(preview) == 40
    assert {image.label for image in preview} == {0, 1, 2}


HUGE = struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 28, 28)
MANY = np.arange(63)
REFUSED: dict[str, tuple[Files, str]] = {
    "nothing": ({"train.csv": b""}, "train.csv: is empty"),
    "text": ({"notes.txt": b"hello"}, "notes.txt: row 1: 1 columns"),
    "no training images": ({"t10k.npz": as_keras(DATA)["mnist.npz"][:0]}, "is empty"),
    "truncated idx": (
        as_idx(DATA) | {"train-images-idx3-ubyte": idx_bytes(TRAIN)[:-1]},
        "train-images-idx3-ubyte: ends too early",
    ),
    "too long": (
        as_idx(DATA) | {"train-images-idx3-ubyte": idx_bytes(TRAIN) + b"x"},
        "longer than its header",
    ),
    "huge header": (as_idx(DATA) | {"train-images-idx3-ubyte": HUGE}, "2,147,483,648 images"),
    "no labels": ({"train-images-idx3-ubyte": idx_bytes(TRAIN)}, "1 arrays of images and 0 of labels"),
    "other length": (
        as_idx(DATA) | {"train-labels-idx1-ubyte": idx_bytes(TRAIN_LABELS[1:])},
        "40 images, .* 39 labels",
    ),
    "pickles": (
        as_keras(DATA)
        | {"mnist.npz": npz_bytes(x_train=np.array([{}], object), y_train=np.zeros(1))},
        "pickled objects, which are not read because they could run code",
    ),
    "colours": (as_keras((np.stack([TRAIN] * 3, 3), *DATA[1:])), "give one grey channel"),
    "fractional labels": (as_keras((TRAIN, TRAIN_LABELS + 0.5, TEST, TEST_LABELS)), "0.5 is not a whole"),
    "out of range": (as_keras((TRAIN, TRAIN_LABELS + 60, TEST, TEST_LABELS)), "row 2: the label 62 is"),
    "negative label": (as_csv((TRAIN, TRAIN_LABELS - 1, *DATA[2:]), header=False), "row 1: the label -1"),
    "only in test": (as_keras((TRAIN, TRAIN_LABELS % 2, TEST, TEST_LABELS)), "label 2 has no train"),
    "one class": (as_keras((TRAIN, TRAIN_LABELS * 0, TEST, TEST_LABELS * 0)), "all labels are 0"),
    "many classes": (
        {"all.zip": zip_bytes({f"c{n}/{n}.png": png_bytes(TRAIN[n % 40]) for n in MANY})},
        "63 classes",
    ),
    "mixed labels": (
        {"t.csv": csv_bytes(TRAIN, np.array([*"012" * 13, "x"]))},
        "t.csv, row 40: the label 'x' is text among numbers",
    ),
    "not a number": (
        {"t.csv": csv_bytes(TRAIN, TRAIN_LABELS).replace(b",255,", b",oops,", 1)},
        "t.csv: row 1: pixel 185 is 'oops'",
    ),
    "not finite": ({"t.csv": csv_bytes(TRAIN, TRAIN_LABELS).replace(b",255,", b",nan,", 1)}, "row 1: pixel"),
    "missing column": (
        {"t.csv": csv_bytes(TRAIN, TRAIN_LABELS) + b"1,2,3\n"},
        "t.csv: row 41: 3 columns instead of 785",
    ),
    "no label column": ({"test.csv": b",".join(b"pixel%d" % n for n in range(784))}, "no column of"),
    "only test images": ({"mnist_test.csv": csv_bytes(TEST, TEST_LABELS)}, "no training images"),
    "unclear scale": (as_keras((TRAIN // 16, TRAIN_LABELS, TEST // 16, TEST_LABELS)), "set options.scale"),
    "too bright": (as_keras((TRAIN * 2.5, *DATA[1:]), "f8"), "set options.scale"),
    "below 0": (as_keras((TRAIN - 128.0, *DATA[1:]), "f8"), "a pixel is below 0"),
    "mixed scales": (
        {"train.csv": csv_bytes(TRAIN, TRAIN_LABELS), "test.csv": csv_bytes(TEST / 255, TEST_LABELS)},
        "set options.scale|fractions, but elsewhere",
    ),
    "no image": ({"a.zip": zip_bytes({"0/a.png": b"x"})}, "a.zip: 0/a.png: neither a PNG nor a JPEG"),
    "a note": ({"a.zip": zip_bytes({"0/a.txt": b"x"})}, "0/a.txt: neither a PNG nor"),
    "no folder": ({"a.zip": zip_bytes({"a.png": png_bytes(TRAIN[0])})}, "a.png: lies in no folder"),
    "zip bomb": ({"a.zip": zip_bytes({"0/a.png": bytes(10**6)})}, "0/a.png: unpacks to 1,000,000 bytes"),
    "pixel bomb": (
        {"a.zip": zip_bytes({"0/a.png": png_bytes(np.zeros((1, 5000), np.uint8))})},
        "0/a.png: 5,000 x 1 pixels are too large",
    ),
    "half a zip": ({"a.zip": zip_bytes({"0/a.png": png_bytes(TRAIN[0])})[:-30]}, "no zip that can be read"),
    "fortran": (as_keras((np.asfortranarray(TRAIN), *DATA[1:])), "Fortran order"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_and_the_row_or_member_named(case: str, tmp_path: Path) -> None:
    files, message = REFUSED[case]
    with pytest.raises(UnreadableData, match=message):
        read(files, tmp_path)


def test_more_pixels_than_allowed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableData, match="unpacks to more than 20,000 bytes"):
        read(as_keras(DATA), tmp_path, most_bytes=20_000)


@pytest.mark.parametrize(
    "form",
    [
        "idx",
        "idx.gz with dots",
        "keras",
        "kmnist",
        "csv with a header",
        "folders",
        "parquet",
        "emnist's archive",
    ],
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_refused_or_read_and_nothing_else(
    form: str, data: st.DataObject, tmp_path: Path
) -> None:
    files = FORMS[form](draw(train=6, test=3))
    name = data.draw(st.sampled_from(sorted(files)))
    content = bytearray(files[name])
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position : position + data.draw(st.integers(1, 8))] = data.draw(st.binary(max_size=8))
        content = content or bytearray(1)
    try:
        imported = read(files | {name: bytes(content)}, tmp_path)
    except UnreadableData:
        return
    assert 2 <= len(imported.class_names) <= 62


STARTS = [b"", b"PK\3\4", b"\0\0\x08\3", b"\x93NUMPY\1\0", b"PAR1", b"\x1f\x8b\x08", b"1,2,3,4,5\n"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(start: bytes, rest: bytes, tmp_path: Path) -> None:
    with pytest.raises(UnreadableData):
        read({"train": start + rest}, tmp_path)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    stream, peaks = np.random.default_rng(0), []
    for rows in (2_000, 20_000):
        images = stream.integers(0, 256, (rows, 28, 28)) * (stream.random((rows, 28, 28)) < 0.5)
        path = tmp_path / f"{rows}.csv"
        path.write_bytes(csv_bytes(images, np.arange(rows) % 10))
        del images
        tracemalloc.start()
        import_dataset([UploadedFile("train.csv", path)], DatasetOptions(), tmp_path, 10**9)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 14 MB of pixels more; what grows are numbers for each image.
    assert peaks[1] - peaks[0] < 3_000_000
