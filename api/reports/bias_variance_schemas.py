"""What a report says of bias and variance, as frozen values."""

from typing import Any

from pydantic import Field

from api.http.schemas import ResponseModel
from models.decompositions import BrierParts, CrossEntropyParts, VarianceSources, ZeroOneParts


class BiasVarianceItem(ResponseModel):
    """Bias and variance of one variant at one point of the axes."""

    variant: str
    point: dict[str, Any] | None
    parts: int
    seeds: int = Field(description="With a result on every part")
    cross_entropy: CrossEntropyParts | None = None
    brier: BrierParts | None = None
    zero_one: ZeroOneParts | None = None
    due_to: VarianceSources | None = None
    reason: str | None = Field(None, description="Why a field is null")


class BiasVarianceDifference(ResponseModel):
    """One item minus another, over the seeds that both have on every part."""

    variant: str
    point: dict[str, Any] | None
    baseline: str
    baseline_point: dict[str, Any] | None
    seeds: int
    cross_entropy: CrossEntropyParts = Field(description="Differences; each interval is for itself")


class BiasVarianceReport(ResponseModel):
    """Bias and variance over training sets; `items` is null where there are fewer than two parts."""

    items: list[BiasVarianceItem] | None
    differences: list[BiasVarianceDifference] = Field([], description="From the baseline at the same point")
    trends: list[BiasVarianceDifference] = Field(
        [], description="With one axis of numbers: of each variant, its last point minus its first"
    )
    reason: str | None = Field(description="Why `items` is null")
    intervals: str | None = Field(description="What the intervals are over")
    answers: list[str] = Field([], description="What the numbers say, a sentence each")
    headline: str | None = Field(description="The answer in sentences, about the cross-entropy")
