import gzip
import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import dataset_arrays as datasets
from models.dataset_arrays import Dataset, compute_idx_sha256, load
from models.dataset_cards import IDX_FILES
from models.dataset_spec import DatasetSpec
from models.errors import DatasetUnavailable
from models.parts import PartSpec
from models.settings import Settings
from worker.datasets import split_dataset
from worker.seeds import shuffle_examples


def test_mnist_5k_is_balanced_and_its_test_images_are_not_in_the_training_set(mnist_5k: Dataset) -> None:
    assert np.bincount(mnist_5k.train_labels).tolist() == [400] * 10
    assert np.bincount(mnist_5k.test_labels).tolist() == [100] * 10
    train = {image.tobytes() for image in mnist_5k.train_images}
    assert not train & {image.tobytes() for image in mnist_5k.test_images}


def test_idx_digest_is_that_of_the_published_file() -> None:
    labels = np.array([5, 0, 4], np.uint8)
    # The header of an IDX file of labels: magic number 0x00000801, then the count, both big-endian.
    by_hand = bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4])
    assert compute_idx_sha256(labels) == hashlib.sha256(by_hand).hexdigest()


def test_idx_files_are_read_with_or_without_gzip(tmp_path: Path) -> None:
    images = np.arange(2 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(2, 28, 28)
    header = np.array([0x0803, 2, 28, 28], ">u4").tobytes()
    (tmp_path / f"{IDX_FILES[0]}.gz").write_bytes(gzip.compress(header + images.tobytes()))
    (tmp_path / IDX_FILES[1]).write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 9, 1]))
    assert np.array_equal(datasets._read_idx(tmp_path, IDX_FILES[0]), images)
    assert datasets._read_idx(tmp_path, IDX_FILES[1]).tolist() == [9, 1]


def test_a_file_with_other_content_is_refused(tmp_path: Path) -> None:
    blank = np.zeros((10, 28, 28), np.uint8)
    np.savez(
        tmp_path / "mnist.npz", x_train=blank, y_train=blank[:, 0, 0], x_test=blank, y_test=blank[:, 0, 0]
    )
    with pytest.raises(DatasetUnavailable, match="is not mnist as published"):
        load("mnist", Settings(data_dir=tmp_path))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mnist.npz").write_bytes(b"not a zip file")
    with pytest.raises(DatasetUnavailable, match="cannot be read"):
        load("mnist", Settings(data_dir=tmp_path))


def test_last_split_takes_the_last_rows_as_keras_does(mnist_5k: Dataset) -> None:
    split = split_dataset(mnist_5k, DatasetSpec(name="mnist_5k", validation_split="last"))
    assert split.validation is not None
    assert np.array_equal(split.train.labels, mnist_5k.train_labels[:3200])
    assert np.array_equal(split.validation.images, mnist_5k.train_images[3200:].reshape(-1, 784))


def test_stratified_split_keeps_the_classes_shares_and_loses_no_example(mnist_5k: Dataset) -> None:
    split = split_dataset(mnist_5k, DatasetSpec(name="mnist_5k", validation_fraction=0.25, split_seed=3))
    assert split.validation is not None
    assert np.bincount(split.train.labels).tolist() == [300] * 10
    assert np.bincount(split.validation.labels).tolist() == [100] * 10
    seen = np.concatenate([split.train.images, split.validation.images])
    assert {row.tobytes() for row in seen} == {row.tobytes() for row in mnist_5k.train_images}


def test_split_seed_decides_the_split(mnist_5k: Dataset) -> None:
    first, again, other = (
        split_dataset(mnist_5k, DatasetSpec(name="mnist_5k", split_seed=seed)).train.images
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_subset_is_stratified_and_of_the_requested_size(mnist_5k: Dataset) -> None:
    split = split_dataset(mnist_5k, DatasetSpec(name="mnist_5k", train_samples=500, validation_fraction=0.0))
    assert split.validation is None
    assert np.bincount(split.train.labels).tolist() == [50] * 10


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_label_noise_redraws_the_share_of_labels_of_which_a_tenth_stays_correct(
    mnist_5k: Dataset, share: float
) -> None:
    clean = split_dataset(mnist_5k, DatasetSpec(name="mnist_5k"))
    noisy = split_dataset(mnist_5k, DatasetSpec(name="mnist_5k", label_noise=share))
    changed = float((clean.train.labels != noisy.train.labels).mean())
    # 3,200 labels: three standard deviations are under 0.03.
    assert changed == pytest.approx(0.9 * share, abs=0.03)
    assert np.array_equal(clean.train.images, noisy.train.images)
    assert noisy.validation is not None
    assert clean.validation is not None
    assert np.array_equal(noisy.validation.labels, clean.validation.labels)
    assert np.array_equal(noisy.test.labels, clean.test.labels)


def test_no_epoch_visits_the_noisy_labels_or_the_measured_rows_first(mnist_5k: Dataset) -> None:
    clean = split_dataset(mnist_5k, DatasetSpec(name="mnist_5k"))
    noisy = split_dataset(mnist_5k, DatasetSpec(name="mnist_5k", label_noise=0.4))
    is_noisy = clean.train.labels != noisy.train.labels
    is_measured = np.isin(clean.train.rows, clean.train_eval.rows)
    for epoch in range(1, 1001):
        first_half = shuffle_examples(0, epoch, 3200)[:1600]
        # Half of each lies in the first half of an independent order: 0.5 +- 0.015.
        assert float(is_noisy[first_half].sum() / is_noisy.sum()) == pytest.approx(0.5, abs=0.1)
        assert float(is_measured[first_half].sum() / is_measured.sum()) == pytest.approx(0.5, abs=0.1)


def test_measured_rows_are_as_many_as_validation_has_and_fixed(mnist_5k: Dataset) -> None:
    spec = DatasetSpec(name="mnist_5k")
    split = split_dataset(mnist_5k, spec)
    assert len(split.train_eval) == spec.validation_examples == 800
    assert len(set(split.train_eval.rows.tolist())) == 800
    assert set(split.train_eval.rows.tolist()) <= set(split.train.rows.tolist())
    other_split = split_dataset(mnist_5k, DatasetSpec(name="mnist_5k", split_seed=1))
    assert not np.array_equal(split.train_eval.rows, other_split.train_eval.rows)


def _build_archive(mnist_5k: Dataset, **changes: object) -> bytes:
    arrays = {
        "x_train": mnist_5k.train_images,
        "y_train": mnist_5k.train_labels,
        "x_test": mnist_5k.test_images,
        "y_test": mnist_5k.test_labels,
    }
    file = io.BytesIO()
    np.savez_compressed(file, **arrays | changes)  # type: ignore[arg-type] # arrays by name
    return file.getvalue()


def test_f1_a_flipped_bit_anywhere_is_refused_with_the_files_name(mnist_5k: Dataset, tmp_path: Path) -> None:
    path, archive = tmp_path / "mnist.npz", _build_archive(mnist_5k)
    generator = np.random.default_rng(0)
    # Anywhere, and all over the first member's local header, array header and compressed data's start.
    positions = [*generator.integers(len(archive), size=12).tolist(), *range(0, 200, 10)]
    for position in positions:
        damaged = bytearray(archive)
        damaged[position] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        datasets._load.cache_clear()
        with pytest.raises(DatasetUnavailable) as caught:
            load("mnist", Settings(data_dir=tmp_path))
        [error] = caught.value.errors
        assert str(path) in error.detail
        assert "allow_pickle" not in error.detail


@pytest.mark.parametrize(
    "changes",
    [
        {"x_train": np.array([{"a": 1}], object)},
        {"y_train": np.zeros(3)},
        {"x_test": np.array(["seven"])},
        {"y_test": np.uint8(3)},
    ],
    ids=["objects", "floats", "text", "a scalar"],
)
def test_f1_arrays_of_another_kind_are_refused(
    mnist_5k: Dataset, tmp_path: Path, changes: dict[str, object]
) -> None:
    (tmp_path / "mnist.npz").write_bytes(_build_archive(mnist_5k, **changes))
    with pytest.raises(DatasetUnavailable, match=r"mnist\.npz"):
        load("mnist", Settings(data_dir=tmp_path))


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_f1_mnist_in_its_idx_files_is_the_same_dataset(
    mnist_5k: Dataset, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = (mnist_5k.train_images, mnist_5k.train_labels, mnist_5k.test_images, mnist_5k.test_labels)
    for name, array in zip(IDX_FILES, arrays, strict=True):
        header = np.array([0x0800 + array.ndim, *array.shape], ">u4").tobytes()
        content = header + array.tobytes()
        (tmp_path / f"{name}{ending}").write_bytes(gzip.compress(content, 1) if ending else content)
    # As if these 5,000 images were all that was published.
    card = replace(datasets.DATASETS["mnist"], sha256=datasets.DATASETS["mnist_5k"].sha256)
    monkeypatch.setitem(datasets.DATASETS, "mnist", card)
    loaded = load("mnist", Settings(data_dir=tmp_path))
    assert np.array_equal(loaded.test_images, mnist_5k.test_images)
    assert loaded.sha256 == mnist_5k.sha256


def test_f1_a_flipped_bit_in_an_idx_file_is_refused(mnist_5k: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "fashion_mnist"
    folder.mkdir()
    for name in IDX_FILES:
        content = bytearray(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 9, *range(9)])))
        content[len(content) // 2] ^= 16
        (folder / f"{name}.gz").write_bytes(content)
    with pytest.raises(DatasetUnavailable, match="fashion_mnist"):
        load("fashion_mnist", Settings(data_dir=tmp_path))


@pytest.mark.parametrize(("rows", "of"), [(4000, 5), (997, 7), (1001, 3), (100, 4)])
def test_parts_are_disjoint_stratified_and_cover_all_rows(mnist_5k: Dataset, rows: int, of: int) -> None:
    parts = [
        split_dataset(
            mnist_5k,
            DatasetSpec(
                name="mnist_5k",
                train_samples=rows,
                split_seed=3,
                label_noise=0.5,
                part=PartSpec(of=of, index=index),
            ),
        )
        for index in range(of)
    ]
    subset = split_dataset(
        mnist_5k,
        DatasetSpec(name="mnist_5k", train_samples=rows, split_seed=3, validation_fraction=0.0),
    )
    drawn, counts = [], []
    for index, split in enumerate(parts):
        assert split.validation is not None
        drawn.append(np.concatenate([split.train.rows, split.validation.rows]))
        spec = DatasetSpec(name="mnist_5k", train_samples=rows, part=PartSpec(of=of, index=index))
        assert (len(split.train), len(split.validation)) == (
            spec.training_examples,
            spec.validation_examples,
        )
        counts.append(np.bincount(mnist_5k.train_labels[drawn[-1]], minlength=10))
    assert np.array_equal(np.sort(np.concatenate(drawn)), np.sort(subset.train.rows))
    assert np.ptp([len(part) for part in drawn]) <= 1
    assert np.ptp(counts, axis=0).max() <= 1


def test_the_partition_is_drawn_from_the_split_seed(mnist_5k: Dataset) -> None:
    first, again, other = (
        split_dataset(
            mnist_5k, DatasetSpec(name="mnist_5k", split_seed=seed, part=PartSpec(of=5, index=2))
        ).train.rows
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert np.isin(first, other).mean() == pytest.approx(0.2, abs=0.07)
