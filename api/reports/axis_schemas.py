"""What a report says of its axes, as frozen values: the choice at each point, and gains along an axis."""

from typing import Any, Literal

from pydantic import Field

from api.http.schemas import ResponseModel


class Best(ResponseModel):
    """The variant to choose: a choice, and no claim that it is better than the others."""

    variant: str
    selected_by: Literal["validation_loss"] = "validation_loss"
    validation_loss: float = Field(
        description="Its mean over the seeds that all variants ran with, the lowest of the experiment, or of "
        "its point"
    )
    test_accuracy: float = Field(description="The mean of the same models, which did not decide")
    seeds: int


class AxisUsed(ResponseModel):
    """A field, and the values at which every variant was trained."""

    field: str = Field(description="JSON pointer into the specification")
    title: str = Field(description="The field in words")
    values: list[Any] = Field(description="From low to high, else as they were given")
    numbers: list[float] | None = Field(
        description="The values as numbers: layers of one width by that width; null where they have no order"
    )
    scale: Literal["linear", "log", "categories"] = Field(description="How charts and crossings measure it")


class PointReport(ResponseModel):
    """What is chosen at one point of the axes; nothing is chosen across points."""

    point: dict[str, Any]
    best: Best | None
    no_best: str | None = Field(description="Why `best` is null")
    may_be_best: list[str] = Field(
        [],
        description="The variants that may have the lowest mean validation loss: the one that truly "
        "has it is among them in 95 % of experiments",
    )


class GainAtPoint(ResponseModel):
    """A difference from the baseline at one point, counted so that more is better."""

    point: dict[str, Any]
    n: int = Field(description="Pairs of equal seed")
    mean: float
    low: float | None = Field(
        description="Of the simultaneous interval, so that all of a report together are a band; null where "
        "there are too few pairs"
    )
    high: float | None
    call: Literal["gain", "loss"] | None = Field(description="What the verdict calls it")


class Pays(ResponseModel):
    """Where every difference along a numeric axis is called a gain, from one end of the axis on."""

    where: Literal["everywhere", "from", "up_to"]
    value: Any = Field(description="The axis's value from which, or up to which; null if everywhere")


class CrossingPoint(ResponseModel):
    """Where the mean gain, on straight lines between the points, crosses zero."""

    value: float
    low: float | None = Field(
        description="Of the 95 % interval; null where that reaches beyond what was trained"
    )
    high: float | None


class Gain(ResponseModel):
    """What a variant gains over the baseline along the axes, in one tested metric."""

    variant: str
    metric: str
    unit: str = Field(description="`points` or `nats`")
    points: list[GainAtPoint]
    pays: Pays | None = Field(
        description="Null where no end of a single numeric axis has only gains that are called"
    )
    crossing: CrossingPoint | None
    no_crossing: str | None = Field(description="Why `crossing` is null")


class FittedNumber(ResponseModel):
    """A number with its 95 % interval over seeds."""

    value: float
    low: float
    high: float


class FittedError(FittedNumber):
    """The fitted test error, in per cent, at one size of the training set, with the mean's 95 % interval."""

    n: float = Field(description="Examples, those held out for validation among them")


class ErrorCurve(ResponseModel):
    """A variant's test error in per cent as `a + b n^-c` of the size n of its training set."""

    variant: str
    a: FittedNumber | None = Field(description="The error that no number of examples takes away")
    b: FittedNumber | None
    c: FittedNumber | None
    points: list[FittedError] = Field(description="The curve between the sizes that were trained")
    reason: str | None = Field(description="Why there is no curve, or why a, b and c are null")


class VarianceComponents(ResponseModel):
    """Variances of one metric of one variant over splits and seeds, in the metric's unit squared.

    Unbiased, so that one near zero may be negative (Bouthillier et al. 2021).
    """

    variant: str
    metric: Literal["test_accuracy", "test_loss"]
    splits: int
    seeds: int
    split: float = Field(description="Due to the split, subset and label noise that `split_seed` draws")
    seed: float = Field(description="Due to the seed: initial weights, order, masks")
    residual: float = Field(description="What split and seed do only together")
