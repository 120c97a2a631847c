"""The catalogue of metrics: how each is written, which way is better, and where reports show it. Pure."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One numeric column of a result."""

    name: str
    """Of the column in tables.Result and of the field in records.Evaluation."""
    title: str
    unit: str = ""
    direction: Literal["higher", "lower"] | None = None
    """Which is better; None where neither is."""
    format: Literal["percent", "number", "integer", "giga"] = "number"
    digits: int = 4
    """After the point, where `format` is "number"."""
    table: Literal["variants", "networks"] | None = None
    """The report's table that has a column of it."""
    heading: str = ""
    """Of that column."""
    tested: bool = False
    """Whether variants are compared with the baseline in it, so that it enters the family of tests."""

    @property
    def contrast(self) -> str:
        """The field of a contrast: shares are compared in percentage points."""
        return f"{self.name}_points" if self.format == "percent" else self.name

    @property
    def contrast_scale(self) -> float:
        """What turns a value into the unit of its contrast."""
        return 100.0 if self.format == "percent" else 1.0


METRICS = (
    Metric(
        "test_accuracy",
        "Test accuracy",
        "%",
        "higher",
        "percent",
        table="variants",
        heading="test accuracy",
        tested=True,
    ),
    Metric("test_loss", "Test loss", "nats", "lower", table="variants", heading="test loss", tested=True),
    Metric(
        "generalization_gap_accuracy",
        "Gap in accuracy, training minus test",
        "%",
        "lower",
        "percent",
        table="variants",
        heading="gap (accuracy)",
        tested=True,
    ),
    Metric(
        "generalization_gap_loss",
        "Gap in loss, test minus training",
        "nats",
        "lower",
        table="variants",
        heading="gap (loss)",
        tested=True,
    ),
    Metric("test_ece", "Calibration error (ECE)", "", "lower", table="variants", heading="ECE"),
    Metric("epochs_run", "Epochs run", format="integer", table="variants", heading="epochs"),
    Metric(
        "training_seconds", "Seconds of training", "s", "lower", digits=1, table="variants", heading="seconds"
    ),
    Metric("parameters", "Parameters", format="integer", table="networks", heading="parameters"),
    Metric("weight_norm", "Norm of the weights", digits=2, table="networks", heading="weight norm"),
    Metric(
        "zero_weight_fraction",
        "Weights that are zero",
        "%",
        format="percent",
        table="networks",
        heading="exact zeros",
    ),
    Metric("test_brier", "Brier score", "", "lower", table="networks", heading="Brier"),
    Metric("best_epoch", "Best epoch", format="integer", table="networks", heading="best epoch"),
    Metric(
        "training_flops", "Training operations", "FLOP", "lower", "giga", table="networks", heading="GFLOP"
    ),
    Metric("train_accuracy", "Training accuracy", "%", "higher", "percent"),
    Metric("train_loss", "Training loss", "nats", "lower"),
    Metric("validation_accuracy", "Validation accuracy", "%", "higher", "percent"),
    Metric("validation_loss", "Validation loss", "nats", "lower"),
    Metric("reported_epoch", "Epoch whose weights were kept", format="integer"),
    Metric("near_zero_weight_fraction", "Weights that are nearly zero", "%", format="percent"),
)
"""In the order of the reports' columns."""
