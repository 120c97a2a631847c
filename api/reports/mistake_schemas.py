"""Images that a variant gets right and the baseline does not."""

from pydantic import Field

from api.http.schemas import ResponseModel


class Mistake(ResponseModel):
    """A test image that the baseline gets wrong and the variant right."""

    index: int = Field(description="Its place among the test images, as in `test-predictions`")
    label: int = Field(description="Its class, which the variant answers")
    answer: int = Field(description="What the baseline answers")
    margin: float = Field(
        description="By how much the baseline's log-probability of its answer exceeds that of the label, nats"
    )
    variant_right: float = Field(description="Share of the variant's models that are right")
    baseline_right: float = Field(description="Share of the baseline's models that are right")
    picture: str | None = Field(description="The image as a `data:` URI of a PNG; null if it is not here")


class JobMistake(ResponseModel):
    """A test image that one model gets wrong."""

    index: int
    label: int
    answer: int
    probability: float = Field(description="That the model gives its answer")
    picture: str | None = Field(description="The image as a `data:` URI of a PNG; null if it is not here")


class VariantMistakes(ResponseModel):
    """What a variant gets right and the baseline not, and how often it is the other way round.

    Answers are of the mean log-probabilities over the seeds that both have.
    """

    variant: str
    baseline: str
    seeds: int
    only_variant: int = Field(description="Test images that only the variant gets right")
    only_baseline: int
    images: list[Mistake] = Field(description="Of those that only the variant gets right the nearest first")


class MistakeReport(ResponseModel):
    """Every variant's, in the order of the experiment; those without test predictions are left out."""

    items: list[VariantMistakes]
    reason: str | None = Field(None, description="Why there are none")
