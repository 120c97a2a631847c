"""Techniques that keep the answers from growing too certain."""

from pydantic import Field

from models.techniques.base import Technique, TechniqueCard


class LabelSmoothing(Technique):
    """Train towards targets that are not quite certain."""

    strength_parameter = "alpha"
    group = "The targets"

    alpha: float = Field(0.1, ge=0, le=0.5, description="Probability that is spread over all classes")

    about = TechniqueCard(
        title="Label smoothing",
        formula="loss = -sum_k t_k log p_k with t = (1 - alpha) * one_hot + alpha / classes",
        in_training="The target probability of the true class is 1 - alpha + alpha / classes, so that ever "
        "larger logits do not lower the loss.",
        at_inference="Nothing; probabilities are less extreme.",
        when_to_use="When labels may be wrong, or when overconfidence hurts.",
        cost="Negligible.",
        pitfall="On MNIST more confidence is justified than it allows: calibration gets worse. Losses in "
        "a report are cross-entropy without smoothing, for all variants alike.",
        source="Szegedy et al., Rethinking the Inception Architecture, CVPR (2016), section 7; Pereyra et "
        "al., Regularizing Neural Networks by Penalizing Confident Output Distributions, ICLR (2017)",
    )


class ConfidencePenalty(Technique):
    """Reward answers that are not quite certain."""

    strength_parameter = "beta"
    group = "The targets"

    beta: float = Field(0.1, ge=0, le=1, description="Weight of the predictions' entropy")

    about = TechniqueCard(
        title="Confidence penalty",
        formula="loss - beta * H(p), H(p) = -sum_k p_k log p_k of each example's answer, mean over the batch",
        in_training="The entropy of the predictions, in nats, is subtracted from the objective, which "
        "penalizes confident predictions unless they lower the cross-entropy enough.",
        at_inference="Nothing; probabilities are less extreme.",
        when_to_use="Where label smoothing helps. The network decides which wrong classes get the "
        "probability, whereas smoothing distributes it evenly.",
        cost="Negligible.",
        pitfall="The penalty that a report shows is negative, because entropy is subtracted. As with label "
        "smoothing, calibration may get worse where confidence is justified.",
        source="Pereyra et al., Regularizing Neural Networks by Penalizing Confident Output Distributions, "
        "ICLR workshop (2017)",
    )
