"""What the service returns, as far as the client looks at it. Fields that are newer than it are kept."""

import unicodedata
from typing import Any

from pydantic import BaseModel, ConfigDict

from models.states import JobState


class _Resource(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    def json_text(self) -> str:
        """The whole document, as the service sent it."""
        return self.model_dump_json(indent=2)


class Progress(_Resource):
    """How far a job is: `epoch` of `epochs` done, `fraction` of all steps, seconds left if known."""

    epoch: int
    epochs: int
    fraction: float
    eta_seconds: float | None


class JobFailure(_Resource):
    """Why a job failed."""

    code: str
    message: str


class Result(_Resource):
    """What a job measured, in part: accuracies are fractions, losses nats per example."""

    test_accuracy: float
    test_loss: float


class Job(_Resource):
    """A job."""

    id: str
    name: str | None
    state: JobState
    variant: str | None
    experiment_id: str | None
    spec: dict[str, Any]
    progress: Progress
    error: JobFailure | None
    result: Result | None

    @property
    def title(self) -> str:
        """What people call it, on one line: its name, else its variant, else its id."""
        title = self.name or self.variant or self.id
        # A name may come from anyone, and a terminal obeys control characters.
        return "".join(" " if unicodedata.category(character) == "Cc" else character for character in title)


class Epoch(_Resource):
    """One row of a job's history."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None


class Experiment(_Resource):
    """An experiment."""

    id: str
    name: str


class Dataset(_Resource):
    """A dataset, and whether it is on the service's machine."""

    name: str
    title: str
    available: bool


class Readiness(_Resource):
    """Whether the service can train now; each check is `ok` or says what is amiss."""

    status: str
    checks: dict[str, str]

    @property
    def ready(self) -> bool:
        """Whether every check passed."""
        return self.status == "ready"

    @property
    def missing(self) -> list[str]:
        """The checks that have not passed."""
        return [name for name, said in self.checks.items() if said != "ok"]


class Prediction(_Resource):
    """What a model makes of one image: a probability of each class."""

    label: int
    confidence: float
    probabilities: list[float]


class Predictions(_Resource):
    """What a job's model makes of images, in their order."""

    job_id: str
    predictions: list[Prediction]
