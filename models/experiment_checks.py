"""What is wrong with an experiment as a whole, beyond what its schema says of each field. Pure."""

import json
import re

from pydantic import ValidationError

from models.axes import OF_RUNS, TRAIN_SAMPLES, find_axis_errors, has_field
from models.confounders import find_confounders
from models.experiments import ExperimentSpec, Variant
from models.spec import JobSpec, get_validation_errors
from models.tuning import Parameter, count_grid_points

_CONFOUNDED = "it differs in more than its regularization; set allow_confounders to true if this is intended"


_NOT_TUNED = (*OF_RUNS, "dataset", "evaluation")
_BUDGET = ("/training/epochs", "/training/steps", "/training/max_seconds")


def find_axis_value_errors(spec: ExperimentSpec) -> list[tuple[str, str]]:
    """Pairs of (JSON pointer, what is wrong) for axes that cannot be, or values that no job may have."""
    if not spec.axes:
        return []
    without = spec.model_copy(update={"axes": ()})
    specs = [without.build_run_spec(variant, 0).model_dump(mode="json") for variant in spec.variants]
    for document in specs:
        # Left out where it is null, and a field like others.
        document["training"].setdefault("steps", None)
    drawn = ["/dataset/part"] + ["/dataset/split_seed"] * bool(spec.split_per_seed)
    changes = [variant.changes for variant in spec.variants]
    whole = spec.base.dataset.card.train_examples
    errors = find_axis_errors(spec.axes, changes, specs, drawn) + [
        (f"/axes/{index}/values/{axis.values.index(None)}", f"null is all {whole:,} examples, listed as well")
        for index, axis in enumerate(spec.axes)
        if axis.field == TRAIN_SAMPLES and None in axis.values and whole in axis.values
    ]
    if errors:
        return errors
    invalid: dict[tuple[str, str, str], list[str]] = {}
    for point in spec.points:
        for variant in spec.variants:
            try:
                spec.build_run_spec(variant, spec.run_seeds[0], point=point, context=None)
            except ValidationError as error:
                for location, detail in get_validation_errors(error, JobSpec):
                    at = "/".join(["", *map(str, location)])
                    axis = next((i for i, axis in enumerate(spec.axes) if at.startswith(axis.field)), 0)
                    position = spec.axes[axis].values.index(point[spec.axes[axis].field])
                    key = (f"/axes/{axis}/values/{position}", at, detail)
                    invalid.setdefault(key, []).append(variant.name)
    # What is wrong with every variant is said once.
    return [
        (pointer, f"{at}: {detail}" if len({*names}) == len(specs) else f"{at} of {names[0]}: {detail}")
        for (pointer, at, detail), names in invalid.items()
    ]


def find_variant_errors(spec: ExperimentSpec) -> list[tuple[tuple[int | str, ...], str]]:
    """Pairs of (location, what is wrong) for changes that do not make a valid specification."""
    errors: list[tuple[tuple[int | str, ...], str]] = []
    for index, variant in enumerate(spec.variants):
        errors += [
            (("variants", index, "changes", field), "the experiment sets it for each run; omit it")
            for field in ("name", "seed")
            if field in variant.changes
        ]
        dataset = variant.changes.get("dataset")
        for field, is_set, detail in (
            (
                "split_seed",
                spec.split_per_seed,
                "it follows the seed; leave it out, or set split_per_seed to false",
            ),
            ("part", spec.parts, "the experiment sets it for each run; omit it"),
        ):
            if is_set and isinstance(dataset, dict) and field in dataset:
                errors.append((("variants", index, "changes", "dataset", field), detail))
        try:
            spec.build_run_spec(variant, spec.run_seeds[0], point={}, context=None)
        except ValidationError as error:
            errors += [
                (("variants", index, "changes", *location), detail)
                for location, detail in get_validation_errors(error, JobSpec)
            ]
    return errors


def find_confounded_variants(spec: ExperimentSpec) -> list[tuple[str, str]]:
    """Pairs of (JSON pointer, what is wrong) for variants that differ in more than their regularization.

    None where `allow_confounders` says that they may. `find_variant_errors` must have found nothing.
    """
    if spec.allow_confounders:
        return []
    documents = [
        spec.build_run_spec(variant, spec.run_seeds[0]).model_dump(mode="json") for variant in spec.variants
    ]
    names = [variant.name for variant in spec.variants]
    baseline = documents[names.index(spec.baseline_name)]
    return [
        (
            f"/variants/{index}/changes{change.field}",
            f"{json.dumps(change.variant)}, but {json.dumps(change.baseline)} in the baseline: "
            + _CONFOUNDED,
        )
        for index, document in enumerate(documents)
        for change in find_confounders(baseline, document)
        if change.field not in spec.get_parameters(spec.variants[index])
    ]


def find_tuning_errors(spec: ExperimentSpec) -> list[tuple[str, str]]:
    """Pairs of (JSON pointer, what is wrong) for tuning that cannot be; the variants must be valid."""
    if spec.tune is None:
        return [
            (f"/variants/{index}/tune", "give the experiment `tune`, too: how many trials, and how")
            for index, variant in enumerate(spec.variants)
            if variant.tune
        ]
    tune = spec.tune
    used = sorted({*tune.seeds} & {*spec.run_seeds})
    others = "seeds" if spec.confirms else "seeds, or another tune.seed"
    checks: list[tuple[object, str, str]] = [
        (spec.axes, "/tune", "an experiment has axes or tuning, not both"),
        (spec.parts, "/tune", "an experiment has parts or tuning, not both"),
        (
            tune.method == "halving" and tune.min_epochs >= spec.base.training.planned_epochs,
            "/tune/min_epochs",
            f"trials end after {spec.base.training.planned_epochs} epochs; compare them earlier",
        ),
        (
            not spec.base.dataset.validation_examples,
            "/base/dataset/validation_fraction",
            "validation chooses the settings; set it above 0",
        ),
        (
            used,
            "/replicates" if spec.replicates else "/seeds",
            f"the tuning jobs use {', '.join(map(str, used))}; choose other {others}",
        ),
    ]
    errors = [(pointer, detail) for wrong, pointer, detail in checks if wrong]
    for index, variant in enumerate(spec.variants):
        if spec.confirms and variant.name not in tune.chosen:
            detail = f"{spec.confirms} has chosen no setting of {variant.name}, which a follow-up would judge"
            errors.append((f"/variants/{index}/name", detail))
        parameters = spec.get_parameters(variant)
        if not parameters:
            errors.append(
                (
                    "/tune/parameters",
                    f"{variant.name} has nothing to tune; name a field that all variants have",
                )
            )
        for field, parameter in parameters.items():
            own = variant.tune is not None and field in variant.tune.parameters
            escaped = field.replace("~", "~0").replace("/", "~1")
            pointer = f"/variants/{index}/tune" if own else "/tune"
            errors += [
                (f"{pointer}/parameters/{escaped}", detail)
                for detail in _find_parameter_errors(spec, variant, field, parameter)
            ]
        listed = tune.method == "grid" or all(item.values is not None for item in parameters.values())
        if listed and not errors and tune.trials > (points := count_grid_points(parameters)):
            errors.append(("/tune/trials", f"{variant.name} has {points} settings to try; ask for no more"))
    return list(dict.fromkeys(errors))


def _find_parameter_errors(
    spec: ExperimentSpec, variant: Variant, field: str, parameter: Parameter
) -> list[str]:
    if not re.fullmatch(r"(/[a-z0-9_]+)+", field):
        return ["name a field by its JSON pointer, such as /training/optimizer/learning_rate"]
    parts = field.split("/")[1:]
    if parts[0] in _NOT_TUNED:
        return ["validation losses with other values of it cannot be compared; name a field of the training"]
    if field in _BUDGET:
        return ["every trial has the same budget; set it in the base"]
    if not has_field(spec.build_run_spec(variant, 0).model_dump(mode="json"), parts):
        return [f"{variant.name} has no such field; name one of its job specification"]
    if spec.tune and spec.tune.method == "grid" and parameter.values is None and parameter.points is None:
        return ["a grid needs `points` of a range, or `values`"]
    errors = []
    for value in parameter.values or (parameter.scale_value(0.0), parameter.scale_value(1.0)):
        try:
            spec.build_trial_spec(variant, 0, 0, {field: value}, context=None)
        except ValidationError as error:
            errors += [
                f"{json.dumps(value)}: {detail}" for _, detail in get_validation_errors(error, JobSpec)
            ]
    return errors
