"""What it takes to reach a validation target, as frozen values."""

from typing import Literal

from pydantic import Field

from api.http.schemas import ResponseModel

TargetMetric = Literal["validation_loss", "validation_accuracy"]


class Median(ResponseModel):
    """A median over seeds, of which those that never reach the target count as more than any number.

    Its 95 % interval is of order statistics, so it assumes no distribution.
    """

    value: float | None = Field(description="Null where it is one of a seed that never reaches the target")
    low: float | None = Field(description="Null below six seeds, and as `value`")
    high: float | None = Field(description="The same")


class TargetItem(ResponseModel):
    """What one variant takes."""

    variant: str
    seeds: int = Field(description="Whose training has ended, also those in which it failed")
    reached: int = Field(description="Of them, those that reached the target in some epoch")
    epochs: Median = Field(description="Up to the first epoch that reaches the target")
    seconds: Median = Field(description="Of these epochs, their evaluations included, where they ran")
    flops: Median = Field(description="Floating-point operations of their matrix products")


class TargetReport(ResponseModel):
    """Time, epochs and operations to a validation target; `items` is empty without a target."""

    metric: TargetMetric
    target: float | None = Field(
        description="As asked for; else the best value that every finished seed of the baseline reached in "
        "some epoch, null if none was validated"
    )
    items: list[TargetItem]
