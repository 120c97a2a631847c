"""Where images are searched for, and how failed downloads are handled. No test leaves this machine."""

import gzip
import hashlib
import io
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import get_args

import numpy as np
import pytest

from models import datasets
from models.dataset_cards import DATASETS, IDX_FILES, DatasetName
from models.datasets import (
    NPZ_ARRAYS,
    ensure_available,
    find_damage,
    find_dataset,
    is_available,
)
from models.errors import DatasetUnavailable
from models.settings import Settings


def _pack_arrays(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type] # arrays by name
    return file.getvalue()


CONTENT = _pack_arrays(**dict.fromkeys(NPZ_ARRAYS, np.zeros(3, np.uint8)))
# Valid IDX files of labels, and different ones: a single label each.
UNPACKED = {name: bytes([0, 0, 8, 1, 0, 0, 0, 1, label]) for label, name in enumerate(IDX_FILES)}
PACKED = {name: gzip.compress(content) for name, content in UNPACKED.items()}


class _Shelf(BaseHTTPRequestHandler):
    """Serves the files of a test; declares more bytes than it sends if the test requests that."""

    files: dict[str, bytes]
    missing_bytes: int
    requested: list[str]

    def do_GET(self) -> None:
        """Answer with the file of that name."""
        name = self.path.lstrip("/")
        self.requested.append(name)
        if name not in self.files:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.files[name]) + self.missing_bytes))
        self.end_headers()
        self.wfile.write(self.files[name])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (http.server's name)
        """Keep the test's output clean."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without any dataset, and no failed download remembered."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setattr(datasets, "_failed_downloads", {})
    card = replace(DATASETS["fashion_mnist"], shared_folders=("fashion-mnist", f"{tmp_path}/debian"))
    monkeypatch.setitem(DATASETS, "fashion_mnist", card)
    return tmp_path


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Shelf]]:
    """A real server on the loopback address, in place of the one that Keras downloads from."""

    class Shelf(_Shelf):
        files: dict[str, bytes] = {}  # noqa: RUF012 (a class for each test)
        missing_bytes = 0
        requested: list[str] = []  # noqa: RUF012 (a class for each test)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Shelf)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/"
    contents = {"mnist": [CONTENT], "fashion_mnist": [UNPACKED[name] for name in IDX_FILES]}
    for name, files in contents.items():
        downloads = [
            replace(
                download,
                url=url + download.path.rpartition("/")[2],
                sha256=hashlib.sha256(content).hexdigest(),
            )
            for download, content in zip(DATASETS[name].downloads, files, strict=True)
        ]
        monkeypatch.setitem(DATASETS, name, replace(DATASETS[name], downloads=tuple(downloads)))
    yield Shelf
    server.shutdown()
    thread.join()
    server.server_close()


def _keep(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _idx_folder(folder: Path, *, packed: bool) -> Path:
    for name in IDX_FILES:
        _keep(folder / (f"{name}.gz" if packed else name))
    return folder


def test_every_dataset_that_a_job_may_name_has_a_card() -> None:
    assert tuple(DATASETS) == get_args(DatasetName)
    for name, card in DATASETS.items():
        assert card.name == name
        assert all(len(bytes.fromhex(digest)) == 32 for digest in card.sha256)


def test_the_file_is_the_one_that_keras_uses() -> None:
    keras = find_spec("keras")  # found, not imported: that would take seconds
    assert keras is not None
    assert keras.origin is not None
    source = Path(keras.origin).parent / "src" / "datasets" / "mnist.py"
    assert DATASETS["mnist"].downloads[0].sha256 in source.read_text()


def test_the_data_folder_has_precedence_over_the_cache(home: Path, tmp_path: Path) -> None:
    cached = _keep(home / ".keras" / "datasets" / "mnist.npz")
    settings = Settings(data_dir=tmp_path / "data")
    assert find_dataset("mnist", settings) == cached
    own = _keep(tmp_path / "data" / "mnist.npz")
    assert find_dataset("mnist", settings) == own
    assert find_dataset("mnist", Settings(data_dir=None)) == cached


def test_the_cache_is_where_keras_is_configured_to_put_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(home / "elsewhere"))
    cached = _keep(home / "elsewhere" / "datasets" / "mnist.npz")
    assert find_dataset("mnist", Settings(data_dir=None)) == cached


def test_fashion_mnist_is_loaded_from_every_file_format_in_order(home: Path) -> None:
    settings = Settings(data_dir=home / "data")
    debian = _idx_folder(home / "debian", packed=True)
    assert find_dataset("fashion_mnist", settings) == debian
    cached = _idx_folder(home / ".keras" / "datasets" / "fashion-mnist", packed=False)
    assert find_dataset("fashion_mnist", settings) == cached
    own = _keep(home / "data" / "fashion_mnist.npz")
    assert find_dataset("fashion_mnist", settings) == own


def test_a_folder_that_lacks_a_file_is_skipped(home: Path) -> None:
    folder = _idx_folder(home / ".keras" / "datasets" / "fashion-mnist", packed=True)
    (folder / f"{IDX_FILES[3]}.gz").unlink()
    assert find_dataset("fashion_mnist", Settings(data_dir=None)) is None


def test_the_small_dataset_needs_no_download(home: Path) -> None:
    assert is_available("mnist_5k", Settings(data_dir=None))
    ensure_available("mnist_5k", Settings(data_dir=None))


def test_mnist_is_downloaded_once_into_the_cache(home: Path, shelf: type[_Shelf]) -> None:
    shelf.files = {"mnist.npz": CONTENT}
    ensure_available("mnist", Settings(data_dir=None))
    ensure_available("mnist", Settings(data_dir=None))
    assert shelf.requested == ["mnist.npz"]
    assert (home / ".keras" / "datasets" / "mnist.npz").read_bytes() == CONTENT


def test_fashion_mnist_is_downloaded_in_the_format_of_keras(home: Path, shelf: type[_Shelf]) -> None:
    shelf.files = {f"{name}.gz": content for name, content in PACKED.items()}
    ensure_available("fashion_mnist", Settings(data_dir=None))
    folder = home / ".keras" / "datasets" / "fashion-mnist"
    assert find_dataset("fashion_mnist", Settings(data_dir=None)) == folder
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.gz" for name in IDX_FILES)


@pytest.mark.parametrize(
    ("files", "missing_bytes"),
    [
        pytest.param({}, 0, id="not found"),
        pytest.param({"mnist.npz": b"<html>Please log in</html>"}, 0, id="something else"),
        pytest.param({"mnist.npz": CONTENT}, 10, id="broken off"),
    ],
)
def test_a_failed_download_leaves_no_file_and_explains_what_to_do(
    home: Path, shelf: type[_Shelf], files: dict[str, bytes], missing_bytes: int
) -> None:
    shelf.files, shelf.missing_bytes = files, missing_bytes
    with pytest.raises(DatasetUnavailable) as caught:
        ensure_available("mnist", Settings(data_dir=None))
    [fault] = caught.value.errors
    assert fault.pointer == "/dataset/name"
    assert "REGBENCH_DATA_DIR" in fault.detail
    assert "mnist_5k" in fault.detail
    assert list((home / ".keras" / "datasets").iterdir()) == []


def test_a_damaged_gzip_file_is_refused(home: Path, shelf: type[_Shelf]) -> None:
    shelf.files = {f"{name}.gz": content[:-9] for name, content in PACKED.items()}
    with pytest.raises(DatasetUnavailable):
        ensure_available("fashion_mnist", Settings(data_dir=None))


def test_a_failed_download_is_not_retried_immediately_but_an_added_file_is_used(
    home: Path, shelf: type[_Shelf]
) -> None:
    for _ in range(3):
        with pytest.raises(DatasetUnavailable):
            ensure_available("mnist", Settings(data_dir=None))
    assert shelf.requested == ["mnist.npz"]
    _keep(home / "data" / "mnist.npz", CONTENT)
    ensure_available("mnist", Settings(data_dir=home / "data"))
    shutil.rmtree(home / "data")
    with pytest.raises(DatasetUnavailable):
        ensure_available("mnist", Settings(data_dir=home / "data"))


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:731c5ac6\nsize 11490434\n"
DAMAGED_NPZ = {
    "cut off in the middle": (CONTENT[: len(CONTENT) // 2], "is damaged or truncated"),
    "last byte missing": (CONTENT[:-1], "is damaged or truncated"),
    "empty": (b"", "is empty"),
    "text": (b"not a zip file", "is damaged or truncated"),
    "web page": (b"<!DOCTYPE html><title>Log in</title>", "is a web page"),
    "web page without doctype": (b"<html>Please log in</html>", "is a web page"),
    "git lfs": (LFS_POINTER, "git lfs pull"),
    "one array": (b"\x93NUMPY\x01\x00", "is a single array"),
    "pickle": (pickle.dumps([1, 2]), "is a pickle"),
    "other keys": (_pack_arrays(images=np.zeros(3), y_train=np.zeros(3)), "has no x_test.npy, x_train.npy"),
    "gzip": (gzip.compress(CONTENT), "is damaged"),
}


@pytest.mark.parametrize(("content", "reason"), DAMAGED_NPZ.values(), ids=DAMAGED_NPZ)
def test_f1_a_damaged_archive_is_not_available_and_is_named(
    home: Path, shelf: type[_Shelf], content: bytes, reason: str
) -> None:
    path, settings = _keep(home / "data" / "mnist.npz", content), Settings(data_dir=home / "data")
    assert not is_available("mnist", settings)
    with pytest.raises(DatasetUnavailable) as caught:
        ensure_available("mnist", settings)
    [error] = caught.value.errors
    assert error.detail.startswith(f"{path} ")
    assert reason in error.detail
    assert "mnist_5k" in error.detail


def test_f1_an_intact_copy_has_precedence_over_a_damaged_one(home: Path, shelf: type[_Shelf]) -> None:
    settings = Settings(data_dir=home / "data")
    _keep(home / "data" / "mnist.npz", CONTENT[:-1])
    shelf.files = {"mnist.npz": CONTENT}
    ensure_available("mnist", settings)
    assert find_dataset("mnist", settings) == home / ".keras" / "datasets" / "mnist.npz"


def test_f1_a_damaged_download_is_replaced(home: Path, shelf: type[_Shelf]) -> None:
    path = _keep(home / ".keras" / "datasets" / "mnist.npz", CONTENT[:100])
    shelf.files = {"mnist.npz": CONTENT}
    ensure_available("mnist", Settings(data_dir=None))
    assert path.read_bytes() == CONTENT


def _store_idx_files(folder: Path, rename: Callable[[str], str], *, packed: bool) -> Path:
    for name in IDX_FILES:
        _keep(folder / rename(name), (PACKED if packed else UNPACKED)[name])
    return folder


@pytest.mark.parametrize("folder", ["", "mnist", "MNIST/raw"])
@pytest.mark.parametrize(
    ("rename", "packed"),
    [
        (lambda name: name, False),
        (lambda name: f"{name}.gz", True),
        (lambda name: name.replace("-idx", ".idx"), False),
        (lambda name: name, True),  # packed, whatever its name says
    ],
    ids=["plain", "gz", "dots", "gz without its ending"],
)
def test_f1_mnist_is_loaded_from_its_four_idx_files(
    home: Path, folder: str, rename: Callable[[str], str], packed: bool
) -> None:
    settings = Settings(data_dir=home / "data")
    stored = _store_idx_files(home / "data" / folder, rename, packed=packed)
    assert find_dataset("mnist", settings) == stored
    assert is_available("mnist", settings)
    assert not is_available("fashion_mnist", settings)


DAMAGED_IDX = {
    "cut off": PACKED[IDX_FILES[2]][:-3],
    "half": PACKED[IDX_FILES[2]][:12],
    "plain, cut off": UNPACKED[IDX_FILES[2]][:-1],
    "plain, too long": UNPACKED[IDX_FILES[2]] + b"x",
    "header alone": UNPACKED[IDX_FILES[2]][:6],
    "empty": b"",
    "web page": b"<!doctype html>",
    "git lfs": LFS_POINTER,
    "other type": b"\0\0\x0d\x01\0\0\0\0",
}


@pytest.mark.parametrize("content", DAMAGED_IDX.values(), ids=DAMAGED_IDX)
@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist"])
def test_f1_a_damaged_idx_file_is_named(home: Path, dataset: str, content: bytes) -> None:
    settings = Settings(data_dir=home / "data")
    folder = _store_idx_files(home / "data" / dataset, lambda name: f"{name}.gz", packed=True)
    assert is_available(dataset, settings)
    damaged = _keep(folder / f"{IDX_FILES[2]}.gz", content)
    assert not is_available(dataset, settings)
    assert str(find_damage(folder)).startswith(f"{damaged} ")


def test_f13_the_folder_of_keras_may_begin_with_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", "~/keras")
    assert datasets.get_keras_cache_folder() == tmp_path / "keras" / "datasets"
