"""Response bodies about predictions."""

from pydantic import Field

from api.http.schemas import ResponseModel


class DropoutSpread(ResponseModel):
    """How far a model's predictions for an image are apart while its dropout layers are active."""

    samples: int = Field(description="Passes through the model, each with masks of its own")
    sd: list[float] = Field(description="Of each class's probability over the samples, with n - 1")
    predictive_entropy: float = Field(
        description="Entropy of the mean probabilities, in nats: all of the uncertainty"
    )
    mutual_information: float = Field(
        description="That entropy less the samples' mean entropy, in nats: the model's part of it, which "
        "more training images could lower"
    )


class Prediction(ResponseModel):
    """What a model makes of one image."""

    label: int = Field(description="The most probable class, counted from 0")
    confidence: float = Field(description="That class's probability")
    probabilities: list[float] = Field(description="Of each class, in order; they add up to 1")
    warnings: list[str] = Field(description="Reasons to doubt the prediction; empty if there are none")
    dropout: DropoutSpread | None = Field(
        None, description="With `?dropout_samples=n`, when the probabilities are means; otherwise null"
    )


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
