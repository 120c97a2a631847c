"""Which settings a variant tries: one function for each method. Pure, and the same at every call."""

import zlib
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from scipy.stats import qmc

from models.experiments import ExperimentSpec
from models.tuning import Parameter, Setting, Trial, Tuning, choose_trial


def start_tuning(spec: ExperimentSpec) -> ExperimentSpec:
    """The experiment with the first settings of each variant that has none."""
    if spec.tune is None:
        return spec
    settings = {
        variant.name: spec.tune.settings.get(variant.name)
        or _draw_settings(spec.tune, spec.get_parameters(variant))
        for variant in spec.variants
    }
    return spec.model_copy(update={"tune": spec.tune.model_copy(update={"settings": settings})})


def choose_first_settings(spec: ExperimentSpec) -> ExperimentSpec:
    """The experiment as if each variant's first setting had been chosen: what judging will cost, about."""
    first = dict.fromkeys((variant.name for variant in spec.variants), 0)
    return spec.model_copy(update={"tune": spec.tune and spec.tune.model_copy(update={"chosen": first})})


def continue_tuning(spec: ExperimentSpec, trials: Sequence[Trial]) -> ExperimentSpec:
    """The experiment once all these trials have ended: with the settings that they choose."""
    if spec.tune is None:
        return spec
    chosen = {
        variant.name: spec.tune.chosen[variant.name]
        if variant.name in spec.tune.chosen
        else choose_trial([trial for trial in trials if trial.variant == variant.name])
        for variant in spec.variants
    }
    return spec.model_copy(update={"tune": spec.tune.model_copy(update={"chosen": chosen})})


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
