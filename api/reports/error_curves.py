"""Test errors by the size of the training set: a curve fitted to each variant. Pure."""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean

import numpy as np

from api.reports.axis_schemas import ErrorCurve, FittedError, FittedNumber
from api.reports.points import remove_point
from api.reports.schemas import Advice, Comparison, VariantReport
from models.axes import TRAIN_SAMPLES
from models.axis_curves import fit_error_curve
from models.experiments import Regime

_POINTS = 25
"""Of a fitted curve, equally far apart in the logarithm of the size."""


def build_error_curves(comparison: Comparison) -> list[ErrorCurve]:
    """With the size of the training set as the only axis, a curve of each variant."""
    if [axis.field for axis in comparison.axes] != [TRAIN_SAMPLES] or comparison.axes[0].numbers is None:
        return []
    by_variant: dict[str, list[VariantReport]] = {}
    for variant in comparison.variants:
        by_variant.setdefault(remove_point(variant.name, variant.point), []).append(variant)
    return [_build_curve(name, reports, comparison) for name, reports in by_variant.items()]


def _build_curve(name: str, reports: Sequence[VariantReport], comparison: Comparison) -> ErrorCurve:
    axis = comparison.axes[0]
    sizes = np.array(axis.numbers)
    errors: list[dict[int, float]] = [{} for _ in sizes]
    for report in reports:
        by_seed: dict[int, list[float]] = {}
        for seed in report.seeds:
            if (accuracy := seed.result.test_accuracy) is not None:
                by_seed.setdefault(seed.seed, []).append(100 * (1 - accuracy))
        index = axis.values.index((report.point or {})[axis.field])
        errors[index] = {seed: fmean(values) for seed, values in by_seed.items()}
    seeds = sorted(set.intersection(*map(set, errors)))
    at = np.geomspace(sizes[0], sizes[-1], _POINTS)
    if comparison.inference is Regime.INTERIM:
        return _explain("Nothing is fitted before every planned run has ended.", name)
    matrix = np.array([[of_size[seed] for of_size in errors] for seed in seeds]).reshape(-1, len(sizes))
    curve = fit_error_curve(sizes, matrix, at, anytime=comparison.inference is not Regime.FIXED)
    if isinstance(curve, str):
        return _explain(curve, name)
    a, b, c = (
        None if estimate is None else FittedNumber.model_validate(asdict(estimate))
        for estimate in (curve.a, curve.b, curve.c)
    )
    return ErrorCurve(
        variant=name,
        a=a,
        b=b,
        c=c,
        points=[
            FittedError(n=n, value=value, low=low, high=high)
            for n, value, low, high in zip(
                *(values.tolist() for values in (at, curve.values, curve.low, curve.high)), strict=True
            )
        ],
        reason=None if c else "These sizes and seeds do not identify a, b and c.",
    )


def _explain(reason: str, variant: str) -> ErrorCurve:
    return ErrorCurve(variant=variant, a=None, b=None, c=None, points=[], reason=reason)


def describe_error_curves(comparison: Comparison) -> list[Advice]:
    """How each variant's error falls with more examples, where its curve could be fitted."""
    advice = []
    for index, curve in enumerate(comparison.error_curves):
        if curve.a is None or curve.c is None:
            continue
        floor, exponent = (
            f"{number.value:.2f} ({number.low:.2f} to {number.high:.2f})" for number in (curve.a, curve.c)
        )
        first, last = curve.points[0], curve.points[-1]
        text = (
            f"With more examples the test error of {curve.variant} falls, from {first.value:.3g} % at "
            f"{first.n:,.0f} to {last.value:.3g} % at {last.n:,.0f}, as a + b n^-c with c = {exponent} and "
            f"a = {floor} %. What it does beyond these sizes was not measured."
        )
        advice.append(Advice(text=text, evidence=[f"/error_curves/{index}"]))
    return advice
