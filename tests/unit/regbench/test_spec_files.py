"""regbench.cli.spec_files: how specification files and --set are parsed."""

import io
from pathlib import Path
from typing import Any

import pytest

from regbench.cli.spec_files import InvalidSpecFile, apply_settings, parse_axes, parse_seeds, read_document

WRITTEN = """
name: dropout and L2   # a remark
dataset: {name: mnist_5k}
regularization:
  l2: {factor: 1e-4}
  dropout: {rate: 0.5}
labels: {answer: no}
"""


def test_yaml_is_read_as_version_1_2(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(WRITTEN)
    assert read_document(str(tmp_path / "job.yaml")) == {
        "name": "dropout and L2",
        "dataset": {"name": "mnist_5k"},
        # YAML 1.1 has text in the first of these, and false in the last.
        "regularization": {"l2": {"factor": 0.0001}, "dropout": {"rate": 0.5}},
        "labels": {"answer": "no"},
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("job.json", "{seed: 7}", "is not JSON"),
        ("job.yaml", "seed: [7", "neither JSON nor YAML: line"),
        ("job.yaml", "seed: 7\nseed: 8", 'found duplicate key "seed"'),
        ("job.yaml", "name: 2026-01-31", "put it in quotes"),
        ("job.yaml", "name: !!python/object/apply:os.system [ls]", "neither JSON nor YAML"),
        ("job.yaml", "- seed: 7", "must contain an object"),
        ("job.json", "7", "must contain an object"),
        ("job.yaml", "", "must contain an object"),
        ("job.yaml", "[" * 5_000, "nested too deeply"),
    ],
)
def test_a_syntax_error_is_reported_with_its_position(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidSpecFile) as refused:
        read_document(str(tmp_path / name))
    assert message in refused.value.message
    assert str(tmp_path / name) in refused.value.message


def test_a_file_that_is_not_text_is_reported(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidSpecFile, match="is not text in UTF-8"):
        read_document(str(tmp_path / "job.yaml"))


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("training.epochs=5", {"training": {"epochs": 5}, "seed": 1}),
        ("regularization.l2.factor=1e-4", {"regularization": {"l2": {"factor": 0.0001}}, "seed": 1}),
        ("name=a=b", {"name": "a=b", "seed": 1}),
        ("name=", {"name": None, "seed": 1}),
        ('name="5"', {"name": "5", "seed": 1}),
        ("model.hidden_units=[512, 512]", {"model": {"hidden_units": [512, 512]}, "seed": 1}),
        ("training={epochs: 3}", {"training": {"epochs": 3}, "seed": 1}),
        # Laid over a preset, null removes what the preset has.
        ("base.regularization=null", {"base": {"regularization": None}, "seed": 1}),
        ("seed.of=2", {"seed": {"of": 2}}),
    ],
)
def test_a_setting_sets_one_field_and_leaves_the_others(setting: str, expected: dict[str, Any]) -> None:
    document = {"seed": 1}
    assert apply_settings(document, [setting]) == expected
    assert document == {"seed": 1}


@pytest.mark.parametrize(
    "value",
    [
        *("run #3", "#1", "&amp", "|", ">", "@user", "%d", "*star", "a: b", "[a] b", "[1", "- a", "!x y"),
        *("2026", "0.5", "true", "1e-4", "2026-01-31", "NaN", "[1, 2]", "{a: 1}", "9" * 5_000, "'a' #b"),
    ],
)
@pytest.mark.parametrize("path", ["name", "base.name", "labels.sweep"])
def test_f10_names_and_labels_are_used_as_written(path: str, value: str) -> None:
    document = apply_settings({}, [f"{path}={value}"])
    for name in path.split("."):
        document = document[name]
    assert document == value


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("name='5'", {"name": "5"}),
        ('name="a\\"b"', {"name": 'a"b'}),
        ("labels.a=null", {"labels": {"a": None}}),
        ("labels.a.b=c=d", {"labels": {"a.b": "c=d"}}),
        ("base.labels.v1.0=7", {"base": {"labels": {"v1.0": "7"}}}),
        ("labels={a.b: c}", {"labels": {"a.b": "c"}}),
        ("model.activation=relu #3", {"model": {"activation": "relu #3"}}),
        ("seed=5 # five", {"seed": "5 # five"}),
        ("seed=~", {"seed": None}),
        ("training=epochs: 5\nbatch_size: 32", {"training": {"epochs": 5, "batch_size": 32}}),
    ],
)
def test_f10_the_whole_value_is_set(setting: str, expected: dict[str, Any]) -> None:
    assert apply_settings({}, [setting]) == expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["job.json", "job.JSON", "job.yaml"])
def test_f21_every_unicode_encoding_is_read(tmp_path: Path, name: str, encoding: str) -> None:
    (tmp_path / name).write_bytes('{"name": "größer"}'.encode(encoding))
    assert read_document(str(tmp_path / name)) == {"name": "größer"}


def test_f21_stdin_is_read_whatever_its_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        content = io.BytesIO("name: größer".encode(encoding))
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(content, encoding="latin-1"))
        assert read_document("-") == {"name": "größer"}


def test_f21_a_number_that_is_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(f'{{"seed": {"9" * 5_000}}}')
    with pytest.raises(InvalidSpecFile, match="is not JSON"):
        read_document(str(tmp_path / "job.json"))


def test_overlapping_settings_are_merged() -> None:
    settings = ["training.epochs=5", "training.batch_size=32", "training.epochs=6"]
    assert apply_settings({}, settings) == {"training": {"epochs": 6, "batch_size": 32}}


@pytest.mark.parametrize(
    "setting",
    [
        "training.epochs",
        "=5",
        "training..epochs=5",
        ".=1",
        "seed=[1",
        "seed=2026-01-31",
        "training={epochs: 5} # x",
    ],
)
def test_an_invalid_setting_is_refused(setting: str) -> None:
    with pytest.raises(InvalidSpecFile):
        apply_settings({}, [setting])


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("7", [7]), ("0-3", [0, 1, 2, 3]), ("0,3, 5-6", [0, 3, 5, 6]), ("1-2,2-3", [1, 2, 3]), ("4-4", [4])],
)
def test_seeds_are_written_as_ranges(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "-1", "3-1", "0-1000", "1,,2", "1.5", "0-99999999999"])
def test_invalid_seeds_are_refused(text: str) -> None:
    with pytest.raises(InvalidSpecFile, match="--seeds"):
        parse_seeds(text)


@pytest.mark.parametrize(
    ("option", "field", "values"),
    [
        ("/dataset/train_samples=250,1000,4000", "/dataset/train_samples", [250, 1000, 4000]),
        ("base.dataset.train_samples=250, null", "/dataset/train_samples", [250, None]),
        ("model.hidden_units=[16],[64, 64],[]", "/model/hidden_units", [[16], [64, 64], []]),
        ("training.optimizer.learning_rate=1e-4,0.01", "/training/optimizer/learning_rate", [1e-4, 0.01]),
        ("training.optimizer.name=sgd,adam", "/training/optimizer/name", ["sgd", "adam"]),
    ],
)
def test_an_axis_is_a_field_and_its_values(option: str, field: str, values: list[Any]) -> None:
    assert parse_axes([option]) == [{"field": field, "values": values}]


@pytest.mark.parametrize("option", ["", "a", "a=", "a= ", "=1", "/=1", "a..b=1", "a=[1", "a=1],[2"])
def test_invalid_axes_are_refused(option: str) -> None:
    with pytest.raises(InvalidSpecFile, match="--axis"):
        parse_axes([option])


@pytest.mark.parametrize("suffix", ["json", "yaml", "yml"])
def test_f21_a_byte_order_mark_is_ignored(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"spec.{suffix}"
    file.write_bytes(b'\xef\xbb\xbf{"seed": 3}')
    assert read_document(str(file)) == {"seed": 3}
