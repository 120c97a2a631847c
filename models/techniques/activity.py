"""Techniques that keep activations small."""

from pydantic import Field

from models.techniques.base import Technique, TechniqueCard


class ActivityL1(Technique):
    """Penalize the absolute size of what hidden layers hand on."""

    strength_parameter = "factor"
    group = "Weights and activations"

    factor: float = Field(
        1e-4, ge=0, le=0.1, description="Lambda of the penalty, per hidden output, mean over the batch"
    )

    about = TechniqueCard(
        title="L1 activity penalty",
        formula="penalty = factor * sum(abs(h)) / examples over the outputs h of all hidden layers",
        in_training="A constant pull of every hidden output, taken after the activation, towards zero, added "
        "to the objective. The sum is divided by the examples in the batch; penalties of weights are not.",
        at_inference="Nothing; fewer units answer to an image, and more weakly.",
        when_to_use="When a sparse representation is wanted: with ReLU most units then are silent for most "
        "images. L1 makes the weights sparse instead.",
        cost="One pass over the activations a step.",
        pitfall="The sum runs over all units, and over all positions of a convolution: a wider layer is "
        "penalized more at the same factor.",
        source="Glorot, Bordes and Bengio, Deep Sparse Rectifier Neural Networks, AISTATS (2011)",
    )
