"""Response bodies about predictions."""

from pydantic import Field

from api.http.schemas import ResponseModel


class Prediction(ResponseModel):
    """What a model makes of one image."""

    label: int = Field(description="The most probable class, counted from 0")
    confidence: float = Field(description="That class's probability")
    probabilities: list[float] = Field(description="Of each class, in order; they add up to 1")
    warnings: list[str] = Field(description="Reasons to doubt the prediction; empty if there are none")


class JobPredictions(ResponseModel):
    """What a job's model makes of images, in their order."""

    job_id: str
    predictions: list[Prediction]
    class_names: list[str] | None = Field(
        None, description="Of each label; null where classes are called by their numbers"
    )


class Predictions(JobPredictions):
    """What a job's model makes of images, and the images that it saw."""

    images: list[list[list[int]]] | None = Field(
        description="With `?include=images`: 28x28 pixels of each, 0 to 255; otherwise null"
    )


class PredictionsByJob(ResponseModel):
    """What several jobs' models make of the same images."""

    items: list[JobPredictions]
    images: list[list[list[int]]] | None = Field(
        description="With `?include=images`: 28x28 pixels of each, 0 to 255; otherwise null"
    )
