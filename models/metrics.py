"""The catalogue of metrics: what is measured of a trained model, and how each number is shown. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import UnionType
from typing import Annotated, Literal, get_type_hints

from pydantic import Field


@dataclass(frozen=True)
class Format:
    """How numbers are shown: multiplied by `scale`, rounded to `digits` after the point."""

    unit: str = ""
    digits: int = 4
    scale: float = 1.0


def choose_digits(values: Sequence[float], fewest: int) -> int:
    """Digits after the point: `fewest`, or two significant ones of the largest value if that shows none."""
    largest = max(map(abs, values))
    first = -math.floor(math.log10(largest)) if largest else 0
    return fewest if first <= fewest else first + 1


def choose_interval_digits(mean: float, ends: Sequence[float | None], fewest: int) -> int:
    """`choose_digits`, and a few more if that shows on which side of zero the nearer end lies."""
    known = [end for end in ends if end is not None]
    digits = choose_digits([mean, *known], fewest)
    nearer = min(map(abs, filter(None, known)), default=1.0)
    return next((more for more in range(digits, digits + 4) if round(nearer, more)), digits)


def format_signed(value: float, digits: int) -> str:
    """With its sign; what is rounded to zero has none."""
    rounded = round(value, digits)
    return f"{rounded:+.{digits}f}" if rounded else f"{0:.{digits}f}"


def format_signed_interval(mean: float, low: float | None, high: float | None, fewest: int) -> str:
    """A signed difference, with its interval unless an end is unknown: `+0.12 (-0.05 to +0.29)`."""
    digits = choose_interval_digits(mean, (low, high), fewest)
    text = format_signed(mean, digits)
    if low is None or high is None:
        return text
    return f"{text} ({format_signed(low, digits)} to {format_signed(high, digits)})"


PERCENT, NATS, NUMBER = Format("%", 2, 100.0), Format("nats"), Format()
POINTS = Format("points", 2, 100.0)
"""Of a difference of two shares: percentage points."""
_MOST_FURTHER_DIGITS = 4
COUNT, SECONDS, GIGAFLOP = Format(digits=0), Format("s", 1), Format("GFLOP", 1, 1e-9)


@dataclass(frozen=True)
class Metric:
    """An entry of the catalogue: the annotation of a field of EvaluationMetrics, whose name it takes."""

    title: str
    format: Format = NUMBER
    direction: Literal["higher", "lower"] | None = None
    """Which is better; None where neither is."""
    table: Literal["variants", "networks"] | None = None
    """The report's table that has a column of it."""
    heading: str = ""
    """Of that column; by default the title in lower case."""
    compared: Literal["tested", "described"] | None = None
    """How reports treat a variant's difference from the baseline: whether it may be among the tests, or only
    stands in the tables."""
    judged: bool = False
    """Whether it needs the test images: null in results of tuning, which no report contains."""
    name: str = ""
    optional: bool = False
    """Whether it is null in some results that reports contain."""

    @property
    def contrast(self) -> str:
        """The field of a contrast: shares are compared in percentage points."""
        return f"{self.name}_points" if self.contrast_unit == "points" else self.name

    @property
    def contrast_unit(self) -> str:
        """The unit of a contrast, in which a value is `format.scale` times what is stored."""
        return "points" if self.format is PERCENT else self.format.unit

    def format_value(self, value: float, half_width: float = 0.0) -> str:
        """A value without its unit, perhaps with the half of its interval: `0.0712`, `97.98 ±0.11`."""
        digits, scale = self.format.digits, self.format.scale
        if self.format is COUNT:
            digits = 0 if float(value).is_integer() else 1
        else:
            # What is not zero must not look like it; but beyond some digits it is only the numbers' rounding.
            enough = (choose_digits([scale * number], digits) for number in (value, half_width))
            digits = max(places if places <= digits + _MOST_FURTHER_DIGITS else digits for places in enough)
        interval = f" ±{scale * half_width:.{digits}f}" if half_width else ""
        return f"{scale * value:,.{digits}f}{interval}"


@dataclass(frozen=True)
class EvaluationMetrics:
    """The numbers of an evaluation. What has a Metric is in the catalogue; Field is for the API's document.

    Losses are in nats per example, accuracies and shares are fractions, times are in seconds.
    """

    test_accuracy: Annotated[
        float | None,
        Metric("Test accuracy", PERCENT, "higher", "variants", compared="tested", judged=True),
        Field(description="On the test images, which are used once, after training"),
    ]
    test_loss: Annotated[
        float | None,
        Metric("Test loss", NATS, "lower", "variants", compared="tested", judged=True),
        Field(description="Cross-entropy on the test images"),
    ]
    test_brier: Annotated[
        float | None,
        Metric("Brier score", NUMBER, "lower", "networks", "Brier", judged=True),
        Field(description="Brier score, 0 (best) to 2"),
    ]
    test_ece: Annotated[
        float | None,
        Metric("Calibration error", NUMBER, "lower", "variants", "ECE", judged=True),
        Field(description="Expected calibration error, over bins with the same number of images"),
    ]
    test_ece_debiased: Annotated[
        float | None,
        Metric("Squared calibration error", Format(digits=6), "lower", "networks", "debiased ECE\u00b2"),
        Field(
            description="Squared calibration error over the same bins, less what chance adds to it (Kumar et "
            "al. 2019), so that it may be negative; null in results older than this field, and with fewer "
            "than two images in a bin"
        ),
    ]
    temperature: Annotated[
        float | None,
        Metric("Temperature", Format(digits=2), table="networks"),
        Field(
            description="What logits are divided by for the lowest validation loss (Guo et al. 2017), 0.05 "
            "to 20: above 1 the model is too sure; null if no images are held out, and in results older than "
            "this field"
        ),
    ]
    test_loss_scaled: Annotated[
        float | None,
        Metric("Test loss at the temperature", NATS, "lower", "networks", "loss, scaled"),
        Field(description="Cross-entropy on the test images with logits divided by `temperature`, or null"),
    ]
    test_ece_scaled: Annotated[
        float | None,
        Metric("Calibration error at the temperature", NUMBER, "lower", "networks", "ECE, scaled"),
        Field(description="`test_ece` with logits divided by `temperature`, or null"),
    ]
    train_accuracy: Annotated[
        float,
        Metric("Training accuracy", PERCENT, "higher"),
        Field(description="On all training images"),
    ]
    train_loss: Annotated[
        float,
        Metric("Training loss", NATS, "lower"),
        Field(description="Cross-entropy on all training images"),
    ]
    validation_accuracy: Annotated[
        float | None,
        Metric("Validation accuracy", PERCENT, "higher"),
        Field(description="Null if no images are held out"),
    ]
    validation_loss: Annotated[
        float | None,
        Metric("Validation loss", NATS, "lower", "variants"),
        Field(description="Cross-entropy; null if no images are held out"),
    ]
    generalization_gap_accuracy: Annotated[
        float | None,
        Metric(
            "Gap in accuracy",
            POINTS,
            "lower",
            "variants",
            "gap (accuracy)",
            compared="described",
            judged=True,
        ),
        Field(description="Training minus test accuracy"),
    ]
    generalization_gap_loss: Annotated[
        float | None,
        Metric("Gap in loss", NATS, "lower", "variants", "gap (loss)", compared="described", judged=True),
        Field(description="Test minus training loss"),
    ]
    best_epoch: Annotated[
        int,
        Metric("Best epoch", COUNT, table="networks"),
        Field(
            description="Of the lowest validation loss, or the best by the metric and `min_delta` of early "
            "stopping; the last if no images are held out"
        ),
    ]
    reported_epoch: Annotated[
        int,
        Metric("Epoch whose weights were kept", COUNT),
        Field(description="The epoch whose weights were measured and kept"),
    ]
    epochs_run: Annotated[
        int,
        Metric("Epochs", COUNT, table="variants"),
        Field(description="Fewer than specified if training stopped early"),
    ]
    stop_reason: Annotated[str, Field(description="`completed`, `early_stopping` or `max_seconds`")]
    parameters: Annotated[
        int,
        Metric("Parameters", COUNT, table="networks"),
        Field(description="Trainable parameters of the network"),
    ]
    zero_weight_fraction: Annotated[
        float,
        Metric("Weights that are zero", PERCENT, table="networks", heading="exact zeros"),
        Field(description="Share of kernel weights that are exactly zero"),
    ]
    near_zero_weight_fraction: Annotated[
        float | None,
        Metric("Weights that are nearly zero", PERCENT),
        Field(
            description="Share of kernel weights below 0.001 in size; null in results older than this field"
        ),
    ]
    weight_norm: Annotated[
        float,
        Metric("Weight norm", Format(digits=2), table="networks"),
        Field(description="Euclidean norm of all kernels together"),
    ]
    training_seconds: Annotated[
        float,
        Metric("Training time", SECONDS, "lower", "variants", "seconds"),
        Field(description="Of all epochs, their evaluations included"),
    ]
    compile_seconds: Annotated[float, Field(description="Compilation before the first epoch")]
    compilations: Annotated[
        int,
        Field(
            description="Compilations by XLA for this job; 0 if all compiled functions were cached, and in "
            "results older than this field"
        ),
    ]
    training_flops: Annotated[
        float,
        Metric("Training operations", GIGAFLOP, "lower", "networks", "GFLOP"),
        Field(description="Floating-point operations of all matrix products of the epochs run"),
    ]


METRICS = {
    name: replace(
        entry,
        name=name,
        heading=entry.heading or entry.title.lower(),
        optional=isinstance(hint.__origin__, UnionType) and not entry.judged,
    )
    for name, hint in get_type_hints(EvaluationMetrics, include_extras=True).items()
    for entry in hint.__metadata__
    if isinstance(entry, Metric)
}
"""The catalogue, in the order of a result's fields."""
CONTRASTED = [metric for metric in METRICS.values() if metric.compared]
REPORTED = CONTRASTED + [metric for metric in METRICS.values() if metric.table and not metric.compared]
"""What a report summarizes, in its order."""
VARIANT_METRICS = [metric for metric in REPORTED if metric.table == "variants"]
"""The columns of the report's first table, which webhooks and the command line show too."""
