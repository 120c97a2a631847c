"""Sections of a report that every format shows alike: sentences, charts, a table, notes. Pure."""

from dataclasses import dataclass, field

from api.reports import bias_variance_text
from api.reports.formatting import choose_interval_digits, format_signed
from api.reports.schemas import Comparison
from api.reports.target_schemas import Median
from models.decompositions import Measured
from models.metrics import COUNT, GIGAFLOP, SECONDS, Format

_ENSEMBLES = (
    "The probabilities of a variant's models are averaged (Lakshminarayanan et al. 2017). A change is from "
    "the mean of its single models to the ensemble of all, with its 95 % interval over the test images "
    "alone: for these models, each interval for itself. It is described and not tested. The Brier score of "
    "an ensemble is the mean of its members' less their variance, so it is never above that mean. An "
    "ensemble costs as much as all its members, also at prediction."
)

_TARGET = (
    "Medians over seeds, with 95 % intervals of order statistics where there are six seeds or more, each for "
    "itself: described, not tested. The target is the lowest validation loss that every finished seed of the "
    "baseline reached in some epoch, so the baseline reaches it by its definition. A seed that never reaches "
    "it, because it stopped, failed or ended before, counts as longer than any other. Epochs end with their "
    "first evaluation at or below the target; seconds are those of the machine that trained, evaluations "
    "included; GFLOP counts matrix products."
)


@dataclass(frozen=True)
class Section:
    """One section; `name` begins the anchors of the table's rows."""

    name: str
    title: str
    rows: list[list[str]]
    """The table, its head first."""
    answers: list[str] = field(default_factory=list)
    charts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    caption: str = ""
    """What a paper says of the table; the title where empty."""


def build_sections(comparison: Comparison) -> list[Section]:
    """Those that the comparison has something for."""
    sections = []
    if decomposed := comparison.bias_variance:
        sections.append(
            Section(
                "bias-variance",
                "Bias and variance",
                bias_variance_text.build_rows(decomposed),
                answers=decomposed.answers,
                charts=["bias-variance"],
                notes=bias_variance_text.list_notes(decomposed),
                caption="Bias and variance over training sets, in nats. "
                f"{decomposed.headline or ''} {decomposed.intervals or ''}",
            )
        )
    if comparison.ensembles:
        rows = [
            [
                "variant",
                "members",
                "loss, single",
                "together",
                "change",
                "accuracy, single",
                "together",
                "change",
            ]
        ]
        for item in comparison.ensembles:
            one, *_, most = item.sizes
            losses = [f"{one.loss:.4f}", f"{most.loss:.4f}", format_measured(item.loss, 4)]
            accuracies = [f"{100 * one.accuracy:.2f} %", f"{100 * most.accuracy:.2f} %"]
            points = format_measured(item.accuracy_points, 2)
            rows.append([item.variant, str(most.members), *losses, *accuracies, points])
        sections.append(
            Section("ensembles", "Ensembles of the seeds", rows, charts=["ensembles"], notes=[_ENSEMBLES])
        )
    if comparison.time_to_target and comparison.time_to_target.items:
        targets = comparison.time_to_target
        rows = [["variant", "seeds", "epochs", "seconds", "GFLOP"]]
        for target in targets.items:
            medians = [
                _format_median(target.epochs, COUNT),
                _format_median(target.seconds, SECONDS),
                _format_median(target.flops, GIGAFLOP),
            ]
            rows.append([target.variant, f"{target.reached} of {target.seeds}", *medians])
        title = f"Time to a validation loss of {targets.target:.4f}"
        sections.append(Section("time-to-target", title, rows, notes=[_TARGET]))
    return sections


def _format_median(median: Median, form: Format) -> str:
    """A median in a unit, with its interval where there is one: `12 (9 to never)`."""
    value, low, high = (
        "never" if one is None else f"{form.scale * one:,.{form.digits}f}"
        for one in (median.value, median.low, median.high)
    )
    return value if median.low is None else f"{value} ({low} to {high})"


def format_measured(measured: Measured, digits: int) -> str:
    """A signed difference with its interval: `-0.0123 (-0.0151 to -0.0095)`."""
    low, high = measured.low, measured.high
    digits = choose_interval_digits(measured.value, (low, high), digits)
    value = format_signed(measured.value, digits)
    if low is None or high is None:
        return value
    return f"{value} ({format_signed(low, digits)} to {format_signed(high, digits)})"
