"""Techniques that normalize activations."""

from typing import Literal

from pydantic import Field

from models.techniques.base import Technique, TechniqueCard


class BatchNormalization(Technique):
    """Normalize each unit over the batch."""

    group = "Normalization"
    static_parameters = ("momentum", "position")

    momentum: float = Field(
        0.9, ge=0.5, le=0.999, description="Share of the old moving mean and variance kept at each step"
    )
    position: Literal["before_activation", "after_activation"] = Field(
        "before_activation", description="Where the layer stands; the original paper puts it before"
    )

    about = TechniqueCard(
        title="Batch normalization",
        formula="z' = gamma * (z - mean_batch) / sqrt(variance_batch + 0.001) + beta",
        in_training="Each unit is centred and scaled with the batch's own mean and variance, whose noise "
        "regularizes; gamma and beta are learned.",
        at_inference="The moving mean and variance gathered in training take the batch's place.",
        when_to_use="Deep networks and high learning rates; as a regularizer it is mild.",
        cost="A few passes over the activations a step; four numbers a unit.",
        pitfall="With few steps and a momentum near 1 the moving statistics lag behind and validation looks "
        "worse than it is. Dropout before it shifts its statistics: here dropout always comes after.",
        source="Ioffe and Szegedy, Batch Normalization, ICML (2015); Li et al., Understanding the Disharmony "
        "between Dropout and Batch Normalization by Variance Shift, CVPR (2019)",
    )


class LayerNormalization(Technique):
    """Normalize each example over a layer's units."""

    group = "Normalization"
    static_parameters = ("position",)

    position: Literal["before_activation", "after_activation"] = Field(
        "before_activation", description="Where the layer stands"
    )

    about = TechniqueCard(
        title="Layer normalization",
        formula="z' = gamma * (z - mean_units) / sqrt(variance_units + 0.001) + beta",
        in_training="Each example's activations of a layer are centred and scaled by their own mean and "
        "variance; gamma and beta are learned.",
        at_inference="The same as in training: no statistics are carried over from one to the other.",
        when_to_use="Small batches, where batch statistics are too noisy. It eases optimization; as a "
        "regularizer it adds no noise.",
        cost="A few passes over the activations a step; two numbers a unit.",
        pitfall="Not a stand-in for batch normalization's noise: do not expect the same regularization.",
        source="Ba, Kiros and Hinton, Layer Normalization, arXiv 1607.06450 (2016)",
    )
