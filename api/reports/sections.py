"""Sections of a report that every format shows alike: sentences, charts, a table, notes. Pure."""

from dataclasses import dataclass, field

from api.reports import bias_variance_text
from api.reports.formatting import UNKNOWN
from api.reports.schemas import Comparison
from api.reports.target_schemas import Median
from api.reports.tuning_schemas import TuningReport
from models.decompositions import Measured
from models.formatting import format_count
from models.metrics import COUNT, GIGAFLOP, SECONDS, Format, format_signed_interval
from models.run_key import format_tuned_value, name_axis

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
_TUNING = (
    "Every variant tried {trials} settings with {seeds} each, and validation loss alone chose; the jobs that "
    "tried settings never saw the test images. The chosen validation loss is the lowest of several, so it "
    "is too good to be expected again: variants are judged by the runs that followed, with other seeds."
)
_FOLLOW_UP = (
    "Nothing was tuned in this follow-up: it judges the settings that {pilot} chose, whose trials these are."
)
_INDEPENDENT = (
    "Against the number of trials: the mean of the lowest validation loss among so many of these trials "
    "(Dodge et al. 2019, Tang et al. 2020). The band holds it in 80 % of the choices of so many; it says "
    "nothing about other trials. Crossings are of these curves and are not tested."
)
_RUNNING = (
    "Against the number of trials: the lowest validation loss so far, of one run of the tuner. Another seed "
    "of the tuner would have another curve; crossings are not tested."
)
_IMPORTANCE = (
    "Shares of parameters are by PED-ANOVA (Watanabe et al. 2023, as in Optuna), which compares the best "
    "tenth of the trials with all; of few trials they are a hint and not tested."
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
    if comparison.tuning:
        sections.append(_build_tuning_section(comparison.tuning, comparison.experiment_id))
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
                "loss, together",
                "change in loss",
                "change in accuracy, points",
                "accuracy, single",
                "accuracy, together",
            ]
        ]
        for item in comparison.ensembles:
            one, *_, most = item.sizes
            losses = [f"{one.loss:.4f}", f"{most.loss:.4f}", _format_measured(item.loss, 4)]
            accuracies = [f"{100 * one.accuracy:.2f} %", f"{100 * most.accuracy:.2f} %"]
            points = _format_measured(item.accuracy_points, 2)
            rows.append([item.variant, str(most.members), *losses, points, *accuracies])
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


def _build_tuning_section(tuning: TuningReport, experiment_id: str | None) -> Section:
    rows = [["variant", "validation loss", "chosen", "trials", "first half of the budget"]]
    notes = [_TUNING.format(trials=tuning.trials, seeds=format_count(tuning.seeds_per_trial, "seed"))]
    if tuning.experiment_id != experiment_id:
        notes.append(_FOLLOW_UP.format(pilot=tuning.experiment_id or "an experiment that was deleted"))
    notes.append(_INDEPENDENT if tuning.independent else _RUNNING)
    for item in tuning.variants:
        loss = item.validation_loss
        spread = f" ±{loss.sd:.4f} (sd)" if loss and loss.sd is not None else ""
        setting = [
            f"{name_axis(field)} {format_tuned_value(field, one)}" for field, one in item.setting.items()
        ]
        half = [point.value for point in item.budget if point.trials <= (tuning.trials + 1) // 2]
        rows.append(
            [
                item.variant,
                f"{loss.mean:.4f}{spread}" if loss else UNKNOWN,
                ", ".join(setting) or UNKNOWN,
                f"{item.finished} of {tuning.trials}",
                f"{half[-1]:.4f}" if half and half[-1] is not None else UNKNOWN,
            ]
        )
        if item.importance:
            shares = sorted(item.importance.items(), key=lambda pair: -pair[1])
            parts = ", ".join(f"{name_axis(field)} {100 * share:.0f} %" for field, share in shares)
            notes.append(f"What distinguished good trials of {item.variant} from others: {parts}.")
        if item.crossings:
            numbers = ", ".join(map(str, item.crossings))
            notes.append(f"The curves of {item.variant} and the baseline cross at {numbers} trials.")
    if any(item.importance for item in tuning.variants):
        notes.append(_IMPORTANCE)
    charts = ["expected-best", "tuned-parameters", "trials"]
    return Section("tuning", "Tuning", rows, charts=charts, notes=notes, caption="Settings chosen by tuning.")


def _format_median(median: Median, form: Format) -> str:
    """A median in a unit, with its interval where there is one: `12 (9 to never)`."""
    value, low, high = (
        "never" if one is None else f"{form.scale * one:,.{form.digits}f}"
        for one in (median.value, median.low, median.high)
    )
    return value if median.low is None else f"{value} ({low} to {high})"


def _format_measured(measured: Measured, digits: int) -> str:
    return format_signed_interval(measured.value, measured.low, measured.high, digits)
