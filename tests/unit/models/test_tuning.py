"""Tuning: what is refused, which settings each method tries, and what is chosen."""

from math import inf, log
from typing import Any

import pytest
from pydantic import ValidationError

from models.experiment_checks import find_confounded_variants, find_tuning_errors
from models.experiments import ExperimentSpec
from models.spec import STORED, get_validation_errors
from models.tuning import Trial, Tuning, choose_trial
from models.tuning_methods import continue_tuning, start_tuning
from tests.factories import job_spec

RATE = "/training/optimizer/learning_rate"
FACTOR = "/regularization/l2/factor"
LOGARITHMIC = {"low": 1e-4, "high": 1e-2, "scale": "log"}


def build(*, own: dict[str, Any] | None = None, **changes: Any) -> ExperimentSpec:
    """Two variants, of which one tunes `own` parameters, too; `changes` are of `tune` or the experiment."""
    tune = {"parameters": {RATE: LOGARITHMIC}, "trials": 6} | changes.pop("tune", {})
    penalty: dict[str, Any] = {"name": "L2", "changes": {"regularization": {"l2": {"factor": 0.001}}}}
    if own is not None:
        penalty["tune"] = {"parameters": own}
    document = {
        "name": "tuned",
        "base": job_spec().model_dump(mode="json"),
        "variants": [{"name": "none"}, penalty],
        "tune": tune,
    }
    return ExperimentSpec.model_validate(document | changes)


def escape(field: str) -> str:
    return field.replace("/", "~1")


@pytest.mark.parametrize(
    ("changes", "pointer", "detail"),
    [
        ({"tune": {"parameters": {}}}, "/tune/parameters", "nothing to tune"),
        (
            {"tune": {"parameters": {FACTOR: LOGARITHMIC}}},
            f"/tune/parameters/{escape(FACTOR)}",
            "none has no",
        ),
        (
            {"tune": {"parameters": {"/dataset/train_samples": {"values": [100, 200]}}}},
            "/tune/parameters/~1dataset~1train_samples",
            "cannot be compared",
        ),
        ({"tune": {"parameters": {"/seed": {"values": [1, 2]}}}}, "/tune/parameters/~1seed", "be compared"),
        (
            {"tune": {"parameters": {RATE: {"low": 0.1, "high": 50}}}},
            f"/tune/parameters/{escape(RATE)}",
            "50.0: Input should be less than or equal to 10",
        ),
        ({"own": {FACTOR: {"values": ["a"]}}}, f"/variants/1/tune/parameters/{escape(FACTOR)}", '"a": '),
        ({"tune": {"parameters": {"seed": {"values": [1, 2]}}}}, "/tune/parameters/seed", "JSON pointer"),
        ({"tune": {"method": "grid"}}, f"/tune/parameters/{escape(RATE)}", "needs `points`"),
        (
            {"tune": {"method": "grid", "parameters": {RATE: LOGARITHMIC | {"points": 5}}}},
            "/tune/trials",
            "none has 5 settings",
        ),
        ({"tune": {"parameters": {RATE: {"values": [0.1, 0.2]}}}}, "/tune/trials", "none has 2 settings"),
        (
            {"tune": {"parameters": {"/training/epochs": {"values": [1, 2]}}}},
            "/tune/parameters/~1training~1epochs",
            "same budget",
        ),
        ({"tune": {"method": "halving", "min_epochs": 9}}, "/tune/min_epochs", "compare them earlier"),
        ({"tune": {"seed": 0}, "seeds": [580365501, 1]}, "/seeds", "use 580365501"),
        ({"parts": 2}, "/tune", "parts or tuning"),
        ({"axes": [{"field": "/model/hidden_units", "values": [[8]]}]}, "/tune", "axes or tuning"),
        (
            {"base": {"dataset": {"name": "mnist_5k", "validation_fraction": 0.0}}},
            "/base/dataset/validation_fraction",
            "above 0",
        ),
    ],
)
def test_what_cannot_be_tuned_is_refused(changes: dict[str, Any], pointer: str, detail: str) -> None:
    errors = find_tuning_errors(build(**changes))
    assert [(where, detail in text) for where, text in errors][:1] == [(pointer, True)], errors


@pytest.mark.parametrize(
    ("parameter", "field", "detail"),
    [
        ({"low": 2, "high": 1}, "low", "smaller than high"),
        ({"low": 1, "high": 1}, "low", "smaller than high"),
        ({"low": 0, "high": 1, "scale": "log"}, "low", "above 0"),
        ({"high": 1}, "low", "low and high"),
        ({"low": 1}, "high", "low and high"),
        ({"low": 1, "high": 2, "values": [1]}, "values", "not both"),
        ({"values": []}, "values", "at least one"),
        ({"values": [1, 1]}, "values", "listed twice"),
    ],
)
def test_impossible_ranges_are_refused(parameter: dict[str, Any], field: str, detail: str) -> None:
    with pytest.raises(ValidationError) as raised:
        build(tune={"parameters": {RATE: parameter}})
    (location, message) = get_validation_errors(raised.value)[0]
    assert (location, detail in message) == (("tune", "parameters", RATE, field), True)


def test_tuned_fields_confound_nothing() -> None:
    changed = {
        "name": "L2",
        "changes": {
            "regularization": {"l2": {}},
            "training": {"optimizer": {"learning_rate": 0.1}, "batch_size": 16},
        },
    }
    spec = build(variants=[{"name": "none"}, changed])
    assert [pointer for pointer, _ in find_confounded_variants(spec)] == [
        "/variants/1/changes/training/batch_size"
    ]


@pytest.mark.parametrize("method", ["random", "quasi_random"])
def test_settings_lie_in_their_ranges_and_are_the_same_at_every_call(method: str) -> None:
    own = {FACTOR: {"low": 1e-6, "high": 1e-2, "scale": "log"}, "/training/batch_size": {"low": 1, "high": 4}}
    own["/training/batch_size"] |= {"integer": True}
    spec = build(own=own, tune={"method": method, "trials": 200})
    assert find_tuning_errors(spec) == []
    tune = start_tuning(spec).tune
    again = start_tuning(spec).tune
    assert tune is not None
    assert tune == again
    none, penalty = tune.settings["none"], tune.settings["L2"]
    assert [setting[RATE] for setting in none] == [setting[RATE] for setting in penalty]
    shares = [log(float(str(setting[RATE])) / 1e-4) / log(1e2) for setting in none]
    assert 0 <= min(shares) < 0.05
    assert 0.95 < max(shares) <= 1
    # A uniform share has this mean, give or take five standard errors.
    assert sum(shares) / 200 == pytest.approx(0.5, abs=5 * 0.289 / 200**0.5)
    assert {setting["/training/batch_size"] for setting in penalty} == {1, 2, 3, 4}
    other = start_tuning(build(own=own, tune={"method": method, "trials": 200, "seed": 1})).tune
    assert other is not None
    assert other.settings["none"] != none
    assert not {*other.seeds} & {*tune.seeds}


def test_a_grid_is_tried_once_each() -> None:
    own = {FACTOR: {"values": [0.0, 0.1, 0.01]}}
    parameters = {RATE: LOGARITHMIC | {"points": 3}}
    spec = build(own=own, tune={"method": "grid", "parameters": parameters, "trials": 3})
    tune = start_tuning(spec).tune
    assert tune is not None
    assert sorted(float(str(setting[RATE])) for setting in tune.settings["none"]) == [1e-4, 1e-3, 1e-2]
    assert len({str(setting) for setting in tune.settings["L2"]}) == 3


@pytest.mark.parametrize(
    ("trials", "epochs", "changes", "rungs", "budget"),
    [
        (9, 9, {}, [1, 3, 9], 9 * 1 + 3 * 2 + 1 * 6),
        (8, 10, {"min_epochs": 2, "eta": 2}, [2, 4, 8, 10], 8 * 2 + 4 * 2 + 2 * 4 + 1 * 2),
        (2, 4, {}, [1, 3, 4], 2 * 1 + 1 * 2 + 1 * 1),
        (8, 10, {"method": "random"}, [10], 80),
    ],
)
def test_the_budget_of_halving_is_stated(
    trials: int, epochs: int, changes: dict[str, Any], rungs: list[int], budget: int
) -> None:
    tune = Tuning.model_validate({"method": "halving", "trials": trials, "seeds_per_trial": 3} | changes)
    assert tune.list_rungs(epochs) == rungs
    assert tune.count_epochs(epochs) == 3 * budget
    assert tune.compute_share(epochs) == budget / (trials * epochs)


def test_tpe_asks_the_same_of_the_same_trials_and_comes_closer_to_the_best() -> None:
    own = {FACTOR: {"values": [0.0, 0.1, 0.01]}}
    settings_by_run: list[dict[str, Any]] = []
    for seed in (0, 0, 1):
        tune = {"method": "tpe", "trials": 24, "seed": seed}
        spec, rounds = start_tuning(build(own=own, tune=tune)), 0
        while not spec.is_tuned:
            assert spec.tune is not None
            trials = [
                # One trial has diverged.
                Trial(name, number, setting, (None if number == 1 else abs(log(setting[RATE] / 2e-3)),))  # type: ignore[operator]
                for name, settings in spec.tune.settings.items()
                for number, setting in enumerate(settings)
            ]
            # The next round has read what is stored.
            spec = ExperimentSpec.model_validate(spec.model_dump(mode="json"), context=STORED)
            spec, rounds = continue_tuning(spec, trials[::-1]), rounds + 1
        assert rounds == 6
        assert spec.tune is not None
        settings_by_run.append(spec.tune.settings)
    assert settings_by_run[0] == settings_by_run[1] != settings_by_run[2]
    errors = [abs(log(setting[RATE] / 2e-3)) for setting in settings_by_run[0]["L2"]]
    assert min(errors) < 0.1
    assert sum(errors[12:]) < sum(errors[:12])


def test_the_lowest_mean_loss_of_complete_trials_is_chosen() -> None:
    losses: list[tuple[float | None, ...]] = [(0.1, None), (0.5, 0.7), (0.9, 0.2), (0.55, 0.55)]
    trials = [Trial("none", number, {}, values) for number, values in enumerate(losses)]
    assert [trial.score for trial in trials] == pytest.approx([inf, 0.6, 0.55, 0.55])
    assert choose_trial(trials) == 2, "of equal ones the first"
    assert choose_trial(trials[:1]) == 0, "there is no better one"
