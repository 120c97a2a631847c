"""The catalogue of regularization techniques: parameters with bounds, and what each technique is.

A technique is one class in this package: its fields are the parameters that a job may set, and `about` is
what `GET /v1/techniques` explains. A field of `Regularization` below puts it into the specification. Its
realization, with TensorFlow, is in worker/techniques/.
"""

from typing import get_args

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from models.techniques.averaging import ExponentialMovingAverage, StochasticWeightAveraging
from models.techniques.base import Technique, TechniqueCard
from models.techniques.inputs import Augmentation, Mixup
from models.techniques.noise import Dropout, GaussianDropout, GaussianNoise, SpatialDropout
from models.techniques.normalization import BatchNormalization, LayerNormalization
from models.techniques.schedule import EarlyStopping, GradientClipping, LearningRateSchedule
from models.techniques.targets import ConfidencePenalty, LabelSmoothing
from models.techniques.weights import L1, L2, ActivityL1, GroupL1, MaxNorm, ProximalL1, WeightDecay

__all__ = ["CATALOGUE", "Regularization", "Technique", "TechniqueCard"]


class Regularization(BaseModel):
    """Any combination of techniques; none given is the unregularized model."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    dropout: Dropout | None = None
    spatial_dropout: SpatialDropout | None = None
    gaussian_dropout: GaussianDropout | None = None
    gaussian_noise: GaussianNoise | None = None
    augmentation: Augmentation | None = None
    mixup: Mixup | None = None
    l1: L1 | None = None
    l2: L2 | None = None
    activity_l1: ActivityL1 | None = None
    proximal_l1: ProximalL1 | None = None
    group_l1: GroupL1 | None = None
    weight_decay: WeightDecay | None = None
    max_norm: MaxNorm | None = None
    batch_normalization: BatchNormalization | None = None
    layer_normalization: LayerNormalization | None = None
    label_smoothing: LabelSmoothing | None = None
    confidence_penalty: ConfidencePenalty | None = None
    gradient_clipping: GradientClipping | None = None
    learning_rate_schedule: LearningRateSchedule | None = None
    exponential_moving_average: ExponentialMovingAverage | None = None
    stochastic_weight_averaging: StochasticWeightAveraging | None = None
    early_stopping: EarlyStopping | None = None

    @model_serializer(mode="wrap")
    def _serialize_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Leave out absent techniques, so that a spec shows what it does and its hash survives new ones."""
        return {name: value for name, value in handler(self).items() if value is not None}

    @property
    def active(self) -> dict[str, Technique]:
        """The techniques that do something, by name: a strength of 0 is as good as absent."""
        techniques = {name: getattr(self, name) for name in CATALOGUE}
        return {
            name: technique for name, technique in techniques.items() if technique and not technique.is_noop
        }


# Each field above is `Technique | None`.
CATALOGUE: dict[str, type[Technique]] = {
    name: get_args(field.annotation)[0] for name, field in Regularization.model_fields.items()
}
