"""Techniques that normalize activations."""

from typing import Literal

from pydantic import Field

from models.techniques.base import Technique, TechniqueCard


class BatchNormalization(Technique):
    """Normalize each unit over the batch."""

    group = "Normalization"
    families_that_need_hidden_units = ("mlp",)
    static_parameters = ("momentum", "position")

    momentum: float = Field(
        0.9, ge=0.5, le=0.999, description="Share of the old moving mean and variance kept at each step"
    )
    position: Literal["before_activation", "after_activation"] = Field(
        "before_activation",
        description="Position of the layer; the original paper has it before the activation",
    )

    about = TechniqueCard(
        title="Batch normalization",
        formula="z' = gamma * (z - mean_batch) / sqrt(variance_batch + 0.001) + beta",
        in_training="Each unit is centred and scaled with the batch's own mean and variance, whose noise "
        "regularizes; gamma and beta are learned.",
        at_inference="The moving mean and variance from training are used instead of the batch's.",
        when_to_use="Deep networks and high learning rates; as a regularizer it is mild.",
        cost="A few passes over the activations per step; four numbers per unit.",
        pitfall="With few steps and a momentum near 1 the moving statistics lag behind and validation "
        "results are too low. Dropout before it shifts its statistics; here dropout is always "
        "after it.",
        source="Ioffe and Szegedy, Batch Normalization, ICML (2015); Li et al., Understanding the Disharmony "
        "between Dropout and Batch Normalization by Variance Shift, CVPR (2019)",
    )


class LayerNormalization(Technique):
    """Normalize each example over a layer's units."""

    group = "Normalization"
    families_that_need_hidden_units = ("mlp",)
    static_parameters = ("position",)

    position: Literal["before_activation", "after_activation"] = Field(
        "before_activation", description="Position of the layer"
    )

    about = TechniqueCard(
        title="Layer normalization",
        formula="z' = gamma * (z - mean_units) / sqrt(variance_units + 0.001) + beta",
        in_training="Each example's activations of a layer are centred and scaled by their own mean and "
        "variance; gamma and beta are learned.",
        at_inference="The same as in training: no statistics are stored.",
        when_to_use="Small batches, where batch statistics are too noisy. It eases optimization; as a "
        "regularizer it adds no noise.",
        cost="A few passes over the activations per step; two numbers per unit.",
        pitfall="It does not replace the noise of batch normalization: do not "
        "expect the same regularization.",
        source="Ba, Kiros and Hinton, Layer Normalization, arXiv 1607.06450 (2016)",
    )
