"""Numbers as every format writes them."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from api.reports.robustness_schemas import RobustnessReport
from api.reports.schemas import Comparison, Difference, MetricSummary, Missing, VariantReport
from models.formatting import format_count
from models.metrics import (
    CONTRASTED,
    METRICS,
    PERCENT,
    REPORTED,
    VARIANT_METRICS,
    Metric,
    choose_digits,
    format_signed_interval,
)
from models.records import CORRUPTIONS

UNKNOWN = "-"
_NETWORK_METRICS = [metric for metric in REPORTED if metric.table == "networks"]
_MOST_COLUMNS = 5
_METRIC = re.compile(r"/(variants|contrasts)/(\d+)/(?:metrics|differences)/(\w+)")


def format_difference(difference: Difference | None, digits: int) -> str:
    """A signed mean difference with its interval: `+0.12 (-0.05 to +0.29)`.

    Of a tested metric the simultaneous interval, which agrees with what is called; else the 95 % t interval.
    """
    if difference is None:
        return UNKNOWN
    return format_signed_interval(difference.mean, *get_interval(difference), digits)


def get_interval(difference: Difference) -> tuple[float | None, float | None]:
    """The ends of the interval that is shown of a difference."""
    if difference.tested:
        return difference.simultaneous_low, difference.simultaneous_high
    return difference.low, difference.high


def format_p_value(p: float | None, level: float = 0.05) -> str:
    """To three digits, or as many as tell it from the level on whose one side it lies."""
    if p is None:
        return UNKNOWN
    if p < 0.001:
        return "<0.001"
    digits = 3
    while p != level and round(p, digits) == level:
        digits += 1
    return f"{p:.{digits}f}"


def format_seed_count(variant: VariantReport) -> str:
    """How many seeds stand behind a variant's means: `5`, or `3 of 5`."""
    # A seed may have finished on one part of the training data and failed on another.
    total = len({seed.seed for seed in variant.seeds}.union(variant.failed_seeds, variant.unfinished_seeds))
    return str(variant.n) if variant.n == total else f"{variant.n} of {total}"


def format_ranges(numbers: Iterable[int]) -> str:
    """Numbers in order, neighbours as a range: `0-9, 12`."""
    runs: list[list[int]] = []
    for item in sorted(numbers):
        if runs and item == runs[-1][-1] + 1:
            runs[-1].append(item)
        else:
            runs.append([item])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def format_seed_list(numbers: Collection[int]) -> str:
    """`seed 3`, or `seeds 0-9`; one is listed once, however many parts it has."""
    numbers = set(numbers)
    return f"{'seed' if len(numbers) == 1 else 'seeds'} {format_ranges(numbers)}"


def describe_progress(comparison: Comparison) -> str:
    """How complete the report is, and what became of the jobs that it lacks."""
    alone = comparison.jobs == 1
    if comparison.finished == comparison.jobs:
        return "The only job has finished." if alone else f"All {comparison.jobs} jobs have finished."
    jobs = f"{comparison.finished} of {format_count(comparison.jobs, 'job')} {'has' if alone else 'have'}"
    states = Counter(item.state for item in comparison.missing)
    counts = [f"{count} {state}" for state, count in sorted(states.items())]
    deleted = comparison.jobs - comparison.finished - states.total()
    others = ", ".join([*counts, f"{deleted} deleted"] if deleted else counts)
    if all(state.terminal for state in states):
        return f"{jobs} a result; {'it' if alone else 'the others'} will not have one ({others})."
    if alone:
        return f"The only job is {next(iter(states))}."
    return f"Partial: {jobs} finished. Of the others: {others}."


def describe_missing(comparison: Comparison) -> list[str]:
    """What the report lacks and why, a line for all seeds of a variant with the same reason."""
    groups: dict[tuple[str, str, str], list[Missing]] = {}
    for item in comparison.missing:
        groups.setdefault((item.variant, item.state, item.reason), []).append(item)
    lines = []
    for (variant, state, reason), group in groups.items():
        cause = "" if reason == state else f" ({reason})"
        job = f", job {group[0].job_id}" if len(group) == 1 else ""
        lines.append(f"{variant}, {format_seed_list([item.seed for item in group])}: {state}{cause}{job}")
    return lines


def describe_reused(comparison: Comparison) -> list[str]:
    """Which seeds had been trained before this was asked for, a line for each variant."""
    results = [
        (variant.name, [seed.seed for seed in variant.seeds if seed.reused])
        for variant in comparison.variants
    ]
    return [
        f"{name}, {format_seed_list(numbers)}: trained before, and reused"
        for name, numbers in results
        if numbers
    ]


def describe_restored(comparison: Comparison) -> list[str]:
    """Which models are those of an earlier epoch than their last, a line for each variant."""
    lines = []
    for variant in comparison.variants:
        earlier = [seed for seed in variant.seeds if seed.result.reported_epoch < seed.result.epochs_run]
        if earlier:
            ranges = format_ranges({item.result.reported_epoch for item in earlier})
            run = format_ranges({item.result.epochs_run for item in earlier})
            lines.append(
                f"{variant.name}, {format_seed_list([item.seed for item in earlier])}: the weights "
                f"are those of epoch{'' if ranges.isdigit() else 's'} {ranges}, of {run} that were trained"
            )
    return lines


def describe_confounders(comparison: Comparison) -> list[str]:
    """In what variants differ besides their regularization, so that a difference may come from that."""
    return [
        f"{variant.name} differs from the baseline in {confounder.field}: "
        f"{_format_value(confounder.field, confounder.variant)} instead of "
        f"{_format_value(confounder.field, confounder.baseline)}."
        for variant in comparison.variants
        for confounder in variant.confounders
    ]


def _format_value(field: str, value: Any) -> str:
    if value is None:
        return "all" if field.endswith("_samples") else "nothing"
    return json.dumps(value, ensure_ascii=False)


def describe_provenance(comparison: Comparison) -> list[str]:
    """What the numbers were made from and with."""
    data = [
        f"Data: {dataset.name}" + (f", SHA-256 {', '.join(dataset.sha256)}" if dataset.sha256 else "")
        for dataset in comparison.datasets
    ]
    engines = [f"Engine: {engine}" for engine in comparison.engines]
    header = f"Regbench {comparison.version}, {comparison.generated_at:%Y-%m-%d %H:%M:%S} UTC"
    return [
        *data,
        *engines,
        f"{header}; {format_seed_list(comparison.seeds)}" if comparison.seeds else header,
    ]


@dataclass(frozen=True)
class Source:
    """Where numbers of a sentence stand on the page, and what they are."""

    anchor: str
    text: str


def find_sources(comparison: Comparison, pointers: Sequence[str]) -> list[Source]:
    """What JSON pointers into the report lead to: a row of a table each, with the names of its numbers."""
    rows: dict[tuple[str, str], list[str]] = {}
    for pointer in pointers:
        if pointer.startswith("/robustness/"):
            index = int(pointer.split("/")[2])
            rows.setdefault(("robustness", "damaged test images"), []).append(
                comparison.robustness[index].variant
            )
        if match := _METRIC.fullmatch(pointer):
            table, index, metric = match[1], int(match[2]), match[3]
            if table == "contrasts":
                contrast = comparison.contrasts[index]
                row = f"contrast-{index}", f"{contrast.variant} against {contrast.baseline}"
            else:
                kind = "network" if METRICS[metric].table == "networks" else "variant"
                row = f"{kind}-{index}", comparison.variants[index].name
            rows.setdefault(row, []).append(metric.removesuffix("_points").replace("_", " "))
    return [Source(anchor, f"{name}: {', '.join(metrics)}") for (anchor, name), metrics in rows.items()]


def build_variant_rows(comparison: Comparison) -> list[list[str]]:
    """The table of variants, its head first."""
    rows = [
        ["variant", "seeds", *(_format_heading(metric, metric.format.unit) for metric in VARIANT_METRICS)]
    ]
    for variant in comparison.variants:
        name = f"{variant.name} (baseline)" if variant.is_baseline else variant.name
        rows.append([name, format_seed_count(variant), *_format_summaries(variant, VARIANT_METRICS)])
    return rows


DAMAGED_IMAGES = (
    "After MNIST-C (Mu and Gilmer 2019). Means over severities 1 to 5: of a variant that shares seeds with "
    "its baseline the difference from it in percentage points, within pairs of equal seed and with its 95 % "
    "interval by itself; else the accuracy. They are described and not tested, and nothing is chosen by them."
)


def build_robustness_tables(comparison: Comparison) -> list[list[list[str]]]:
    """Tables of damaged test images, each as wide as a page: accuracies of baselines, else differences."""
    tables = []
    for start in range(0, len(comparison.robustness), _MOST_COLUMNS):
        reports = comparison.robustness[start : start + _MOST_COLUMNS]
        rows = [["test images", *(report.variant for report in reports)]]
        for kind, title in {"": "all kinds", **CORRUPTIONS}.items():
            rows.append([title, *(_format_robustness(report, kind) for report in reports)])
        tables.append(rows)
    return tables


def _format_robustness(report: RobustnessReport, kind: str) -> str:
    difference = report.kind_differences.get(kind) if kind else report.difference
    if difference is None:
        return f"{100 * (report.kinds[kind] if kind else report.accuracy).mean:.1f} %"
    return format_signed_interval(difference.mean, difference.low, difference.high, 1)


def build_network_rows(comparison: Comparison) -> list[list[str]]:
    """The table of what the networks have become, its head first."""
    rows = [["variant", *(metric.heading for metric in _NETWORK_METRICS)]]
    rows += ([variant.name, *_format_summaries(variant, _NETWORK_METRICS)] for variant in comparison.variants)
    return rows


def _format_summaries(variant: VariantReport, columns: Sequence[Metric]) -> list[str]:
    cells = []
    for metric in columns:
        cell, half_width = UNKNOWN, 0.0
        summary: MetricSummary | None = getattr(variant.metrics, metric.name, None)
        if summary is not None:
            # Seeds that agree to the last digit have no interval worth showing.
            if summary.low is not None and summary.high is not None and summary.sd:
                half_width = (summary.high - summary.low) / 2
            cell = metric.format_value(summary.mean, half_width)
            if metric.format is PERCENT:
                cell += " %"
        cells.append(cell)
    return cells


def build_metric_rows(comparison: Comparison) -> list[list[str]]:
    """The table of every metric of every variant, its head first, in the metrics' own units."""
    rows = [["variant and metric", "seeds", "mean", "sd", "95 % interval"]]
    for variant in comparison.variants:
        for name, summary in variant.metrics or ():
            if summary is None:
                continue
            spread = [_format_plain(item) for item in (summary.mean, summary.sd)]
            what, interval = f"{variant.name}: {_format_words(name)}", _format_ends(summary.low, summary.high)
            rows.append([what, str(summary.n), *spread, interval])
    return rows


def build_test_rows(comparison: Comparison) -> list[list[str]]:
    """The table of every test against the baseline, its head first."""
    head = [
        "variant and metric",
        "pairs",
        "mean",
        "sd",
        "95 % interval",
        "p (t)",
        "p (adjusted)",
        "simultaneous interval",
    ]
    rows = [[*head, "d", "P(higher)"]]
    for contrast in comparison.contrasts:
        for name, difference in contrast.differences or ():
            if difference is None:
                continue
            spread = [_format_plain(item) for item in (difference.mean, difference.sd)]
            tests = [
                format_p_value(difference.t_p),
                format_p_value(difference.adjusted_p, comparison.level),
                _format_ends(difference.simultaneous_low, difference.simultaneous_high),
            ]
            size = UNKNOWN if difference.d is None else f"{difference.d:.{choose_digits([difference.d], 2)}f}"
            share, low, high = difference.superiority, difference.superiority_low, difference.superiority_high
            higher = UNKNOWN if share is None else f"{share:.2f}"
            if low is not None and high is not None:
                higher += f" ({low:.2f} to {high:.2f})"
            what = f"{contrast.variant}: {_format_words(name)}"
            rows.append(
                [
                    what,
                    str(difference.n),
                    *spread,
                    _format_ends(difference.low, difference.high),
                    *tests,
                    size,
                    higher,
                ]
            )
    return rows


def build_seed_rows(comparison: Comparison) -> list[list[str]]:
    """The table of McNemar's tests, one for each seed of each contrast, its head first."""
    rows = [
        [
            "variant and seed",
            "only this one recognizes",
            "only the baseline",
            "p (McNemar, of these two models, uncorrected)",
        ]
    ]
    for contrast in comparison.contrasts:
        for item in contrast.mcnemar:
            counts = [f"{item.only_variant:,}", f"{item.only_baseline:,}"]
            run = f"{contrast.variant}, seed {item.seed}"
            run += "" if item.part is None else f", part {item.part}"
            rows.append([run, *counts, format_p_value(item.p)])
    return rows


def _format_plain(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    # Numbers of parameters are read as counts, operations as powers of ten.
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1e9 else f"{value:.4g}"


def _format_ends(low: float | None, high: float | None) -> str:
    return UNKNOWN if low is None or high is None else f"{_format_plain(low)} to {_format_plain(high)}"


def _format_words(metric: str) -> str:
    return metric.replace("_points", ", points").replace("_", " ")


def build_contrast_rows(comparison: Comparison) -> list[list[str]]:
    """The table of differences from the baseline, its head first; p is of the test accuracy."""
    margins = {
        equivalence.margin
        for contrast in comparison.contrasts
        if contrast.differences and (equivalence := contrast.differences.test_accuracy_points.equivalence)
    }
    accuracy, *others = CONTRASTED
    rows = [
        [
            "variant",
            "pairs",
            _format_heading(accuracy, accuracy.contrast_unit),
            "p (accuracy)",
            f"equal within {max(margins):g} points" if margins else "practically equal",
            *(_format_heading(metric, metric.contrast_unit) for metric in others),
        ]
    ]
    for contrast in comparison.contrasts:
        differences = contrast.differences
        cells = [UNKNOWN] * (2 + len(CONTRASTED))
        if differences is not None:
            equal, equivalence = UNKNOWN, differences.test_accuracy_points.equivalence
            if equivalence is not None:
                equal = "yes" if equivalence.equivalent else "not shown"
            first, *rest = (
                format_difference(getattr(differences, metric.contrast), metric.format.digits)
                for metric in CONTRASTED
            )
            p_value = format_p_value(differences.test_accuracy_points.adjusted_p, comparison.level)
            cells = [first, p_value, equal, *rest]
        rows.append([contrast.variant, str(len(contrast.seeds)), *cells])
    return rows


def _format_heading(metric: Metric, unit: str) -> str:
    return f"{metric.heading}, points" if unit == "points" else metric.heading
