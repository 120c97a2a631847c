"""What a report says of damaged test images."""

from pydantic import Field

from api.http.schemas import ResponseModel


class SeedMean(ResponseModel):
    """A mean over seeds, with the 95 % t interval of this mean by itself; null where there are too few."""

    n: int
    mean: float
    low: float | None
    high: float | None


class RobustnessReport(ResponseModel):
    """A variant's accuracy on damaged test images: means over severities 1 to 5, as fractions.

    Differences are in percentage points, within pairs of equal seed: described, never called.
    """

    variant: str
    baseline: str | None = Field(description="What it is compared with; null for a baseline")
    accuracy: SeedMean = Field(description="Mean over all kinds")
    kinds: dict[str, SeedMean] = Field(description="By kind of damage")
    difference: SeedMean | None = Field(description="Mean over all kinds; null without a pair")
    kind_differences: dict[str, SeedMean] = Field(description="By kind of damage; empty without a pair")
