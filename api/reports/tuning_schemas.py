"""What a report says of tuning, as frozen values."""

from typing import Any

from pydantic import Field

from api.http.schemas import ResponseModel


class TrialLoss(ResponseModel):
    """Validation loss over a trial's seeds, nats."""

    mean: float
    sd: float | None = Field(description="Null of a single seed")


class TunedTrial(ResponseModel):
    """A setting that was tried."""

    trial: int
    parameters: dict[str, Any]
    validation_loss: TrialLoss | None = Field(description="Null where a seed has no result")


class BudgetPoint(ResponseModel):
    """The lowest validation loss that so many trials find; null where all of them may have failed."""

    trials: int
    value: float | None
    low: float | None
    high: float | None


class TunedVariant(ResponseModel):
    """What one variant has tried."""

    variant: str
    chosen: int | None = Field(description="The trial whose setting it is judged with; null until chosen")
    setting: dict[str, Any] = Field(description="Of that trial, by field")
    validation_loss: TrialLoss | None = Field(description="Of that trial: the lowest, hence optimistic")
    finished: int = Field(description="Trials of which every seed has a result")
    budget: list[BudgetPoint] = Field(description="Empty until every trial has ended")
    crossings: list[int] = Field(
        description="Numbers of trials from which on this curve and the baseline's have changed sides"
    )
    importance: dict[str, float] | None = Field(
        description="Shares of the tuned fields by PED-ANOVA; null below two fields or ten finished trials"
    )
    trials: list[TunedTrial]


class TuningReport(ResponseModel):
    """Tuning, at the same budget for every variant; nothing here is a measure on test images."""

    experiment_id: str | None = Field(
        description="The experiment that has tried the settings: of a follow-up the one that it follows up; "
        "null if that was deleted"
    )
    method: str
    trials: int = Field(description="Of each variant")
    seeds_per_trial: int
    independent: bool = Field(
        description="Whether `budget` is the expected best of so many trials, whichever come first, and not "
        "the best so far"
    )
    log_scales: list[str] = Field(description="The tuned fields that were drawn on a logarithmic scale")
    variants: list[TunedVariant]
