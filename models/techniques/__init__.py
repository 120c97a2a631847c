"""The catalogue of regularization techniques: parameters with bounds, and what each technique is.

A technique is one class in this package: its fields are the parameters that a job may set, and `about` is
what `GET /v1/techniques` explains. A field of `Regularization` below puts it into the specification. Its
realization, with TensorFlow, is in worker/techniques/.
"""

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from models.techniques.base import About, Technique
from models.techniques.noise import Dropout, GaussianDropout, GaussianNoise
from models.techniques.normalization import BatchNormalization, LayerNormalization
from models.techniques.schedule import EarlyStopping, GradientClipping, LabelSmoothing, LearningRateSchedule
from models.techniques.weights import L1, L2, MaxNorm, ProximalL1, WeightDecay

__all__ = ["CATALOGUE", "About", "Regularization", "Technique"]


class Regularization(BaseModel):
    """Any combination of techniques; none given is the unregularized model."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    dropout: Dropout | None = None
    gaussian_dropout: GaussianDropout | None = None
    gaussian_noise: GaussianNoise | None = None
    l1: L1 | None = None
    l2: L2 | None = None
    proximal_l1: ProximalL1 | None = None
    weight_decay: WeightDecay | None = None
    max_norm: MaxNorm | None = None
    batch_normalization: BatchNormalization | None = None
    layer_normalization: LayerNormalization | None = None
    label_smoothing: LabelSmoothing | None = None
    gradient_clipping: GradientClipping | None = None
    learning_rate_schedule: LearningRateSchedule | None = None
    early_stopping: EarlyStopping | None = None

    @model_serializer(mode="wrap")
    def _only_what_is_on(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Leave out absent techniques, so that a spec shows what it does and its hash survives new ones."""
        return {name: value for name, value in handler(self).items() if value is not None}

    @property
    def names(self) -> list[str]:
        """The techniques that are given, in the catalogue's order."""
        return [name for name in CATALOGUE if getattr(self, name) is not None]

    @property
    def active(self) -> dict[str, Technique]:
        """The techniques that do something, by name: a strength of 0 is as good as absent."""
        given = {name: getattr(self, name) for name in CATALOGUE}
        return {name: technique for name, technique in given.items() if technique and not technique.idle}


CATALOGUE: dict[str, type[Technique]] = {
    "dropout": Dropout,
    "gaussian_dropout": GaussianDropout,
    "gaussian_noise": GaussianNoise,
    "l1": L1,
    "l2": L2,
    "proximal_l1": ProximalL1,
    "weight_decay": WeightDecay,
    "max_norm": MaxNorm,
    "batch_normalization": BatchNormalization,
    "layer_normalization": LayerNormalization,
    "label_smoothing": LabelSmoothing,
    "gradient_clipping": GradientClipping,
    "learning_rate_schedule": LearningRateSchedule,
    "early_stopping": EarlyStopping,
}
