"""What a report says, as frozen values; every format shows the same Comparison."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, create_model

from api.http.schemas import ResponseModel
from api.jobs.schemas import Result
from api.reports.answer_schemas import Answer, NextStep
from api.reports.axis_schemas import (
    AxisUsed,
    Best,
    ErrorCurve,
    Gain,
    PointReport,
    VarianceComponents,
)
from api.reports.bias_variance_schemas import BiasVarianceReport
from api.reports.ensemble_schemas import EnsembleItem
from api.reports.memorization_schemas import MemorizationItem
from api.reports.mistake_schemas import VariantMistakes
from api.reports.robustness_schemas import RobustnessReport
from api.reports.target_schemas import TargetReport
from api.reports.tuning_schemas import TuningReport
from models.experiments import Regime
from models.metrics import CONTRASTED, REPORTED
from models.records import DiagnosticsRecord
from models.states import JobState

Call = Literal["higher", "lower"]


class MetricSummary(ResponseModel):
    """One metric over the seeds of a variant. `sd`, `low` and `high` need two seeds.

    `low` and `high` are of the 95 % t interval of the mean: of many such experiments 95 % have one that holds
    the true mean.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


class Equivalence(ResponseModel):
    """Whether two variants are practically equal in a metric."""

    margin: float = Field(description="What counts as no difference worth having, to either side")
    p: float | None = Field(
        description="Of two one-sided tests (TOST), corrected over variants; null where the simultaneous "
        "interval decides"
    )
    equivalent: bool = Field(description="The difference is shown to lie within the margin")
    more_seeds: int | None = Field(
        description="How many seeds would find a true difference of the margin with a probability of 80 %, "
        "if they scatter as these do: those of a follow-up of this variant where the plan is fixed, else "
        "more seeds here; null below six pairs"
    )
    more_seeds_low: int | None = Field(
        description="The same, at the ends of the 95 % interval of the standard deviation"
    )
    more_seeds_high: int | None


class Difference(ResponseModel):
    """A variant minus the baseline, over pairs of equal seed; what too few pairs cannot say is null."""

    n: int
    mean: float
    sd: float | None
    low: float | None = Field(
        description="Of the 95 % paired t interval of this difference by itself: of many such experiments "
        "95 % have an interval that holds the true mean difference; null below three pairs"
    )
    high: float | None
    t_p: float | None = Field(description="p of the paired t test, of this difference by itself")
    tested: bool = Field(description="Whether the metric is one of the `primary` ones; others are described")
    adjusted_p: float | None = Field(
        description="p corrected for all that the report tests, on which `call` rests: see `methods`; null "
        "where there are too few pairs for a test"
    )
    simultaneous_low: float | None = Field(
        description="Of the interval that goes with it: all such intervals of the report hold their true "
        "differences together, with the probability that `level` leaves; null where there are too few pairs"
    )
    simultaneous_high: float | None
    d: float | None = Field(description="Mean difference in standard deviations of the differences")
    superiority: float | None = Field(
        description="P(A > B): share of pairs in which the variant's value is the higher; half of each tie"
    )
    superiority_low: float | None = Field(
        None, description="Of the exact 95 % interval of that probability, for this difference by itself"
    )
    superiority_high: float | None = None
    detectable: float | None = Field(
        description="True difference that so many pairs find with a probability of 80 %, at the level that "
        "the correction leaves a single test; null below six pairs"
    )
    relative: float | None = Field(
        description="Mean difference as a share of the baseline's mean over these pairs; null unless both "
        "means are positive"
    )
    call: Call | None = Field(
        description="What the verdict calls the variant's value; null where no difference could be shown, "
        "and for metrics that are described only"
    )
    equivalence: Equivalence | None = Field(None, description="Null for metrics without a margin")


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
        **{metric.contrast: Difference | None if metric.optional else Difference for metric in CONTRASTED},
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
    part: int | None = Field(None, description="Which part of the training data; null where not divided")
    job_id: str
    reused: bool = Field(False, description="Whether it had been trained before the experiment asked for it")
    robust_accuracy: float | None = Field(
        None, description="Mean over all kinds of damaged test images, where they were measured"
    )
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
    point: dict[str, Any] | None = Field(None, description="With axes the value of each, by field")
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
        description="The epoch of the lowest mean validation loss, where since then validation loss and gap "
        "rise clearly in both halves of the seeds and the training loss does not; null otherwise, and with "
        "fewer than four seeds",
    )
    confusion: list[list[int]] | None = Field(
        None, description="Test images of all seeds together: a row for each true class; null if unknown"
    )
    diagnostics: Diagnostics | None = Field(None, description="Of the first variants only; null if unknown")


class McNemar(ResponseModel):
    """One seed's two models on the same test images: those that only one of them classifies correctly."""

    seed: int
    part: int | None = Field(None, description="Which part of the training data; null where not divided")
    only_baseline: int
    only_variant: int
    p: float = Field(description="Exact (binomial), two-sided; for this pair of models alone, uncorrected")


class Failures(ResponseModel):
    """Training that failed, in the seeds in which both variants have ended."""

    seeds: int
    baseline: int
    variant: int
    p: float = Field(
        description="Of McNemar's exact test of the seeds in which only one of the two failed; not corrected "
        "for other variants"
    )


class Interval(ResponseModel):
    """A 95 % interval: of many such experiments 95 % have one that holds the true value."""

    low: float
    high: float


class Contrast(ResponseModel):
    """One variant against the baseline."""

    variant: str
    point: dict[str, Any] | None = Field(None, description="With axes the value of each, by field")
    baseline: str
    seeds: list[int] = Field(description="Seeds that both have finished")
    failures: Failures | None = Field(None, description="Null where no training failed")
    differences: Differences | None = Field(description="Null without a pair")
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
    classes: int
    test_examples: int
    judged_models: int | None = Field(
        None,
        description="Models measured on its test images so far, in this installation or, with keys of "
        "several owners, of yours; null if unknown",
    )
    class_names: list[str] | None = Field(None, description="Null where classes are called by their numbers")


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
    confirms: str | None = Field(
        None,
        description="The experiment that this one follows up on fresh seeds, which is not tested here",
    )
    follow_ups: list[str] = Field([], description="The experiments that follow up this one")
    generated_at: datetime
    version: str
    inference: Regime = Field(
        description="By which rule differences are called: `interim`, not yet; `fixed`, once, the plan being "
        "complete; `extended`, at every look, because the plan was changed; `sequential`, at every look"
    )
    level: float = Field(description="How often anything is called, at most, if nothing differs")
    complete: bool = Field(description="Whether every planned run has ended")
    best: Best | None = Field(None, description="The variant to choose, as the experiment says")
    headline: str = Field(description="The answer, in one or two sentences")
    answers: list[Answer] = Field([], description="For each tested metric; empty while nothing may be called")
    next_step: NextStep | None = Field(None, description="Null where nothing is open, and with axes")
    methods: str = Field(description="How it was found, to be quoted")
    jobs: int
    finished: int
    baseline: str
    seeds: list[int]
    variants: list[VariantReport]
    contrasts: list[Contrast]
    recommendation: list[Consideration] = Field([], description="Four, once there is something to say")
    axes: list[AxisUsed] = Field([], description="What varied together with every variant")
    points: list[PointReport] = Field([], description="What is chosen at each point of the axes")
    gains: list[Gain] = Field([], description="With axes each variant's gain in each tested metric")
    error_curves: list[ErrorCurve] = Field(
        [], description="With `/dataset/train_samples` as the only axis: each variant's test error by size"
    )
    bias_variance: BiasVarianceReport | None = Field(
        None, description="With `parts`: bias and variance over training sets"
    )
    missing: list[Missing]
    datasets: list[DatasetUsed]
    engines: list[str]
    mistakes: list[VariantMistakes] = Field(
        [],
        description="Test images that a variant gets right and the baseline not, once every run has ended; "
        "empty with axes or parts",
    )
    memorization: list[MemorizationItem] = Field(
        [],
        description="Training images that models memorize, once every run has ended, where "
        "`evaluation.memorization` asks for it",
    )
    ensembles: list[EnsembleItem] = Field(
        [],
        description="Of each variant's seeds, once every run has ended; empty with axes or parts",
    )
    tuning: TuningReport | None = Field(
        None, description="With `tune`: what was tried and chosen, by validation alone"
    )
    time_to_target: TargetReport | None = Field(
        None,
        description="To the lowest validation loss that every seed of the baseline reached, once every run "
        "has ended; null with axes or parts",
    )
    robustness: list[RobustnessReport] = Field(
        [], description="On damaged test images, where `evaluation.robustness` asks for it"
    )
    variance_components: list[VarianceComponents] = Field(
        [], description="With `/dataset/split_seed` as the only axis: variances due to splits and to seeds"
    )
    notes: list[str] = Field(description="How to read the numbers, and what they cannot say")
    repeat: str = Field(description="One command that does it again")


class ChartCard(ResponseModel):
    """A chart of a report."""

    name: str
    title: str
    caption: str = Field(description="How to read it")
    svg: str
    png: str
    pdf: str = Field(description="In the width of a paper's column; `width` asks for another")


class ChartList(ResponseModel):
    """All charts of a report; those without data answer 404."""

    items: list[ChartCard]
