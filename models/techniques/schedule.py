"""Techniques that steer the training itself: its steps and its end."""

from typing import Literal

from pydantic import Field

from models.techniques.base import Technique, TechniqueCard


class EarlyStopping(Technique):
    """Stop when the validation data stop improving."""

    group = "The course of training"
    between_epochs = True

    monitor: Literal["validation_loss", "validation_accuracy"] = Field(
        "validation_loss",
        description="The metric that must improve; the loss is cross-entropy without any penalty",
    )
    patience: int = Field(5, ge=1, le=100, description="Epochs without improvement before training stops")
    min_delta: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Smallest change that counts as an improvement, to within 1e-9; no change never counts",
    )
    start_epoch: int = Field(
        1, ge=1, le=1000, description="First epoch from which patience counts; earlier ones may still be best"
    )
    restore_best: bool = Field(True, description="Report the best epoch's weights, not the last one's")

    about = TechniqueCard(
        title="Early stopping",
        formula="stop at the first epoch t with t - argmin over s <= t of validation_loss(s) >= patience",
        in_training="After each epoch the validation data are measured; with `patience` epochs in a row and "
        "no improvement, training ends.",
        at_inference="The best epoch's weights are used.",
        when_to_use="Nearly always: it saves time and limits overfitting, if enough "
        "data is available for validation.",
        cost="Negative: it ends training early. But validation data are not used for training.",
        pitfall="A noisy monitor and a short patience stop too soon.",
        source="Prechelt, Early Stopping - But When?, Neural Networks: Tricks of the Trade (1998)",
    )


class GradientClipping(Technique):
    """Bound the length of a step's gradient."""

    strength_parameter = "norm"
    group = "The course of training"

    norm: float = Field(1.0, ge=0.01, le=100, description="Largest Euclidean norm of all gradients together")

    about = TechniqueCard(
        title="Gradient clipping by global norm",
        formula="g <- g * min(1, norm / norm(g)) over all trained weights together",
        in_training="A gradient that is too long is shortened; its direction does not change.",
        at_inference="Nothing.",
        when_to_use="When single batches destabilize the training: high learning rates, noisy labels.",
        cost="One pass over the gradients per step.",
        pitfall="Under Adam, which rescales gradients anyway, a norm that is always reached changes little.",
        source="Pascanu, Mikolov and Bengio, On the Difficulty of Training Recurrent Neural Networks, "
        "ICML (2013)",
    )


class LearningRateSchedule(Technique):
    """Let the learning rate fall over the epochs."""

    group = "The course of training"
    between_epochs = True

    kind: Literal["exponential", "cosine", "step", "plateau"] = Field(
        "cosine",
        description="`exponential`, `step` and `plateau` multiply by `decay`; `cosine` falls to `floor`",
    )
    decay: float = Field(
        0.5,
        ge=0.01,
        le=1,
        description="Factor of each reduction: every epoch for `exponential`, otherwise as set by `every`",
    )
    every: int = Field(
        5,
        ge=1,
        le=1000,
        description="Epochs between two reductions of `step`; consecutive epochs without a lower validation "
        "loss before a reduction of `plateau`",
    )
    floor: float = Field(
        0.0, ge=0, le=1, description="Final value of `cosine`, as a share of the learning rate"
    )

    about = TechniqueCard(
        title="Learning-rate schedule",
        formula="epoch t of T: exponential rate * decay^(t-1); step rate * decay^floor((t-1) / every); "
        "cosine rate * (floor + (1 - floor) * (1 + cos(pi * (t-1) / T)) / 2); plateau rate * decay^(runs of "
        "`every` epochs without a lower validation loss before t)",
        in_training="The step size is set at the start of each epoch: by `plateau` from the validation data, "
        "by the others in a fixed way.",
        at_inference="Nothing.",
        when_to_use="With a constant rate the weights fluctuate around the minimum; a decaying one lets them "
        "converge, often with as much benefit as a regularizer.",
        cost="Nothing.",
        pitfall="A rate that decays too early effectively ends the training; techniques that depend on "
        "the rate (proximal and group L1, weight decay) become weaker with it.",
        source="Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR (2017)",
    )
