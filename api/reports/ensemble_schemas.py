"""Ensembles of a variant's seeds, as frozen values."""

from pydantic import Field

from api.http.schemas import ResponseModel
from models.decompositions import Measured


class EnsembleSize(ResponseModel):
    """Ensembles of so many members: means over those of neighbours in the circle of seeds."""

    members: int
    accuracy: float = Field(description="Fraction of the test images")
    loss: float = Field(description="Cross-entropy of the mean probabilities, nats")
    brier: float


class EnsembleItem(ResponseModel):
    """The ensembles of one variant, whose members' probabilities are averaged.

    Gains are of the largest ensemble over the mean of its members; their 95 % intervals are over the test
    images alone, for these models.
    """

    variant: str
    seeds: list[int] = Field(description="Those of the members")
    sizes: list[EnsembleSize]
    accuracy_points: Measured = Field(description="Gain in accuracy, percentage points")
    loss: Measured = Field(description="Ensemble minus mean of members, nats")
    brier: Measured = Field(description="The same of the Brier score: minus the members' variance")


class EnsembleReport(ResponseModel):
    """Every variant's, in the order of the experiment; without those of fewer than two stored predictions."""

    items: list[EnsembleItem]
