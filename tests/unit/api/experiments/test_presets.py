"""Every preset is an experiment that a fresh installation would accept, as it is and on the small dataset."""

import json
import re

import pytest

from api.experiments.presets import PRESETS, resolve
from models.cost import check_budget
from models.documents import Document
from models.errors import InvalidSpec
from models.experiment_checks import find_axis_value_errors, find_tuning_errors, find_variant_errors
from models.experiments import ExperimentSpec
from models.run_key import Purpose, RunKey
from models.settings import Settings
from models.spec import JobSpec
from models.techniques import CATALOGUE
from models.tuning_methods import plan_all
from tests.unit.models.test_reference import REFERENCE, row, rows_of

SMALL: Document = {"base": {"dataset": {"name": "mnist_5k"}}}


def resolved(name: str, **overrides: object) -> ExperimentSpec:
    _, document = resolve({"preset": name, **overrides})
    return ExperimentSpec.model_validate(document)


def build_judged(spec: ExperimentSpec) -> list[tuple[RunKey, JobSpec]]:
    """The runs that are compared; of a tuned experiment with each variant's first setting."""
    runs = plan_all(spec).build_runs()
    return [(key, job) for key, job in runs if key.purpose == Purpose.JUDGE]


def one_of_each_variant(spec: ExperimentSpec) -> list[JobSpec]:
    return [job for _, job in build_judged(spec)[: len(spec.variants)]]


@pytest.mark.parametrize("overrides", [{}, SMALL], ids=["as it is", "on mnist_5k"])
@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid(name: str, overrides: Document, settings: Settings) -> None:
    spec = resolved(name, **overrides)
    assert spec.name == name
    assert find_variant_errors(spec) == []
    runs = build_judged(spec)
    assert find_axis_value_errors(spec) == []
    assert find_tuning_errors(spec) == []
    assert len(runs) == len(spec.variants) * len(spec.run_seeds) * (spec.parts or 1) * len(spec.points)
    assert len(runs) <= settings.max_experiment_jobs
    assert {job.dataset.name for _, job in runs} == {
        "mnist_5k" if overrides or spec.parts or name == "fair-comparison" else "mnist"
    }
    # Equal hashes are equal weights: a variant that repeats another would be trained in vain.
    assert len({job.spec_hash for _, job in runs}) == len(runs)
    for _, job in runs:
        check_budget(job, settings)


@pytest.mark.parametrize("name", PRESETS)
def test_a_presets_baseline_is_named(name: str) -> None:
    spec = PRESETS[name].spec
    assert spec.baseline in [variant.name for variant in spec.variants]


def test_each_technique_is_in_some_preset() -> None:
    jobs = [job for preset in PRESETS.values() for job in one_of_each_variant(preset.spec)]
    placed = {technique for job in jobs for technique in job.regularization.active}
    assert placed == set(CATALOGUE)


def test_the_preset_of_all_techniques_has_each_that_a_fully_connected_network_can_have() -> None:
    possible = [name for name in CATALOGUE if name != "spatial_dropout"]
    jobs = one_of_each_variant(PRESETS["all-techniques"].spec)
    assert [[*job.regularization.model_dump()] for job in jobs] == [[], *([name] for name in possible)]


def test_the_seeds_preset_is_the_seed_documents_experiment() -> None:
    spec = PRESETS["dropout-vs-none"].spec
    (plain_key, plain), (dropout_key, dropout) = spec.build_runs()
    assert (plain_key.variant, dropout_key.variant, spec.baseline_name) == (
        "without Dropout",
        "with Dropout",
        "without Dropout",
    )
    expected = JobSpec.model_validate(
        {
            "name": "without Dropout, seed 0",
            "dataset": {"name": "mnist", "validation_fraction": 0.2, "validation_split": "last"},
            "model": {"family": "mlp", "hidden_units": [512, 512], "activation": "relu"},
            "training": {"optimizer": {"name": "adam"}, "batch_size": 32, "epochs": 10},
        }
    )
    assert plain == expected
    assert dropout.regularization.dropout is not None
    assert dropout.regularization.dropout.rate == 0.5
    assert dropout.model_copy(update={"regularization": plain.regularization, "name": plain.name}) == plain


def test_the_small_data_preset_has_equally_many_updates_for_each_of_halved_sizes() -> None:
    runs = PRESETS["small-data"].spec.build_runs()
    assert {job.training.steps for _, job in runs} == {2000}
    sizes = [job.dataset.train_samples for key, job in runs if (key.variant, key.seed) == ("none", 0)]
    assert sizes == [125, 250, 500, 1000, 2000, 4000]


def test_overrides_never_change_the_preset_itself() -> None:
    spec = resolved("l1-vs-l2", base={"training": {"epochs": 1}}, replicates=2)
    assert (spec.base.training.epochs, spec.run_seeds) == (1, [0, 1])
    assert PRESETS["l1-vs-l2"].spec.base.training.epochs == 10
    assert PRESETS["l1-vs-l2"].spec.run_seeds == list(range(10))


def test_an_unknown_preset_is_refused_with_the_list_of_presets() -> None:
    with pytest.raises(InvalidSpec) as refusal:
        resolve({"preset": "lambda"})
    assert "lambda-path" in refusal.value.errors[0].detail


def test_the_page_of_presets_lists_them_all() -> None:
    def row_of(name: str) -> str:
        jobs = one_of_each_variant(PRESETS[name].spec)
        epochs = sorted({job.training.epochs for job in jobs})
        cells = (
            f"`{name}`",
            PRESETS[name].title,
            " x ".join([str(len(jobs)), *(f"{len(axis.values)} points" for axis in PRESETS[name].spec.axes)]),
            str(len(PRESETS[name].spec.run_seeds)),
            f"{epochs[0]} to {epochs[-1]}" if len(epochs) > 1 else str(epochs[0]),
        )
        return row(*cells)

    assert rows_of("presets.md", "Every preset") == [row_of(name) for name in PRESETS]


@pytest.mark.parametrize("name", PRESETS)
def test_the_page_of_presets_states_what_to_expect(name: str) -> None:
    section = (REFERENCE / "presets.md").read_text().partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert f"**Expected.** {PRESETS[name].expect}" in " ".join(section.split())


def test_the_example_of_a_preset_with_changes_works() -> None:
    page = (REFERENCE.parent / "how-to" / "own-experiment.md").read_text()
    [example] = re.findall(r"```json\n(.*?)```", page, flags=re.DOTALL)
    _, document = resolve(json.loads(example))
    spec = ExperimentSpec.model_validate(document)
    assert not find_variant_errors(spec)
    assert (spec.base.dataset.name, spec.run_seeds) == ("mnist_5k", [0, 1, 2])
