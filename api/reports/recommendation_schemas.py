"""What a recommendation is asked for and answers with, as frozen values."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.experiments.schemas import ExperimentCostEstimate
from api.http.schemas import ResponseModel

Need = Literal["accuracy", "calibration", "sparsity", "robustness"]
NEEDS: dict[Need, str] = {
    "accuracy": "Few wrong answers",
    "calibration": "Probabilities that can be acted upon",
    "sparsity": "Few weights, or few features",
    "robustness": "Damaged, shifted or noisy images",
}


class Task(BaseModel):
    """The task that a technique is to be chosen for; what is null decides nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    train_examples: int | None = Field(
        None, ge=1, le=10**9, description="Labelled examples, those held out for validation among them"
    )
    parameters: int | None = Field(None, ge=1, le=10**12, description="Trainable parameters of the network")
    seconds: float | None = Field(
        None, gt=0, le=10**9, description="How long one model may train, on this installation's machine"
    )
    needs: Annotated[tuple[Need, ...], Field(strict=False, min_length=1, max_length=len(NEEDS))] = Field(
        ("accuracy",),
        description="`accuracy`, `calibration` (probabilities that are acted upon), `sparsity` (few weights "
        "or features), `robustness` (damaged images)",
    )


class AnswerEvidence(ResponseModel):
    """Where a number of an answer stands."""

    experiment_id: str
    pointer: str = Field(description="JSON pointer into the experiment's report as JSON")


class Answer(ResponseModel):
    """A sentence that an experiment of this installation supports."""

    text: str
    evidence: list[AnswerEvidence]


class MeasuredTask(ResponseModel):
    """A task that a finished experiment with six seeds or more was measured on."""

    experiment_id: str
    name: str = Field(description="The experiment's")
    dataset: str
    model: str = Field(description="The family of its networks: `mlp` or `cnn`")
    point: dict[str, Any] | None = Field(description="The point of its axes; null without axes")
    train_examples: int = Field(description="Those held out for validation among them")
    parameters: int = Field(description="Of the baseline's network")
    seeds: int


class OfferedExperiment(ResponseModel):
    """An experiment that would answer what is open, as `POST /v1/experiments` takes it."""

    spec: dict[str, Any]
    cost: ExperimentCostEstimate


class Recommendation(ResponseModel):
    """What this installation's own experiments say about choosing a technique for a task."""

    answers: list[Answer]
    nearest: MeasuredTask | None = Field(
        description="The measured task that is most like the requested one, also where it is too far away to "
        "answer; null while nothing is measured"
    )
    abstains: bool = Field(
        description="Whether nothing is said, because no measured task has between half and twice the "
        "examples and parameters, or none of those was measured for any of the needs"
    )
    experiment: OfferedExperiment | None = Field(
        description="The experiment that would answer the needs that are open; null if none is, or if no "
        "built-in dataset has so many examples"
    )
