import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from models.dataset_cards import DATASETS
from models.dataset_spec import DatasetSpec
from models.documents import merge_patch
from models.spec import STORED, Cnn, JobSpec, Mlp, OptimizerSpec, TrainingSpec, get_validation_errors
from tests.factories import EVERY_TECHNIQUE_TOGETHER, job_spec

CNN = {"family": "cnn", "filters": [4], "hidden_units": [8]}
LINEAR = {"hidden_units": []}


CONTENT = {"digest": "a" * 64, "classes": 26, "train_examples": 900, "test_examples": 90}


def read(document: dict[str, Any]) -> JobSpec:
    """As the API reads a body: from JSON text."""
    return JobSpec.model_validate_json(json.dumps(document))


def test_the_empty_document_is_the_seed_experiments_plain_network() -> None:
    spec = read({})
    assert spec.dataset.name == "mnist"
    assert spec.model.hidden_units == (512, 512)
    assert spec.model.activation == "relu"
    assert spec.training.optimizer.name == "adam"
    assert (spec.training.batch_size, spec.training.epochs) == (32, 10)
    assert spec.regularization.model_dump() == {}
    assert (spec.dataset.training_examples, spec.dataset.validation_examples) == (48_000, 12_000)


@pytest.mark.parametrize(
    ("document", "location"),
    [
        ({"surprise": 1}, ("surprise",)),
        ({"model": {"layers": 2}}, ("model", "layers")),
        ({"regularization": {"magic": {}}}, ("regularization", "magic")),
        ({"regularization": {"dropout": {"ratio": 0.5}}}, ("regularization", "dropout", "ratio")),
        ({"dataset": {"name": "no/such"}}, ("dataset", "name")),
        ({"dataset": {"content": CONTENT | {"classes": 63}}}, ("dataset", "content", "classes")),
        ({"dataset": {"train_samples": 99}}, ("dataset", "train_samples")),
        ({"dataset": {"label_noise": 1.01}}, ("dataset", "label_noise")),
        ({"dataset": {"validation_fraction": 0.51}}, ("dataset", "validation_fraction")),
        ({"dataset": {"split_seed": -1}}, ("dataset", "split_seed")),
        ({"model": {"hidden_units": [1] * 9}}, ("model", "hidden_units")),
        ({"model": {"hidden_units": [0]}}, ("model", "hidden_units", 0)),
        ({"model": {"hidden_units": [16, 10**9]}}, ("model", "hidden_units", 1)),
        ({"model": {"hidden_units": [16.0]}}, ("model", "hidden_units", 0)),
        ({"model": {"activation": "swish"}}, ("model", "activation")),
        ({"model": 512}, ("model",)),
        ({"model": None}, ("model",)),
        ({"model": [512]}, ("model",)),
        ({"model": {"family": "rnn"}}, ("model", "family")),
        ({"model": {"family": None}}, ("model", "family")),
        ({"model": {"family": ["cnn"]}}, ("model", "family")),
        ({"model": {"filters": [8]}}, ("model", "filters")),
        ({"model": {"family": "mlp", "kernel_size": 3}}, ("model", "kernel_size")),
        ({"model": {"family": "cnn", "layers": 2}}, ("model", "layers")),
        ({"model": {"family": "cnn", "filters": []}}, ("model", "filters")),
        ({"model": {"family": "cnn", "filters": [8] * 5}}, ("model", "filters")),
        ({"model": {"family": "cnn", "filters": [8, 257]}}, ("model", "filters", 1)),
        ({"model": {"family": "cnn", "filters": [0]}}, ("model", "filters", 0)),
        ({"model": {"family": "cnn", "filters": [8.0]}}, ("model", "filters", 0)),
        ({"model": {"family": "cnn", "filters": 8}}, ("model", "filters")),
        ({"model": {"family": "cnn", "kernel_size": 4}}, ("model", "kernel_size")),
        ({"model": {"family": "cnn", "hidden_units": [1] * 9}}, ("model", "hidden_units")),
        ({"model": {"family": "cnn", "hidden_units": [8, 4097]}}, ("model", "hidden_units", 1)),
        ({"training": {"optimizer": {"name": "nadam"}}}, ("training", "optimizer", "name")),
        ({"training": {"epochs": 0}}, ("training", "epochs")),
        ({"training": {"epochs": 1001}}, ("training", "epochs")),
        ({"training": {"epochs": "10"}}, ("training", "epochs")),
        ({"training": {"epochs": True}}, ("training", "epochs")),
        ({"training": {"batch_size": 4097}}, ("training", "batch_size")),
        ({"training": {"optimizer": {"learning_rate": 0}}}, ("training", "optimizer", "learning_rate")),
        ({"training": {"optimizer": {"learning_rate": 10.1}}}, ("training", "optimizer", "learning_rate")),
        ({"seed": 2**31}, ("seed",)),
        ({"priority": 101}, ("priority",)),
        ({"name": "n" * 201}, ("name",)),
        ({"name": "nothing\0more"}, ("name",)),
        ({"labels": {"team": "v" * 201}}, ("labels", "team")),
        ({"labels": {"team": "v\0"}}, ("labels", "team")),
        ({"labels": {"team": 1}}, ("labels", "team")),
        ({"labels": {f"label{number}": "" for number in range(33)}}, ("labels",)),
    ],
)
def test_a_value_out_of_bounds_is_refused_at_its_field(
    document: dict[str, Any], location: tuple[str | int, ...]
) -> None:
    with pytest.raises(ValidationError) as refused:
        read(document)
    assert [fault["loc"] for fault in refused.value.errors()] == [location]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    "template",
    [
        '{"dataset": {"label_noise": %s}}',
        '{"training": {"optimizer": {"learning_rate": %s}}}',
        '{"regularization": {"l2": {"factor": %s}}}',
    ],
)
def test_a_non_finite_number_is_refused(template: str, number: str) -> None:
    with pytest.raises(ValidationError):
        JobSpec.model_validate_json(template % number)


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"dataset": {"name": "mnist_5k", "train_samples": 4001}}, "/dataset/train_samples"),
        (
            {"dataset": {"validation_fraction": 0}, "regularization": {"early_stopping": {}}},
            "/regularization/early_stopping",
        ),
        (
            {
                "dataset": {"validation_fraction": 0},
                "regularization": {"learning_rate_schedule": {"kind": "plateau"}},
            },
            "/regularization/learning_rate_schedule/kind",
        ),
        ({"training": {"optimizer": {"momentum": 0.9}}}, "/training/optimizer/momentum"),
        ({"training": {"optimizer": {"name": "adamw"}}}, "/training/optimizer/name"),
        (
            {"dataset": {"train_samples": 100}, "training": {"batch_size": 81}},
            "/training/batch_size",
        ),
        ({"regularization": {"mixup": {}}, "training": {"batch_size": 1}}, "/training/batch_size"),
        ({"evaluation": {"memorization": True, "test": False}}, "/evaluation/memorization"),
        (
            {"evaluation": {"memorization": True}, "dataset": {"label_noise": 0.2}},
            "/evaluation/memorization",
        ),
        ({"regularization": {"spatial_dropout": {}}}, "/regularization/spatial_dropout"),
        ({"model": CNN, "regularization": {"group_l1": {}}}, "/regularization/group_l1"),
        (
            {"model": CNN | {"hidden_units": []}, "regularization": {"dropout": {}}},
            "/regularization/dropout/rate",
        ),
        (
            {"model": CNN | {"hidden_units": []}, "regularization": {"gaussian_dropout": {}}},
            "/regularization/gaussian_dropout/rate",
        ),
        ({"model": LINEAR, "regularization": {"dropout": {}}}, "/regularization/dropout/rate"),
        # Six examples a part have no two of each of ten classes.
        (
            {"dataset": {"name": "mnist_5k", "train_samples": 300, "part": {"of": 50, "index": 0}}},
            "/dataset/part/of",
        ),
        ({"model": LINEAR, "regularization": {"max_norm": {}}}, "/regularization/max_norm/limit"),
        ({"model": LINEAR, "regularization": {"activity_l1": {}}}, "/regularization/activity_l1/factor"),
        (
            {"model": LINEAR, "regularization": {"batch_normalization": {}}},
            "/regularization/batch_normalization",
        ),
        (
            {"model": LINEAR, "regularization": {"layer_normalization": {}}},
            "/regularization/layer_normalization",
        ),
        (
            {"regularization": {"early_stopping": {"start_epoch": 11}}},
            "/regularization/early_stopping/start_epoch",
        ),
        (
            {"regularization": {"exponential_moving_average": {}, "stochastic_weight_averaging": {}}},
            "/regularization/stochastic_weight_averaging",
        ),
        (
            {"regularization": {"batch_normalization": {}, "stochastic_weight_averaging": {}}},
            "/regularization/stochastic_weight_averaging",
        ),
    ],
)
def test_a_contradiction_names_a_field(document: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ValidationError) as refused:
        read(document)
    [fault] = refused.value.errors()
    assert fault["ctx"]["pointer"] == pointer
    assert fault["msg"] == fault["ctx"]["detail"]


@pytest.mark.parametrize(
    "document",
    [
        {"dataset": {"train_samples": 100}, "training": {"batch_size": 80}},
        {"dataset": {"name": "mnist_5k", "train_samples": 4000}},
        {"dataset": {"validation_fraction": 0}, "regularization": {"learning_rate_schedule": {}}},
        {"training": {"optimizer": {"name": "sgd", "momentum": 0.9}}},
        {"training": {"optimizer": {"name": "adamw"}}, "regularization": {"weight_decay": {}}},
        {"training": {"optimizer": {"name": "adamw"}}, "regularization": {"weight_decay": {"factor": 0}}},
        {"training": {"batch_size": 2}, "regularization": {"mixup": {}}},
        {"training": {"batch_size": 1}, "regularization": {"mixup": {"alpha": 0}}},
        {"regularization": {"spatial_dropout": {"rate": 0}}},
        {"model": CNN, "regularization": {"spatial_dropout": {}}},
        {"model": CNN, "regularization": {"group_l1": {"factor": 0}}},
        {"model": CNN | {"hidden_units": []}, "regularization": {"dropout": {"rate": 0, "input_rate": 0.2}}},
        {"regularization": {"early_stopping": {"start_epoch": 10}}},
        {"model": LINEAR, "regularization": {"dropout": {"rate": 0, "input_rate": 0.5}}},
        {
            "model": CNN | {"hidden_units": []},
            "regularization": {"batch_normalization": {}, "max_norm": {}, "activity_l1": {}},
        },
        {
            "regularization": {
                "exponential_moving_average": {"decay": 0},
                "stochastic_weight_averaging": {},
                "layer_normalization": {},
            }
        },
        {"regularization": {name: {} for name in EVERY_TECHNIQUE_TOGETHER}},
    ],
)
def test_consistent_or_unused_settings_are_accepted(document: dict[str, Any]) -> None:
    assert read(document)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"family": "rnn"}, "choose mlp or cnn"),
        ({"filters": [8]}, "an mlp has no filters"),
        ({"kernel_size": 3}, "choose family cnn"),
        ({"kernel": 3}, "no such field here"),
        ([], 'such as {"family": "mlp"}'),
    ],
)
def test_the_error_of_a_wrong_family_or_field_explains_what_to_do(model: Any, words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        read({"model": model})
    [(_, detail)] = get_validation_errors(refused.value)
    assert words in detail


def test_the_family_determines_the_model() -> None:
    assert read({"model": {}}).model == Mlp()
    convolutional = read({"model": {"family": "cnn"}}).model
    assert isinstance(convolutional, Cnn)
    assert (convolutional.filters, convolutional.kernel_size) == ((32, 64), 3)
    assert convolutional.hidden_units == (128,)
    assert read({"model": {"family": "cnn", "hidden_units": []}}).model.hidden_units == ()


def test_the_schema_distinguishes_model_families() -> None:
    schema = JobSpec.model_json_schema()
    families = [part["$ref"].rpartition("/")[2] for part in schema["properties"]["model"]["anyOf"]]
    assert families == ["Mlp", "Cnn"]
    # An absent family is an mlp: what names none must not fit both.
    assert [schema["$defs"][name].get("required", []) for name in families] == [[], ["family"]]


@pytest.mark.parametrize(
    ("samples", "fraction", "training", "validation"),
    [
        (100, 0.0, 100, 0),
        (100, 0.3, 70, 30),
        (101, 0.2, 80, 21),
        (1000, 0.1, 900, 100),
        (1000, 0.5, 500, 500),
    ],
)
def test_examples_are_split_as_keras_splits_them(
    samples: int, fraction: float, training: int, validation: int
) -> None:
    spec = DatasetSpec(train_samples=samples, validation_fraction=fraction)
    # keras/src/trainers/data_adapters/data_adapter_utils.py: int(floor(n * (1 - validation_split))).
    assert (spec.training_examples, spec.validation_examples) == (training, validation)


def test_the_specification_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        job_spec().seed = 1  # type: ignore[misc]  # that it cannot be assigned is what is tested


@pytest.mark.parametrize(
    "part", [DatasetSpec(), Mlp(), Cnn(family="cnn"), OptimizerSpec(), TrainingSpec()], ids=type
)
def test_every_field_is_described_and_has_a_default_within_its_bounds(part: BaseModel) -> None:
    for name, field in type(part).model_fields.items():
        if not (isinstance(field.default, BaseModel)):
            assert field.description, f"{type(part).__name__}.{name}"
    assert type(part).model_validate_json(part.model_dump_json()) == part


@pytest.mark.parametrize("model", [{"family": "mlp"}, {"family": "cnn", "filters": [4]}])
def test_a_spec_survives_storage(model: dict[str, Any]) -> None:
    spec = job_spec(
        name="é",
        labels={"team": "a"},
        model=model,
        regularization={"dropout": {"rate": 0.3}, "early_stopping": {}},
    )
    stored = json.loads(json.dumps(spec.model_dump(mode="json")))
    assert JobSpec.model_validate(stored) == spec
    assert JobSpec.model_validate(stored).spec_hash == spec.spec_hash


class TestSpecHash:
    """What changes it, and what must not."""

    @pytest.mark.parametrize(
        "changes",
        [
            {"name": "x"},
            {"labels": {"a": "b"}},
            {"priority": 7},
            {"evaluation": {"robustness": False, "memorization": False}},
        ],
    )
    def test_fields_that_cannot_change_the_weights_do_not_change_the_hash(
        self, changes: dict[str, Any]
    ) -> None:
        assert job_spec(**changes).spec_hash == job_spec().spec_hash

    @pytest.mark.parametrize(
        "changes",
        [
            {"seed": 1},
            {"dataset": {"split_seed": 1}},
            {"dataset": {"label_noise": 0.1}},
            {"dataset": {"train_samples": 500}},
            {"dataset": {"validation_split": "last"}},
            {"dataset": {"validation_fraction": 0.1}},
            {"model": {"hidden_units": [16, 16]}},
            {"model": {"activation": "tanh"}},
            {"model": {"family": "cnn"}},
            {"training": {"epochs": 2}},
            {"training": {"batch_size": 64}},
            {"training": {"optimizer": {"learning_rate": 0.01}}},
            {"training": {"optimizer": {"name": "sgd"}}},
            {"regularization": {"dropout": {}}},
            {"regularization": {"l1": {}}},
            {"regularization": {"l2": {}}},
            # Not the weights, but the result has more.
            {"evaluation": {"robustness": True}},
            {"evaluation": {"memorization": True}},
        ],
    )
    def test_fields_that_change_the_weights_change_the_hash(self, changes: dict[str, Any]) -> None:
        assert job_spec(**changes).spec_hash != job_spec().spec_hash

    def test_the_order_of_keys_does_not_change_the_hash(self) -> None:
        one = '{"seed": 1, "training": {"epochs": 2, "batch_size": 8}}'
        other = '{"training": {"batch_size": 8, "epochs": 2}, "seed": 1}'
        assert JobSpec.model_validate_json(one).spec_hash == JobSpec.model_validate_json(other).spec_hash

    @pytest.mark.parametrize(
        ("document", "same"),
        [
            (
                {"training": {"optimizer": {"learning_rate": 1}}},
                {"training": {"optimizer": {"learning_rate": 1.0}}},
            ),
            ({"dataset": {"label_noise": -0.0}}, {"dataset": {"label_noise": 0.0}}),
            ({"regularization": {"dropout": None}}, {}),
            ({"regularization": {"dropout": {}}}, {"regularization": {"dropout": {"rate": 0.5}}}),
            ({"dataset": {"name": "mnist", "validation_fraction": 0.2}}, {}),
        ],
    )
    def test_equal_specifications_have_equal_hashes(
        self, document: dict[str, Any], same: dict[str, Any]
    ) -> None:
        assert read(document) == read(same)
        assert read(document).spec_hash == read(same).spec_hash

    @pytest.mark.parametrize(
        ("document", "expected"),
        [
            ({}, "eb175d8e386a187aeb5bc51273617e5e8ffd0e508cf842273450f386c0d466a1"),
            (
                {
                    "dataset": {"name": "mnist_5k"},
                    "model": {"family": "mlp", "hidden_units": [16], "activation": "tanh"},
                    "regularization": {
                        "dropout": {"rate": 0.3},
                        "l2": {},
                        "learning_rate_schedule": {"kind": "step"},
                        "early_stopping": {"patience": 3},
                    },
                    "training": {"optimizer": {"name": "sgd", "momentum": 0.9}, "epochs": 3},
                    "seed": 7,
                },
                "7713236edd3a23cdea69a8f3f6cb50def5708eb42de86468124afb4db7075abb",
            ),
        ],
    )
    def test_the_hash_is_the_same_in_every_release(self, document: dict[str, Any], expected: str) -> None:
        # Results are looked up by it: a change here requires a migration of stored hashes.
        assert read(document).spec_hash == expected


def test_a_specification_names_the_datasets_of_the_catalogue() -> None:
    assert all(f"`{name}`" in (DatasetSpec.model_fields["name"].description or "") for name in DATASETS)


def test_the_hash_of_an_uploaded_dataset_holds_its_digest_and_not_its_name() -> None:
    letters = read({"dataset": {"name": "letters", "content": CONTENT}})
    renamed = read({"dataset": {"name": "mine", "content": CONTENT}})
    changed = read({"dataset": {"name": "letters", "content": CONTENT | {"digest": "b" * 64}}})
    assert letters.spec_hash == renamed.spec_hash != changed.spec_hash
    assert (letters.dataset.classes, letters.dataset.rows, letters.dataset.training_examples) == (
        26,
        900,
        720,
    )


def test_a_specification_is_checked_against_the_content_once_it_is_known() -> None:
    assert read({"dataset": {"name": "letters", "train_samples": 1_000}}).dataset.rows == 1_000
    with pytest.raises(ValidationError, match="letters has 900 training examples"):
        read({"dataset": {"name": "letters", "train_samples": 1_000, "content": CONTENT}})
    with pytest.raises(ValidationError, match="mnist is built in"):
        read({"dataset": {"name": "mnist", "content": CONTENT}})


def test_factory_changes_are_a_merge_patch() -> None:
    assert job_spec(training={"epochs": 3}).training.epochs == 3
    assert job_spec(model={"activation": "tanh"}).model.hidden_units == (16,)
    assert merge_patch({"a": 1}, {}) == {"a": 1}


INVISIBLE = [" ", "   ", "\u200b", "\u2060\t", "\u3164", "\u2800", "\u00ad", "\ufe0f", "\u0301"]


@pytest.mark.parametrize("name", ["", *INVISIBLE])
def test_f16_a_name_that_cannot_be_seen_is_refused(name: str) -> None:
    with pytest.raises(ValidationError) as refused:
        JobSpec(name=name)
    assert [error["loc"] for error in refused.value.errors()] == [("name",)]


@pytest.mark.parametrize("name", ["a", "0", "#", "\u4e2d", "\U0001f600", " a "])
def test_f16_a_name_that_can_be_seen_is_accepted(name: str) -> None:
    assert JobSpec(name=name).name == name


@pytest.mark.parametrize("name", ["", "a=b", "run.id", "a,b", " a", "a ", *INVISIBLE])
def test_f11_a_label_that_no_filter_finds_is_refused(name: str) -> None:
    with pytest.raises(ValidationError) as refused:
        JobSpec(labels={name: "c"})
    assert get_validation_errors(refused.value)[0][0] == ("labels", name)


@pytest.mark.parametrize("name", ["a", "a b", "a/b", "a:b", "\u00e9", "~"])
def test_f11_other_labels_are_accepted(name: str) -> None:
    assert JobSpec(labels={name: ""}).labels == {name: ""}


def test_f11_f16_a_stored_specification_stays_readable() -> None:
    stored = {"name": " ", "labels": {"a=b": "c"}}
    assert JobSpec.model_validate(stored, context=STORED).labels == {"a=b": "c"}
