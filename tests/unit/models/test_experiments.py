from typing import Any

import pytest
from pydantic import ValidationError

from models.documents import merge_patch
from models.experiment_checks import find_variant_errors
from models.experiments import ExperimentSpec, Variant
from models.extensions import Extension
from models.parts import PartSpec
from models.run_key import count_runs
from models.spec import STORED, get_validation_errors
from models.stopping_rules import get_common_seeds
from tests.factories import job_spec


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    # RFC 7396, appendix A, whole and in its order.
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_is_rfc_7396(target: Any, patch: Any, expected: Any) -> None:
    assert merge_patch(target, patch) == expected


def test_a_field_of_jobs_is_refused_with_a_hint_at_base() -> None:
    with pytest.raises(ValidationError) as refused:
        experiment(training={"epochs": 5})
    assert get_validation_errors(refused.value) == [
        (("training",), "only a job has this field; in an experiment it is base.training")
    ]


def test_merge_patch_does_not_modify_its_arguments() -> None:
    target, patch = {"a": {"b": 1}}, {"a": {"c": 2, "b": None}}
    merge_patch(target, patch)
    assert (target, patch) == ({"a": {"b": 1}}, {"a": {"c": 2, "b": None}})


def experiment(**fields: Any) -> ExperimentSpec:
    document: dict[str, Any] = {
        "name": "dropout or not",
        "base": job_spec().model_dump(mode="json"),
        "variants": [{"name": "none"}, {"name": "dropout", "changes": {"regularization": {"dropout": {}}}}],
    }
    return ExperimentSpec.model_validate(document | fields)


def test_runs_are_ordered_by_seed_so_that_pairs_finish_together() -> None:
    runs = experiment(seeds=[7, 3]).build_runs()
    assert [(key.variant, spec.seed) for key, spec in runs] == [
        ("none", 7),
        ("dropout", 7),
        ("none", 3),
        ("dropout", 3),
    ]
    assert [[*spec.regularization.model_dump()] for _, spec in runs] == [[], ["dropout"]] * 2
    assert runs[1][1].name == "dropout, seed 7"


def test_paired_runs_differ_only_in_the_variants_change() -> None:
    plain, changed = (spec for _, spec in experiment().build_runs())
    apart = {"name", "regularization"}
    assert plain.model_dump(exclude=apart) == changed.model_dump(exclude=apart)


def test_the_split_follows_the_seed_only_where_an_experiment_says_so() -> None:
    def get_split_seeds(spec: ExperimentSpec) -> list[int]:
        return [run.dataset.split_seed for _, run in spec.build_runs()]

    document = experiment(seeds=[4, 9]).model_dump(mode="json", exclude={"split_per_seed"})
    document["base"]["dataset"]["split_seed"] = 2**31 - 5
    assert get_split_seeds(ExperimentSpec.model_validate(document)) == [2**31 - 1] * 2 + [4] * 2
    stored = ExperimentSpec.model_validate(document, context=STORED)
    assert stored.split_per_seed is False
    assert get_split_seeds(stored) == [2**31 - 5] * 4
    extended = ExperimentSpec.model_validate(Extension(seeds=(1,)).apply_to(document))
    assert get_split_seeds(extended) == [2**31 - 5] * 6


def test_a_variant_that_resets_the_dataset_still_follows_the_seed() -> None:
    variants = [{"name": "none"}, {"name": "all images", "changes": {"dataset": None}}]
    runs = experiment(variants=variants, seeds=[6], allow_confounders=True).build_runs()
    assert [run.dataset.split_seed for _, run in runs] == [6, 6]


def test_every_variant_runs_on_every_part_of_each_seeds_partition() -> None:
    spec = experiment(base={"dataset": {"name": "mnist_5k"}}, seeds=[7, 3], parts=2)
    runs = spec.build_runs()
    assert [(key.variant, key.seed, key.part) for key, _ in runs][:5] == [
        ("none", 7, 0),
        ("dropout", 7, 0),
        ("none", 7, 1),
        ("dropout", 7, 1),
        ("none", 3, 0),
    ]
    assert spec.split_per_seed
    assert [(run.dataset.part, run.dataset.split_seed) for _, run in runs][2:4] == [
        (PartSpec(of=2, index=1), 7)
    ] * 2
    assert runs[2][1].name == "none, seed 7, part 1"
    assert len(runs) == spec.planned_jobs == count_runs(spec.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"parts": 1}, "/parts"),
        ({"parts": 201, "base": {"dataset": {"name": "mnist_5k"}}}, "/parts"),
        ({"parts": 2, "base": {"dataset": {"part": {"of": 2, "index": 0}}}}, "/base/dataset/part"),
        ({"base": {"dataset": {"part": {"of": 2, "index": 2}}}}, "/base/dataset/part/index"),
        (
            {"base": {"dataset": {"name": "mnist_5k", "part": {"of": 201, "index": 0}}}},
            "/base/dataset/part/of",
        ),
    ],
)
def test_parts_that_cannot_be_are_refused(fields: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ValidationError) as refused:
        experiment(**fields)
    locations = ["/".join(["", *map(str, place)]) for place, _ in get_validation_errors(refused.value)]
    assert locations == [pointer]


def test_a_variant_may_not_choose_its_part() -> None:
    changes = {"dataset": {"part": {"of": 2, "index": 0}}}
    spec = experiment(parts=2, variants=[{"name": "none"}, {"name": "other", "changes": changes}])
    assert [location for location, _ in find_variant_errors(spec)] == [
        ("variants", 1, "changes", "dataset", "part")
    ]


def test_without_parts_specifications_are_written_as_before() -> None:
    spec = experiment()
    assert "parts" not in spec.model_dump()
    assert "part" not in spec.base.model_dump()["dataset"]


def test_an_invalid_base_is_the_only_fault() -> None:
    with pytest.raises(ValidationError) as refused:
        experiment(base={"seed": -1})
    assert [location for location, _ in get_validation_errors(refused.value)] == [("base", "seed")]


def test_replicates_are_the_first_seeds() -> None:
    assert experiment(replicates=3).run_seeds == [0, 1, 2]


def test_a_resolved_experiment_lists_its_seeds_and_can_be_parsed_again() -> None:
    resolved = experiment(replicates=2).resolve_seeds()
    assert (resolved.seeds, resolved.replicates) == ((0, 1), None)
    again = ExperimentSpec.model_validate(resolved.model_dump(mode="json"))
    assert again.build_runs() == experiment(replicates=2).build_runs()


def test_the_baseline_is_the_first_variant_unless_named() -> None:
    assert experiment().baseline_name == "none"
    assert experiment(baseline="dropout").baseline_name == "dropout"


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"variants": []}, "/variants"),
        ({"variants": [{"name": "a"}, {"name": "a"}]}, "/variants"),
        ({"seeds": []}, "/seeds"),
        ({"seeds": [1, 2, 1]}, "/seeds"),
        ({"seeds": [0], "replicates": 2}, "/replicates"),
        ({"baseline": "no such variant"}, "/baseline"),
        (
            {"base": {"evaluation": {"memorization": True}}, "split_per_seed": False},
            "/base/evaluation/memorization",
        ),
        (
            {"base": {"evaluation": {"memorization": True}, "dataset": {"validation_fraction": 0.0}}},
            "/base/evaluation/memorization",
        ),
    ],
)
def test_a_contradiction_names_a_field(fields: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ValidationError) as refused:
        experiment(**fields)
    [fault] = refused.value.errors()
    assert fault["ctx"]["pointer"] == pointer


@pytest.mark.parametrize(
    ("fields", "location"),
    [
        ({"variants": [{"name": ""}]}, ("variants", 0, "name")),
        ({"variants": [{"name": "a\0"}]}, ("variants", 0, "name")),
        ({"variants": [{"name": "a", "changes": [1]}]}, ("variants", 0, "changes")),
        ({"name": ""}, ("name",)),
        ({"name": "a\0"}, ("name",)),
        ({"seeds": [-1]}, ("seeds", 0)),
        ({"replicates": 0}, ("replicates",)),
        ({"base": {"training": {"epochs": 0}}}, ("base", "training", "epochs")),
    ],
)
def test_a_value_out_of_bounds_is_refused_at_its_field(
    fields: dict[str, Any], location: tuple[str | int, ...]
) -> None:
    with pytest.raises(ValidationError) as refused:
        experiment(**fields)
    assert [fault["loc"] for fault in refused.value.errors()] == [location]


def test_a_change_that_makes_no_valid_job_is_located_within_its_variant() -> None:
    spec = experiment(
        variants=[
            {"name": "fine"},
            {"name": "no epochs", "changes": {"training": {"epochs": 0}}},
            {"name": "unknown", "changes": {"regularization": {"magic": {}}}},
            {"name": "not together", "changes": {"training": {"optimizer": {"momentum": 0.9}}}},
            {"name": "long key", "changes": {"labels": {"k" * 64: "x"}}},
        ]
    )
    assert [location for location, _ in find_variant_errors(spec)] == [
        ("variants", 1, "changes", "training", "epochs"),
        ("variants", 2, "changes", "regularization", "magic"),
        ("variants", 3, "changes", "training", "optimizer", "momentum"),
        ("variants", 4, "changes", "labels", "k" * 64),
    ]
    assert "check its spelling" in find_variant_errors(spec)[1][1]


def test_a_variant_may_be_of_another_family() -> None:
    to_cnn = {"family": "cnn", "hidden_units": [8]}
    to_mlp = {"family": "mlp", "filters": None, "kernel_size": None}
    for base, change, family in (({}, to_cnn, "cnn"), (to_cnn, to_mlp, "mlp")):
        spec = experiment(
            base=job_spec(model=base).model_dump(mode="json"),
            variants=[{"name": "as it is"}, {"name": "other", "changes": {"model": change}}],
        )
        assert find_variant_errors(spec) == []
        assert spec.build_runs()[1][1].model.family == family
        again = ExperimentSpec.model_validate(spec.resolve_seeds().model_dump(mode="json"))
        assert again.build_runs() == spec.build_runs()


def test_a_change_of_family_that_keeps_filters_explains_how_to_remove_them() -> None:
    spec = experiment(
        base=job_spec(model={"family": "cnn"}).model_dump(mode="json"),
        variants=[{"name": "mlp", "changes": {"model": {"family": "mlp", "kernel_size": None}}}],
    )
    [(location, detail)] = find_variant_errors(spec)
    assert location == ("variants", 0, "changes", "model", "filters")
    assert "null in a variant's changes" in detail


def test_valid_changes_have_no_errors() -> None:
    assert find_variant_errors(experiment()) == []


@pytest.mark.parametrize("field", ["seed", "name"])
def test_a_variant_cannot_change_what_the_experiment_sets_itself(field: str) -> None:
    changes = {"seed": 5} if field == "seed" else {"name": "mine"}
    spec = experiment(variants=[{"name": "a", "changes": changes}])
    [(location, detail)] = find_variant_errors(spec)
    assert location == ("variants", 0, "changes", field)
    assert "experiment" in detail


def test_null_removes_a_technique_of_the_base() -> None:
    base = job_spec(regularization={"dropout": {}, "l2": {}})
    spec = experiment(
        base=base.model_dump(mode="json"),
        variants=[{"name": "without", "changes": {"regularization": {"dropout": None}}}],
    )
    assert [*spec.build_run_spec(Variant.model_validate({"name": "x"}), 0).regularization.model_dump()] == [
        "dropout",
        "l2",
    ]
    assert [*spec.build_runs()[0][1].regularization.model_dump()] == ["l2"]


def test_an_experiment_with_a_stopping_rule_has_not_fixed_its_seeds() -> None:
    document = {"name": "x", "variants": [{"name": "a"}, {"name": "b"}]}
    rule = {"variant": "b", "half_width": 0.2, "max_jobs": 100}
    assert ExperimentSpec.model_validate(document).inference_rule == "fixed"
    assert ExperimentSpec.model_validate(document | {"stopping_rule": rule}).inference_rule == "sequential"
    rule = {"kind": "decide", "max_jobs": 100}
    assert ExperimentSpec.model_validate(document | {"stopping_rule": rule}).inference_rule == "sequential"


def test_a_stopping_rule_without_a_kind_is_about_a_width() -> None:
    document = {"name": "x", "variants": [{"name": "a"}, {"name": "b"}]}
    rule = {"variant": "b", "half_width": 0.2, "max_jobs": 100}
    spec = ExperimentSpec.model_validate(document | {"stopping_rule": rule})
    assert spec.model_dump()["stopping_rule"] == {"kind": "width", "metric": "test_accuracy"} | rule


def test_closed_variants_run_with_the_first_seeds_only() -> None:
    rule = {"kind": "decide", "max_jobs": 100, "closed": {"b": 2, "c": 9}}
    names = [{"name": name} for name in "abc"]
    spec = ExperimentSpec.model_validate(
        {"name": "x", "variants": names, "seeds": [7, 5, 6], "stopping_rule": rule}
    )
    runs = [(key.variant, key.seed) for key, _ in spec.build_runs()]
    assert runs == [("a", 7), ("b", 7), ("c", 7), ("a", 5), ("b", 5), ("c", 5), ("a", 6), ("c", 6)]
    document = spec.model_dump(mode="json")
    assert spec.planned_jobs == count_runs(document) == 8
    assert get_common_seeds(document) == [7, 5]
    assert get_common_seeds(document | {"stopping_rule": None}) == [7, 5, 6]


@pytest.mark.parametrize(
    ("rule", "pointer"),
    [
        ({"kind": "other"}, ("stopping_rule", "kind")),
        ({"kind": "decide"}, ("stopping_rule", "max_jobs")),
        ({"kind": "decide", "max_jobs": 9, "half_width": 1.0}, ("stopping_rule", "half_width")),
        ({"kind": "decide", "max_jobs": 9, "closed": {"a": 2}}, ("stopping_rule", "closed")),
        ({"kind": "width", "max_jobs": 9, "variant": "a", "half_width": 1.0}, ("stopping_rule", "variant")),
    ],
)
def test_a_bad_stopping_rule_is_pointed_to(rule: dict[str, Any], pointer: tuple[str, str]) -> None:
    with pytest.raises(ValidationError) as caught:
        ExperimentSpec.model_validate(
            {"name": "x", "variants": [{"name": "a"}, {"name": "b"}], "stopping_rule": rule}
        )
    assert [location for location, _ in get_validation_errors(caught.value)] == [pointer]
