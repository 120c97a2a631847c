"""The catalogue of regularization techniques: parameters with bounds, and what each technique is.

A technique is one class here: its fields are the parameters that a job may set, and `about` is what
`GET /v1/techniques` explains. Its realization, with TensorFlow, is in worker/regularizers.py.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer


@dataclass(frozen=True)
class About:
    """What a technique is, in words and one formula, for people who choose."""

    title: str
    formula: str
    in_training: str
    at_inference: str
    when_to_use: str
    cost: str
    pitfall: str
    source: str


class Technique(BaseModel):
    """The parameters of one technique. The class variable `about` explains it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    about: ClassVar[About]


class Dropout(Technique):
    """Silence random units in training."""

    rate: float = Field(0.5, ge=0, le=0.9, description="Share of hidden units silenced at each step")
    input_rate: float = Field(0.0, ge=0, le=0.5, description="Share of input pixels silenced at each step")

    about = About(
        title="Dropout",
        formula="h' = m * h / (1 - rate), m ~ Bernoulli(1 - rate) drawn anew for each example, unit and step",
        in_training="Each hidden unit is silenced with probability `rate`; the others are scaled up by "
        "1/(1 - rate), so that the expected input of the next layer stays the same (inverted dropout).",
        at_inference="Nothing: every unit is used as it is. Srivastava's original form keeps training "
        "unscaled and multiplies weights by (1 - rate) at inference instead; the expectation is the same.",
        when_to_use="Wide fully connected layers that overfit. It lowers the loss and the gap between "
        "training and test more surely than it raises accuracy.",
        cost="More epochs to converge; next to nothing a step.",
        pitfall="Accuracy printed during training is taken with units missing, so it stands below the "
        "validation accuracy; Regbench measures both sides without dropout.",
        source="Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, "
        "JMLR 15 (2014)",
    )


class L1(Technique):
    """Penalize the absolute size of weights."""

    factor: float = Field(1e-5, ge=0, le=1e-2, description="Lambda of the penalty, per weight")

    about = About(
        title="L1 (lasso)",
        formula="penalty = factor * sum(abs(w)) over all kernels, biases excluded",
        in_training="A constant pull of every weight towards zero, added to the objective.",
        at_inference="Nothing; the weights are smaller.",
        when_to_use="When few inputs or units should matter and the rest fade out. Together with L2 it is "
        "the elastic net.",
        cost="One pass over the weights a step.",
        pitfall="The subgradient step makes weights tiny but hardly ever exactly zero.",
        source="Tibshirani, Regression Shrinkage and Selection via the Lasso, JRSS B 58 (1996)",
    )


class L2(Technique):
    """Penalize the squared size of weights."""

    factor: float = Field(1e-4, ge=0, le=1e-1, description="Lambda of the penalty, per squared weight")

    about = About(
        title="L2 (ridge)",
        formula="penalty = factor * sum(w^2) over all kernels, biases excluded (no 1/2)",
        in_training="A pull towards zero in proportion to each weight, added to the objective.",
        at_inference="Nothing; the weights are smaller and more even.",
        when_to_use="A first choice for any overfitting network; search the factor on a logarithmic scale.",
        cost="One pass over the weights a step.",
        pitfall="Under Adam it is not the same as weight decay: the penalty's gradient is rescaled with the "
        "rest. A factor of 0.01, Keras's default, destroys a 512-512 network.",
        source="Krogh and Hertz, A Simple Weight Decay Can Improve Generalization, NeurIPS 4 (1991)",
    )


class BatchNormalization(Technique):
    """Normalize each unit over the batch."""

    momentum: float = Field(
        0.9, ge=0.5, le=0.999, description="Share of the old moving mean and variance kept at each step"
    )
    position: Literal["before_activation", "after_activation"] = Field(
        "before_activation", description="Where the layer stands; the original paper puts it before"
    )

    about = About(
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


class EarlyStopping(Technique):
    """Stop when the validation data stop improving."""

    monitor: Literal["validation_loss", "validation_accuracy"] = Field(
        "validation_loss", description="What must improve; the loss is cross-entropy without any penalty"
    )
    patience: int = Field(5, ge=1, le=100, description="Epochs without improvement before training stops")
    min_delta: float = Field(0.0, ge=0, le=1, description="Smallest change that counts as an improvement")
    start_epoch: int = Field(
        1, ge=1, le=1000, description="First epoch from which patience counts; earlier ones may still be best"
    )
    restore_best: bool = Field(True, description="Report the best epoch's weights, not the last one's")

    about = About(
        title="Early stopping",
        formula="stop at the first epoch t with t - argmin over s <= t of validation_loss(s) >= patience",
        in_training="After each epoch the validation data are measured; with `patience` epochs in a row and "
        "no improvement, training ends.",
        at_inference="The best epoch's weights are used.",
        when_to_use="Nearly always: it saves time and caps overfitting, if validation data can be spared.",
        cost="Less than nothing: it ends training early. Validation data are not trained on.",
        pitfall="A noisy monitor and a short patience stop too soon.",
        source="Prechelt, Early Stopping - But When?, Neural Networks: Tricks of the Trade (1998)",
    )


class Regularization(BaseModel):
    """Any combination of techniques; none given is the unregularized model."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    dropout: Dropout | None = None
    l1: L1 | None = None
    l2: L2 | None = None
    batch_normalization: BatchNormalization | None = None
    early_stopping: EarlyStopping | None = None

    @model_serializer(mode="wrap")
    def _only_what_is_on(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Leave out absent techniques, so that a spec shows what it does and its hash survives new ones."""
        return {name: value for name, value in handler(self).items() if value is not None}

    @property
    def names(self) -> list[str]:
        """The techniques that are on, in the catalogue's order."""
        return [name for name in CATALOGUE if getattr(self, name) is not None]


CATALOGUE: dict[str, type[Technique]] = {
    "dropout": Dropout,
    "l1": L1,
    "l2": L2,
    "batch_normalization": BatchNormalization,
    "early_stopping": EarlyStopping,
}
