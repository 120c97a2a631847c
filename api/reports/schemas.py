"""What a report says, as frozen values; every format shows the same Comparison."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, create_model

from api.http.schemas import ResponseModel
from api.jobs.schemas import Result
from models.metrics import REPORTED, TESTED
from models.records import DiagnosticsRecord
from models.states import JobState

Call = Literal["higher", "lower"]


class MetricSummary(ResponseModel):
    """One metric over the seeds of a variant. `sd`, `low` and `high` (95 % t interval) need two seeds."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


class Difference(ResponseModel):
    """A variant minus the baseline, over pairs of equal seed; what too few pairs cannot say is null."""

    n: int
    mean: float
    sd: float | None
    low: float | None = Field(description="Of the 95 % paired t interval")
    high: float | None
    t_p: float | None = Field(description="p of the paired t test")
    t_p_holm: float | None = Field(
        description="The same, corrected (Holm) for all that this report tests: metrics times variants; "
        "null below six pairs, from which nothing is concluded"
    )
    sign_flip_p: float | None = Field(description="p of the exact sign-flip permutation test")
    d: float | None = Field(description="Mean difference in standard deviations of the differences")
    superiority: float | None = Field(
        description="Share of pairs in which the variant's value is the higher; half of each tie"
    )
    detectable: float | None = Field(
        description="True difference that so many pairs find with a probability of 80 %, at the level that "
        "the correction leaves a single test; null below six pairs"
    )
    relative: float | None = Field(
        description="Mean difference as a share of the baseline's mean over these pairs; null unless both "
        "means are positive"
    )
    call: Call | None = Field(
        description="What the verdict calls the variant's value, which takes both the corrected t test and "
        "the sign-flip test; null where no difference could be shown"
    )


if TYPE_CHECKING:

    class Metrics(ResponseModel):
        def __getattr__(self, name: str) -> MetricSummary: ...

    class Differences(ResponseModel):
        def __getattr__(self, name: str) -> Difference: ...

else:
    # What is null in some results may be so here.
    Metrics = create_model(
        "Metrics",
        __base__=ResponseModel,
        __doc__="What a variant is worth, over its finished seeds.",
        **{metric.name: MetricSummary | None if metric.optional else MetricSummary for metric in REPORTED},
    )
    Differences = create_model(
        "Differences",
        __base__=ResponseModel,
        __doc__="Variant minus baseline. Accuracies here are in percentage points, losses in nats.",
        **{metric.contrast: Difference | None if metric.optional else Difference for metric in TESTED},
    )


class CurvePoint(ResponseModel):
    """Means and standard deviations over the seeds that reached this epoch; `sd` is null with one seed.

    `gap_loss` is validation minus training loss.
    """

    epoch: int
    n: int
    train_loss: float
    train_loss_sd: float | None = None
    train_accuracy: float
    train_accuracy_sd: float | None = None
    validation_loss: float | None
    validation_loss_sd: float | None = None
    validation_accuracy: float | None
    validation_accuracy_sd: float | None = None
    gap_loss: float | None
    gap_loss_sd: float | None = None


class SeedResult(ResponseModel):
    """One finished job."""

    seed: int
    job_id: str
    reused: bool = Field(False, description="Whether it had been trained before the experiment asked for it")
    result: Result


class Diagnostics(ResponseModel, DiagnosticsRecord):
    """What one model of a variant looks like: that of its first finished seed."""

    seed: int
    job_id: str


class Confounder(ResponseModel):
    """Something besides its regularization in which a variant differs from the baseline."""

    field: str = Field(description="JSON pointer into the specification")
    baseline: Any
    variant: Any


class VariantReport(ResponseModel):
    """One variant."""

    name: str
    is_baseline: bool
    regularization: dict[str, Any]
    training_examples: int | None = Field(
        None, description="Examples to learn from; null where no job is left"
    )
    n: int = Field(description="Finished seeds")
    seeds: list[SeedResult]
    failed_seeds: list[int]
    unfinished_seeds: list[int]
    metrics: Metrics | None = Field(description="Null while no seed has finished")
    line: str | None = Field(description="The variant's mean test loss and accuracy in one sentence")
    confounders: list[Confounder] = Field([], description="Against the baseline; empty where fair")
    curve: list[CurvePoint]
    overfitting_onset_epoch: int | None = Field(
        None,
        description="The epoch of the lowest mean validation loss, where the loss has risen clearly since; "
        "null where it has not",
    )
    confusion: list[list[int]] | None = Field(
        None, description="Test images of all seeds together: a row for each true class; null if unknown"
    )
    diagnostics: Diagnostics | None = Field(None, description="Of the first variants only; null if unknown")


class Equivalence(ResponseModel):
    """Whether two accuracies are as good as equal: two one-sided tests (TOST)."""

    margin_points: float = Field(description="What counts as no difference worth having, to either side")
    low: float = Field(description="Of the 90 % interval of the difference, in points")
    high: float
    p: float = Field(
        description="Of the larger of the two one-sided tests; below 0.05 it is within the margin"
    )
    equivalent: bool = Field(description="p is below 0.05, and there are six pairs or more")
    more_seeds: int | None = Field(
        description="How many more pairs would find a true difference of the margin with a probability of "
        "80 %, if they scatter as these do, at the level that the correction leaves a single test; 0 if "
        "there are enough"
    )


class McNemar(ResponseModel):
    """One seed's two models on the same test images: those that only one of them classifies correctly."""

    seed: int
    only_baseline: int
    only_variant: int
    p: float = Field(description="Exact (binomial), two-sided; for this pair of models alone, uncorrected")


class Interval(ResponseModel):
    """Where a true value lies with a probability of 95 %."""

    low: float
    high: float


class Contrast(ResponseModel):
    """One variant against the baseline."""

    variant: str
    baseline: str
    seeds: list[int] = Field(description="Seeds that both have finished")
    differences: Differences | None = Field(description="Null without a pair")
    equivalence: Equivalence | None = Field(description="Of test accuracy; null with fewer than two pairs")
    accuracy_on_new_images: Interval | None = Field(
        None,
        description="Of the difference in test accuracy, in points, for new seeds and new test images alike; "
        "`differences` speaks of these images only. Null unless two pairs' answers or more are known",
    )
    mcnemar: list[McNemar] = Field(
        description="A test a seed, never pooled; of the seeds for which both models' answers are known"
    )
    verdict: str


class Missing(ResponseModel):
    """A job that the comparison had to do without."""

    job_id: str
    variant: str
    seed: int
    state: JobState
    reason: str


class DatasetUsed(ResponseModel):
    """Which images; the digest is of what the workers read."""

    name: str
    sha256: list[str]
    test_examples: int


class Advice(ResponseModel):
    """A sentence, and where in this report its numbers are."""

    text: str
    evidence: list[str] = Field(description="JSON pointers into this report")


class Consideration(ResponseModel):
    """One of the four things to weigh when choosing a technique, and what this experiment says about it."""

    name: str = Field(description="`complexity`, `data`, `resources` or `task`")
    title: str
    advice: list[Advice]
    not_tested: str | None = Field(description="What this experiment leaves open; null if nothing")


class Comparison(ResponseModel):
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
    recommendation: list[Consideration] = Field([], description="Four, once there is something to say")
    missing: list[Missing]
    datasets: list[DatasetUsed]
    engines: list[str]
    notes: list[str] = Field(description="How to read the numbers, and what they cannot say")
    repeat: str = Field(description="One command that does it again")


class BandPoint(ResponseModel):
    """One epoch of a curve: mean over seeds, and one standard deviation to each side (null with one seed)."""

    epoch: int
    n: int
    mean: float
    low: float | None
    high: float | None


class VariantCurves(ResponseModel):
    """The learning curves of one variant."""

    variant: str
    train_loss: list[BandPoint]
    validation_loss: list[BandPoint]
    train_accuracy: list[BandPoint]
    validation_accuracy: list[BandPoint]


class Curves(ResponseModel):
    """Learning curves of an experiment, at most `max_points` a curve, the first and last epoch among them."""

    experiment_id: str
    max_points: int
    items: list[VariantCurves]


class ChartCard(ResponseModel):
    """A chart of a report."""

    name: str
    title: str
    caption: str = Field(description="How to read it")
    svg: str
    png: str


class ChartList(ResponseModel):
    """All charts of a report; those without data answer 404."""

    items: list[ChartCard]
