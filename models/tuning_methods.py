"""Which settings a variant tries: one function for each method. Pure, and the same at every call."""

import zlib
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from scipy.stats import qmc

from models.experiments import ExperimentSpec
from models.tuning import Parameter, Setting, Trial, Tuning, choose_trial, promote_trials


def start_tuning(spec: ExperimentSpec) -> ExperimentSpec:
    """The experiment with the first settings of each variant that has none."""
    if spec.tune is None:
        return spec
    tune = spec.tune
    first = tune.trials if tune.method != "tpe" else min(tune.parallel, tune.trials)
    settings = {
        variant.name: tune.settings.get(variant.name)
        or _draw_settings(tune, spec.get_parameters(variant))[:first]
        for variant in spec.variants
    }
    return spec.model_copy(update={"tune": spec.tune.model_copy(update={"settings": settings})})


def plan_all(spec: ExperimentSpec) -> ExperimentSpec:
    """The experiment as if it had its last trials and each variant's first setting were chosen.

    What it will cost, about: later rounds of `tpe` are priced as if they were random.
    """
    if spec.tune is None:
        return spec
    random = spec.tune.model_copy(update={"method": "random"}) if spec.tune.method == "tpe" else spec.tune
    planned = start_tuning(spec.model_copy(update={"tune": random}))
    first = dict.fromkeys((variant.name for variant in spec.variants), 0)
    return planned.model_copy(
        update={"tune": planned.tune and planned.tune.model_copy(update={"chosen": first})}
    )


def continue_tuning(spec: ExperimentSpec, trials: Sequence[Trial]) -> ExperimentSpec:
    """The experiment once all these trials have ended, or wait for each other: what follows from them.

    Each variant's next round of trials, those that successive halving lets go on, or the one that is chosen.
    """
    if spec.tune is None:
        return spec
    tune = spec.tune
    settings, promoted, chosen = dict(tune.settings), dict(tune.promoted), dict(tune.chosen)
    for variant in spec.variants:
        name = variant.name
        if name in chosen:
            continue
        own = [trial for trial in trials if trial.variant == name]
        running = [trial for trial in own if tune.is_running(name, trial.number)]
        rung = len(promoted.get(name, ()))
        rungs = tune.list_rungs(spec.build_run_spec(variant, 0).training.planned_epochs)
        if tune.method == "tpe" and len(own) < tune.trials:
            settings[name] = [*settings[name], *_ask_round(tune, spec.get_parameters(variant), own)]
        elif rung < len(rungs) - 1 and running:
            best = promote_trials(running, tune.count_promoted(rung + 1))
            promoted[name] = [*promoted.get(name, ()), best]
        else:
            chosen[name] = choose_trial(running or own)
    update = {"settings": settings, "promoted": promoted, "chosen": chosen}
    return spec.model_copy(update={"tune": tune.model_copy(update=update)})


def _ask_round(tune: Tuning, parameters: Mapping[str, Parameter], trials: Sequence[Trial]) -> list[Setting]:
    """The next settings by a tree-structured Parzen estimator that has seen all these trials.

    The sampler is made from the tuning's seed and the round only, and it gets the trials in the order of
    their numbers, so that every call gives the same settings. A trial that failed counts as the worst.
    """
    import optuna  # noqa: PLC0415 (it takes two seconds, and only this method needs it)

    space: dict[str, Any] = {
        field: optuna.distributions.FloatDistribution(
            parameter.low or 0.0, parameter.high or 0.0, log=parameter.scale == "log"
        )
        if parameter.values is None
        else optuna.distributions.CategoricalDistribution(range(len(parameter.values)))
        for field, parameter in parameters.items()
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = int(np.random.SeedSequence([tune.seed, len(trials)]).generate_state(1)[0])
    # The first round was random.
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(tune.parallel, len(trials)))
    study = optuna.create_study(sampler=sampler)
    for trial in sorted(trials, key=lambda trial: trial.number):
        tried = {field: parameters[field].find_position(value) for field, value in trial.setting.items()}
        study.add_trial(optuna.trial.create_trial(params=tried, distributions=space, value=trial.score))
    return [
        {field: parameters[field].get_value(position) for field, position in study.ask(space).params.items()}
        for _ in range(min(tune.parallel, tune.trials - len(trials)))
    ]


def _draw_settings(tune: Tuning, parameters: Mapping[str, Parameter]) -> list[Setting]:
    """The settings of a variant that tunes these parameters, trial by trial.

    A field that two variants share takes the same values in both, in the same order, except in a grid.
    """
    if tune.method == "grid":
        grid = [
            dict(zip(parameters, values, strict=True))
            for values in product(*(parameter.list_grid() for parameter in parameters.values()))
        ]
        order = np.random.default_rng(tune.seed).permutation(len(grid))
        return [grid[index] for index in order[: tune.trials]]
    if tune.method == "quasi_random":
        shares = qmc.Halton(len(parameters), scramble=True, rng=tune.seed).random(tune.trials).T
    else:
        shares = np.array(
            [
                np.random.default_rng([tune.seed, zlib.crc32(field.encode())]).random(tune.trials)
                for field in parameters
            ]
        )
    return [
        {
            field: parameter.scale_value(float(share))
            for (field, parameter), share in zip(parameters.items(), column, strict=True)
        }
        for column in shares.T
    ]
