"""What models/bias_variance.py computes, as frozen values; needs no NumPy."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field


@dataclass(frozen=True)
class Measured:
    """A mean over the test images with its 95 % interval."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class CrossEntropyParts:
    """In nats: `bias` and `variance` add up to `mean_loss`."""

    mean_loss: Measured
    bias: Annotated[Measured, Field(description="Loss of the normalized geometric mean of the probabilities")]
    variance: Annotated[Measured, Field(description="Mean divergence of the models from that mean (KL)")]


@dataclass(frozen=True)
class BrierParts:
    """`bias_squared` and `variance` add up to `mean_loss`."""

    mean_loss: Measured
    bias_squared: Annotated[Measured, Field(description="Brier score of the mean of the probabilities")]
    variance: Annotated[Measured, Field(description="Mean squared distance of the models from that mean")]
    variance_unbiased: Annotated[
        Measured, Field(description="k/(k-1) times `variance`: what infinitely many training sets would have")
    ]


@dataclass(frozen=True)
class ZeroOneParts:
    """Of answers, right or wrong: where the most frequent one is wrong, variance lowers the loss."""

    mean_loss: Measured
    bias: Annotated[Measured, Field(description="Share of images whose most frequent answer is wrong")]
    variance: Annotated[
        Measured, Field(description="Share of answers that differ from the most frequent one")
    ]


@dataclass(frozen=True)
class VarianceSources:
    """Where the Brier score's variance comes from (Neal et al. 2018); unbiased, so one may be negative."""

    data: Annotated[Measured, Field(description="The training set: variance of the mean over seeds")]
    initialization: Annotated[
        Measured,
        Field(description="The seed (initial weights, batches, masks): mean variance on one training set"),
    ]


@dataclass(frozen=True)
class BiasVariance:
    """The decompositions of one variant."""

    cross_entropy: CrossEntropyParts
    brier: BrierParts
    zero_one: ZeroOneParts
    due_to: VarianceSources | None
