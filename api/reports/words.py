"""Numbers as every format writes them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from api.reports.schemas import Comparison, Difference, Measure, VariantReport
from models.states import JobState

UNKNOWN = "-"
_STILL_TO_COME = (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED)


def percent(measure: Measure) -> str:
    """A share as `97.98 %`, with the half width of its interval where there is one: `97.98 ±0.11 %`."""
    return f"{100 * measure.mean:.2f}{_half_width(measure, 100, 2)} %"


def number(measure: Measure, digits: int = 4) -> str:
    """A number, with the half width of its interval where there is one."""
    return f"{measure.mean:.{digits}f}{_half_width(measure, 1, digits)}"


def whole(measure: Measure) -> str:
    """A count, as a mean where seeds differ in it."""
    return f"{measure.mean:,.0f}" if measure.sd in (None, 0) else f"{measure.mean:,.1f}"


def difference(found: Difference, digits: int) -> str:
    """A signed mean difference with its interval: `+0.12 (-0.05 to +0.29)`."""
    mean = f"{round(found.mean, digits) + 0.0:+.{digits}f}"
    if found.low is None or found.high is None:
        return mean
    return f"{mean} ({found.low:+.{digits}f} to {found.high:+.{digits}f})"


def p_value(p: float | None) -> str:
    """A p, to three digits."""
    if p is None:
        return UNKNOWN
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def seeds(variant: VariantReport) -> str:
    """How many seeds stand behind a variant's means: `5`, or `3 of 5`."""
    total = variant.n + len(variant.failed_seeds) + len(variant.unfinished_seeds)
    return str(variant.n) if variant.n == total else f"{variant.n} of {total}"


def standing(comparison: Comparison) -> str:
    """How complete the report is."""
    if comparison.complete:
        return f"All {comparison.jobs} jobs have finished."
    if not any(each.state in _STILL_TO_COME for each in comparison.missing):
        return f"{comparison.finished} of {comparison.jobs} jobs have a result; the others will not have one."
    return f"Partial: {comparison.finished} of {comparison.jobs} jobs have finished."


def ranges(seeds: Sequence[int]) -> str:
    """Ascending seeds, those in a row as a range: `0-9, 12`."""
    found: list[list[int]] = []
    for seed in seeds:
        if found and seed == found[-1][-1] + 1:
            found[-1].append(seed)
        else:
            found.append([seed])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in found)


def particulars(comparison: Comparison) -> list[str]:
    """What a reader must know before he compares: what is missing, reused, restored, or differs besides."""
    return [
        *(
            f"{each.variant}, seed {each.seed}: {each.state} ({each.reason}), job {each.job_id}"
            for each in comparison.missing
        ),
        *(line for variant in comparison.variants for line in _of_variant(variant)),
    ]


def _of_variant(variant: VariantReport) -> Iterator[str]:
    for change in variant.other_changes:
        yield (
            f"{variant.name} differs from the baseline in {change.field} too: {json.dumps(change.variant)} "
            f"instead of {json.dumps(change.baseline)}."
        )
    reused = [each.seed for each in variant.seeds if each.reused]
    if reused:
        yield f"{variant.name}: seeds {ranges(reused)} had been trained before, and were not trained again."
    restored = [each.seed for each in variant.seeds if each.result.reported_epoch != each.result.epochs_run]
    if restored:
        yield f"{variant.name}: measured at an earlier epoch than the last, seeds {ranges(restored)}."


def variant_rows(comparison: Comparison) -> list[list[str]]:
    """The table of variants, its head first."""
    head = [
        "variant",
        "seeds",
        "test accuracy",
        "test loss",
        "gap (accuracy)",
        "gap (loss)",
        "ECE",
        "epochs",
        "seconds",
    ]
    return [head, *(_variant_row(variant) for variant in comparison.variants)]


def _variant_row(variant: VariantReport) -> list[str]:
    name = f"{variant.name} (baseline)" if variant.is_baseline else variant.name
    measures = variant.measures
    if measures is None:
        return [name, seeds(variant), *[UNKNOWN] * 7]
    return [
        name,
        seeds(variant),
        percent(measures.test_accuracy),
        number(measures.test_loss),
        percent(measures.generalization_gap_accuracy),
        number(measures.generalization_gap_loss),
        number(measures.test_ece),
        whole(measures.epochs_run),
        number(measures.training_seconds, 1),
    ]


def network_rows(comparison: Comparison) -> list[list[str]]:
    """The table of what the networks have become, its head first."""
    rows = [["variant", "parameters", "weight norm", "exact zeros"]]
    for variant in comparison.variants:
        measures = variant.measures
        cells = [UNKNOWN] * 3
        if measures is not None:
            cells = [
                whole(measures.parameters),
                number(measures.weight_norm, 2),
                percent(measures.zero_weight_fraction),
            ]
        rows.append([variant.name, *cells])
    return rows


def contrast_rows(comparison: Comparison) -> list[list[str]]:
    """The table of differences from the baseline, its head first; p is of the test accuracy."""
    rows = [
        [
            "variant",
            "pairs",
            "test accuracy, points",
            "test loss",
            "gap, points",
            "gap (loss)",
            "p (accuracy)",
        ]
    ]
    for contrast in comparison.contrasts:
        found = contrast.differences
        cells = [UNKNOWN] * 5
        if found is not None:
            cells = [
                difference(found.test_accuracy_points, 2),
                difference(found.test_loss, 4),
                difference(found.generalization_gap_accuracy_points, 2),
                difference(found.generalization_gap_loss, 4),
                p_value(found.test_accuracy_points.t_p_holm),
            ]
        rows.append([contrast.variant, str(len(contrast.seeds)), *cells])
    return rows


def techniques(regularization: Mapping[str, Mapping[str, Any]]) -> str:
    """What a variant is regularized with: a name such as `dropout rate=0.5 + l2 factor=0.0001`, or `none`."""
    return " + ".join(_technique(name, given) for name, given in regularization.items()) or "none"


def _technique(name: str, parameters: Mapping[str, Any]) -> str:
    numbers = [
        f"{key}={value}"
        for key, value in parameters.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and value
    ]
    return " ".join([name, *numbers])


def _half_width(measure: Measure, unit: float, digits: int) -> str:
    # Seeds that agree to the last digit have no interval worth showing.
    if measure.low is None or measure.high is None or not measure.sd:
        return ""
    return f" ±{unit * (measure.high - measure.low) / 2:.{digits}f}"
