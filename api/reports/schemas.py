"""What a report says, as frozen values; every format shows the same Comparison."""

from datetime import datetime
from typing import Any

from pydantic import Field

from api.schemas import Answer, Result
from models.states import JobState


class Measure(Answer):
    """One measure over the seeds of a variant. `sd`, `low` and `high` (95 % t interval) need two seeds."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


class Measures(Answer):
    """What a variant is worth, over its finished seeds."""

    test_accuracy: Measure
    test_loss: Measure
    generalization_gap_accuracy: Measure
    generalization_gap_loss: Measure
    test_ece: Measure
    epochs_run: Measure
    training_seconds: Measure
    parameters: Measure
    weight_norm: Measure
    zero_weight_fraction: Measure


class CurvePoint(Answer):
    """Means over the seeds that reached this epoch. `gap_loss` is validation minus training loss."""

    epoch: int
    n: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    gap_loss: float | None


class SeedResult(Answer):
    """One finished job."""

    seed: int
    job_id: str
    result: Result


class VariantReport(Answer):
    """One variant."""

    name: str
    is_baseline: bool
    regularization: dict[str, Any]
    n: int = Field(description="Finished seeds")
    seeds: list[SeedResult]
    failed_seeds: list[int]
    unfinished_seeds: list[int]
    measures: Measures | None = Field(description="Null while no seed has finished")
    line: str | None = Field(description="The variant's mean test loss and accuracy in one sentence")
    curve: list[CurvePoint]


class Difference(Answer):
    """A variant minus the baseline, over pairs of equal seed; what too few pairs cannot say is null."""

    n: int
    mean: float
    sd: float | None
    low: float | None = Field(description="Of the 95 % paired t interval")
    high: float | None
    t_p: float | None = Field(description="p of the paired t test")
    t_p_holm: float | None = Field(description="The same, corrected for the number of variants (Holm)")
    sign_flip_p: float | None = Field(description="p of the exact sign-flip permutation test")
    d: float | None = Field(description="Mean difference in standard deviations of the differences")


class Differences(Answer):
    """Variant minus baseline. Accuracies here are in percentage points, losses in nats."""

    test_accuracy_points: Difference
    test_loss: Difference
    generalization_gap_accuracy_points: Difference
    generalization_gap_loss: Difference


class Contrast(Answer):
    """One variant against the baseline."""

    variant: str
    baseline: str
    seeds: list[int] = Field(description="Seeds that both have finished")
    differences: Differences | None = Field(description="Null without a pair")
    verdict: str


class Missing(Answer):
    """A job that the comparison had to do without."""

    job_id: str
    variant: str
    seed: int
    state: JobState
    reason: str


class DatasetUsed(Answer):
    """Which images; the digest is of what the workers read."""

    name: str
    sha256: list[str]
    test_rows: int


class Comparison(Answer):
    """The report."""

    title: str
    experiment_id: str | None
    generated_at: datetime
    version: str
    complete: bool
    jobs: int
    finished: int
    baseline: str
    seeds: list[int]
    variants: list[VariantReport]
    contrasts: list[Contrast]
    missing: list[Missing]
    datasets: list[DatasetUsed]
    engines: list[str]
    notes: list[str] = Field(description="How to read the numbers, and what they cannot say")
    repeat: str = Field(description="One command that does it again")


class BandPoint(Answer):
    """One epoch of a curve: mean over seeds, and one standard deviation to each side (null with one seed)."""

    epoch: int
    n: int
    mean: float
    low: float | None
    high: float | None


class VariantCurves(Answer):
    """The learning curves of one variant."""

    variant: str
    train_loss: list[BandPoint]
    validation_loss: list[BandPoint]
    train_accuracy: list[BandPoint]
    validation_accuracy: list[BandPoint]


class Curves(Answer):
    """Learning curves of an experiment, at most `max_points` a curve, the first and last epoch among them."""

    experiment_id: str
    max_points: int
    items: list[VariantCurves]
