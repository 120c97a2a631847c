"""Numbers as every format writes them."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from api.reports.schemas import Comparison, Difference, Equivalence, MetricSummary, Missing, VariantReport

UNKNOWN = "-"
NETWORK_METRICS = (
    "parameters",
    "weight_norm",
    "zero_weight_fraction",
    "test_brier",
    "best_epoch",
    "training_flops",
)
"""What the table of networks shows; the other metrics are in the table of variants."""
_METRIC = re.compile(r"/(variants|contrasts)/(\d+)/(?:metrics|differences)/(\w+)")


def percent(metric: MetricSummary) -> str:
    """A share as `97.98 %`, with the half width of its interval where there is one: `97.98 ±0.11 %`."""
    return f"{100 * metric.mean:.2f}{_half_width(metric, 100, 2)} %"


def number(metric: MetricSummary, digits: int = 4) -> str:
    """A number, with the half width of its interval where there is one."""
    return f"{metric.mean:.{digits}f}{_half_width(metric, 1, digits)}"


def whole(metric: MetricSummary) -> str:
    """A count, as a mean where seeds differ in it."""
    return f"{metric.mean:,.0f}" if metric.sd in (None, 0) else f"{metric.mean:,.1f}"


def giga(metric: MetricSummary) -> str:
    """Operations, in thousands of millions."""
    return f"{metric.mean / 1e9:,.1f}"


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


def ranges(numbers: Iterable[int]) -> str:
    """Numbers in order, neighbours as a range: `0-9, 12`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def seed_list(numbers: Collection[int]) -> str:
    """`seed 3`, or `seeds 0-9`."""
    return f"{'seed' if len(numbers) == 1 else 'seeds'} {ranges(numbers)}"


def standing(comparison: Comparison) -> str:
    """How complete the report is, and what became of the jobs that it lacks."""
    if comparison.complete:
        return f"All {comparison.jobs} jobs have finished."
    states = Counter(each.state for each in comparison.missing)
    others = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    if states and all(state.terminal for state in states):
        return (
            f"{comparison.finished} of {comparison.jobs} jobs have a result; the others will not have one "
            f"({others})."
        )
    text = f"Partial: {comparison.finished} of {comparison.jobs} jobs have finished."
    return f"{text} Of the others: {others}." if others else text


def missing(comparison: Comparison) -> list[str]:
    """What the report lacks and why, a line for all seeds of a variant with the same reason."""
    groups: dict[tuple[str, str, str], list[Missing]] = {}
    for each in comparison.missing:
        groups.setdefault((each.variant, each.state, each.reason), []).append(each)
    return [_missing(group) for group in groups.values()]


def _missing(group: Sequence[Missing]) -> str:
    first = group[0]
    reason = "" if first.reason == first.state else f" ({first.reason})"
    job = f", job {first.job_id}" if len(group) == 1 else ""
    return f"{first.variant}, {seed_list([each.seed for each in group])}: {first.state}{reason}{job}"


def reused(comparison: Comparison) -> list[str]:
    """Which seeds had been trained before this was asked for, a line for each variant."""
    found = [
        (variant.name, [each.seed for each in variant.seeds if each.reused])
        for variant in comparison.variants
    ]
    return [f"{name}, {seed_list(numbers)}: trained before, and reused" for name, numbers in found if numbers]


def restored(comparison: Comparison) -> list[str]:
    """Which models are those of an earlier epoch than their last, a line for each variant."""
    lines = []
    for variant in comparison.variants:
        earlier = [each for each in variant.seeds if each.result.reported_epoch < each.result.epochs_run]
        if earlier:
            kept = ranges({each.result.reported_epoch for each in earlier})
            run = ranges({each.result.epochs_run for each in earlier})
            lines.append(
                f"{variant.name}, {seed_list([each.seed for each in earlier])}: the weights are those of "
                f"epoch {kept}, of {run} that were trained"
            )
    return lines


def confounders(comparison: Comparison) -> list[str]:
    """In what variants differ besides their regularization, so that a difference may come from that."""
    return [
        f"{variant.name} differs from the baseline in {each.field} too: {_value(each.variant)} instead of "
        f"{_value(each.baseline)}."
        for variant in comparison.variants
        for each in variant.confounders
    ]


def _value(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)


def provenance(comparison: Comparison) -> list[str]:
    """What the numbers were made from and with."""
    data = [
        f"Data: {each.name}" + (f", SHA-256 {', '.join(each.sha256)}" if each.sha256 else "")
        for each in comparison.datasets
    ]
    engines = [f"Engine: {each}" for each in comparison.engines]
    made = f"Regbench {comparison.version}, {comparison.generated_at:%Y-%m-%d %H:%M:%S} UTC"
    return [*data, *engines, f"{made}; {seed_list(comparison.seeds)}" if comparison.seeds else made]


@dataclass(frozen=True)
class Source:
    """Where numbers of a sentence stand on the page, and what they are."""

    anchor: str
    text: str


def sources(comparison: Comparison, pointers: Sequence[str]) -> list[Source]:
    """What JSON pointers into the report lead to: a row of a table each, with the names of its numbers."""
    rows: dict[tuple[str, str], list[str]] = {}
    for pointer in pointers:
        if found := _METRIC.fullmatch(pointer):
            table, number, metric = found[1], int(found[2]), found[3]
            rows.setdefault(_row(comparison, table, number, metric), []).append(
                metric.removesuffix("_points").replace("_", " ")
            )
    return [Source(anchor, f"{name}: {', '.join(metrics)}") for (anchor, name), metrics in rows.items()]


def _row(comparison: Comparison, table: str, number: int, metric: str) -> tuple[str, str]:
    """The anchor of the row that has this metric, and what the row is about."""
    if table == "contrasts":
        contrast = comparison.contrasts[number]
        return f"contrast-{number}", f"{contrast.variant} against {contrast.baseline}"
    kind = "network" if metric in NETWORK_METRICS else "variant"
    return f"{kind}-{number}", comparison.variants[number].name


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
    metrics = variant.metrics
    if metrics is None:
        return [name, seeds(variant), *[UNKNOWN] * 7]
    return [
        name,
        seeds(variant),
        percent(metrics.test_accuracy),
        number(metrics.test_loss),
        percent(metrics.generalization_gap_accuracy),
        number(metrics.generalization_gap_loss),
        number(metrics.test_ece),
        whole(metrics.epochs_run),
        number(metrics.training_seconds, 1),
    ]


def network_rows(comparison: Comparison) -> list[list[str]]:
    """The table of what the networks have become, its head first."""
    rows = [["variant", "parameters", "weight norm", "exact zeros", "Brier", "best epoch", "GFLOP"]]
    for variant in comparison.variants:
        metrics = variant.metrics
        cells = [UNKNOWN] * 6
        if metrics is not None:
            cells = [
                whole(metrics.parameters),
                number(metrics.weight_norm, 2),
                percent(metrics.zero_weight_fraction),
                number(metrics.test_brier),
                whole(metrics.best_epoch),
                giga(metrics.training_flops),
            ]
        rows.append([variant.name, *cells])
    return rows


def metric_rows(comparison: Comparison) -> list[list[str]]:
    """The table of every metric of every variant, its head first, in the metrics' own units."""
    rows = [["variant and metric", "seeds", "mean", "sd", "95 % interval"]]
    for variant in comparison.variants:
        for name, found in variant.metrics or ():
            spread = [_plain(each) for each in (found.mean, found.sd)]
            rows.append([f"{variant.name}: {_spoken(name)}", str(found.n), *spread, _interval(found)])
    return rows


def test_rows(comparison: Comparison) -> list[list[str]]:
    """The table of every test against the baseline, its head first."""
    head = [
        "variant and metric",
        "pairs",
        "mean",
        "sd",
        "95 % interval",
        "p (t)",
        "p (Holm)",
        "p (sign flips)",
    ]
    rows = [[*head, "d"]]
    for contrast in comparison.contrasts:
        for name, found in contrast.differences or ():
            spread = [_plain(each) for each in (found.mean, found.sd)]
            tests = [p_value(each) for each in (found.t_p, found.t_p_holm, found.sign_flip_p)]
            size = UNKNOWN if found.d is None else f"{found.d:.2f}"
            what = f"{contrast.variant}: {_spoken(name)}"
            rows.append([what, str(found.n), *spread, _interval(found), *tests, size])
    return rows


def seed_rows(comparison: Comparison) -> list[list[str]]:
    """The table of McNemar's tests, one for each seed of each contrast, its head first."""
    rows = [["variant and seed", "only this one recognizes", "only the baseline", "p (McNemar)"]]
    for contrast in comparison.contrasts:
        for each in contrast.mcnemar:
            counts = [f"{each.only_variant:,}", f"{each.only_baseline:,}"]
            rows.append([f"{contrast.variant}, seed {each.seed}", *counts, p_value(each.p)])
    return rows


def _plain(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4g}"


def _interval(found: MetricSummary | Difference) -> str:
    if found.low is None or found.high is None:
        return UNKNOWN
    return f"{found.low:.4g} to {found.high:.4g}"


def _spoken(metric: str) -> str:
    return metric.replace("_points", ", points").replace("_", " ")


def contrast_rows(comparison: Comparison) -> list[list[str]]:
    """The table of differences from the baseline, its head first; p is of the test accuracy."""
    rows = [
        [
            "variant",
            "pairs",
            "test accuracy, points",
            "p (accuracy)",
            _equal_within(comparison),
            "test loss",
            "gap, points",
            "gap (loss)",
        ]
    ]
    for contrast in comparison.contrasts:
        found = contrast.differences
        cells = [UNKNOWN] * 6
        if found is not None:
            cells = [
                difference(found.test_accuracy_points, 2),
                p_value(found.test_accuracy_points.t_p_holm),
                _equivalence(contrast.equivalence),
                difference(found.test_loss, 4),
                difference(found.generalization_gap_accuracy_points, 2),
                difference(found.generalization_gap_loss, 4),
            ]
        rows.append([contrast.variant, str(len(contrast.seeds)), *cells])
    return rows


def _equal_within(comparison: Comparison) -> str:
    margins = {each.equivalence.margin_points for each in comparison.contrasts if each.equivalence}
    return f"equal within {max(margins):g} points" if margins else "as good as equal"


def _equivalence(found: Equivalence | None) -> str:
    if found is None:
        return UNKNOWN
    return "yes" if found.equivalent else "not shown"


def _half_width(metric: MetricSummary, unit: float, digits: int) -> str:
    # Seeds that agree to the last digit have no interval worth showing.
    if metric.low is None or metric.high is None or not metric.sd:
        return ""
    return f" ±{unit * (metric.high - metric.low) / 2:.{digits}f}"
