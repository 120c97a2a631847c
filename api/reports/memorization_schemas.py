"""The map of memorized training images, as frozen values."""

from typing import Any

from pydantic import Field

from api.http.schemas import ResponseModel


class MemorizedImage(ResponseModel):
    """A training image, and how the models that were trained on it and the others answer."""

    index: int = Field(description="Its place among the dataset's training images")
    label: int | None = Field(description="Its class; null if the dataset is not here")
    models_in: int = Field(description="Models that were trained on it")
    accuracy_in: float = Field(description="Share of them that answer its label")
    models_out: int = Field(description="Models that were not trained on it, or only validated on it")
    accuracy_out: float
    estimate: float = Field(description="`accuracy_in` minus `accuracy_out`")
    low: float = Field(description="95 % interval of this image by itself, over models (Newcombe 1998)")
    high: float
    chance: float = Field(
        description="Probability of this estimate or a larger one, had seeing the image no effect"
    )
    memorized: bool = Field(
        description="Whether it is more than chance: of all images called so at most 5 % are expected by it"
    )
    caption: str = Field(description="Label: accuracy where seen / where not")
    picture: str | None = Field(description="The image as a `data:` URI of a PNG; null if it is not here")


class MeanEstimate(ResponseModel):
    """A mean over training images with its 95 % interval over seeds, for these images."""

    value: float
    low: float | None
    high: float | None


class MemorizationBin(ResponseModel):
    """Images with an estimate from `low` to below `high`; the last bin has both ends."""

    low: float
    high: float
    images: int
    by_chance: float = Field(description="How many are expected, had seeing an image no effect")


class MemorizationItem(ResponseModel):
    """The map of one variant at one point of the axes."""

    name: str = Field(description="The variant and its point in words")
    variant: str
    point: dict[str, Any] | None
    models: int = Field(description="With stored answers, over seeds and parts")
    counted: int = Field(description="Training images with enough models on either side")
    mean: MeanEstimate | None = Field(None, description="Mean estimate of the counted images")
    difference: MeanEstimate | None = Field(
        None,
        description="Mean estimate minus the baseline's at the same point, over models that both have with "
        "the same training images; null of the baseline",
    )
    memorized: int | None = Field(None, description="Counted images whose estimate is more than chance")
    large_share: float | None = Field(None, description="Share of estimates of `large` or more")
    large_share_by_chance: float | None = None
    histogram: list[MemorizationBin] = Field([], description="Of the estimates of all counted images")
    images: list[MemorizedImage] = Field([], description="The largest estimates, in descending order")
    text: str | None = Field(None, description="The numbers in words")
    reason: str | None = Field(None, description="Why there is no map")


class MemorizationReport(ResponseModel):
    """The maps of an experiment's variants, in its order; variants without one say why."""

    baseline: str
    fewest_models: int = Field(description="On either side of an image that counts")
    large: float = Field(description="From where on Feldman and Zhang (2020) call an image memorized")
    items: list[MemorizationItem]
    reason: str | None = Field(None, description="Why there is no map at all")
