"""The cost of a job, estimated from its specification before anything is stored."""

import math
from dataclasses import dataclass
from threading import Lock
from typing import Annotated

from cachetools import LRUCache, cached
from pydantic import Field

from models.errors import BudgetExceeded, FieldError
from models.records import CORRUPTIONS, SEVERITIES
from models.settings import Settings
from models.spec import PIXELS, SIDE, Cnn, JobSpec


@dataclass(frozen=True)
class CostEstimate:
    """The cost of one job at its full number of epochs."""

    parameters: Annotated[int, Field(description="Trainable parameters of the network")]
    training_flops: Annotated[
        float, Field(description="Floating-point operations of all matrix products of all steps")
    ]
    robustness_flops: Annotated[
        float,
        Field(description="The same of measuring damaged test images, where `evaluation.robustness` asks"),
    ]
    memorization_flops: Annotated[
        float,
        Field(
            description="The same of answering the dataset's training images, where "
            "`evaluation.memorization` asks"
        ),
    ]
    memory_bytes: Annotated[
        int,
        Field(description="Images, weights, gradients, optimizer state, and the activations of a batch"),
    ]

    @property
    def total_flops(self) -> float:
        """What its time is estimated from."""
        return self.training_flops + self.robustness_flops + self.memorization_flops


@dataclass(frozen=True)
class _Layer:
    """What a layer with a kernel costs, without biases and normalization."""

    weights: int
    outputs: int
    """Units or filters: each has a bias of its own."""
    positions: int
    """How often each weight is used for one image."""
    patches: int
    """Numbers that are laid out for one image before the product; 0 for a dense layer."""
    field: str
    """Of the specification's model, that says how large the layer is."""


@cached(
    LRUCache(1_000),
    # Which images a split holds changes no cost.
    key=lambda spec: (
        spec.dataset.model_copy(update={"split_seed": 0}),
        *(spec.model, spec.regularization, spec.training, spec.evaluation),
    ),
    lock=Lock(),
)
def estimate_cost(spec: JobSpec) -> CostEstimate:
    """Estimate the cost of `spec` from its layers; computed once for jobs that differ in their seeds only."""
    layers = _list_layers(spec)
    parameters = sum(layer.weights + layer.outputs for layer in layers)
    normalizations = [
        technique
        for technique in (spec.regularization.batch_normalization, spec.regularization.layer_normalization)
        if technique
    ]
    # Each adds gamma and beta to every unit or filter; a beta takes the place of a bias before it.
    added = 2 * len(normalizations) - any(item.position == "before_activation" for item in normalizations)
    parameters += added * sum(layer.outputs for layer in layers[:-1])
    card = spec.dataset.card
    # A byte a pixel, whatever part is trained on; the training images once more on the device.
    images = (2 * card.train_examples + card.test_examples) * PIXELS
    numbers_per_example = int(
        _COPIES_OF_OUTPUTS * sum(layer.outputs * layer.positions for layer in layers)
        + _COPIES_OF_PATCHES * sum(layer.patches for layer in layers)
    )
    numbers = _COPIES_OF_WEIGHTS * parameters + spec.training.batch_size * numbers_per_example
    card = spec.dataset.card
    # Of one image's answer.
    forward = 2 * sum(layer.weights * layer.positions for layer in _list_layers(spec))
    damaged = len(CORRUPTIONS) * SEVERITIES * card.test_examples
    return CostEstimate(
        parameters=parameters,
        training_flops=compute_training_flops(spec, spec.training.planned_epochs),
        robustness_flops=float(damaged * (forward + _DAMAGE_FLOPS)) if spec.evaluation.robustness else 0.0,
        memorization_flops=float(card.train_examples * forward) if spec.evaluation.memorization else 0.0,
        memory_bytes=images + 4 * numbers,
    )


_MEGABYTE = 1_000_000
# Weights, gradients and Adam's two moments.
_COPIES_OF_WEIGHTS = 4
# Measured copies that a step holds at once, rounded up; docs/decisions/0012-convolution-as-patches.md.
_COPIES_OF_OUTPUTS = 3
_COPIES_OF_PATCHES = 1.5
# What training does in the 27 microseconds, on average, that damaging an image takes.
_DAMAGE_FLOPS = 1_000_000


def compute_flops_per_epoch(spec: JobSpec) -> int:
    """Operations of one epoch's matrix products.

    Two a weight, position and example forward, two for the weight's gradient, two for the input's gradient;
    the images need none.
    """
    products = [layer.weights * layer.positions for layer in _list_layers(spec)]
    return (6 * sum(products) - 2 * products[0]) * spec.dataset.training_examples


def compute_training_flops(spec: JobSpec, epochs: int) -> float:
    """Operations of the matrix products of the first `epochs`."""
    examples, trained = spec.dataset.training_examples, epochs * spec.dataset.training_examples
    if spec.training.steps and spec.training.steps_per_epoch:
        batch = spec.training.batch_size
        steps = min(spec.training.steps, epochs * spec.training.steps_per_epoch)
        passes, further = divmod(steps, math.ceil(examples / batch))
        trained = passes * examples + further * batch
    return compute_flops_per_epoch(spec) * trained / examples


def _list_layers(spec: JobSpec) -> list[_Layer]:
    """Every layer with a kernel, from the images to the logits."""
    layers, inputs, side, field = [], PIXELS, SIDE, "hidden_units"
    model, classes = spec.model, spec.dataset.classes
    if isinstance(model, Cnn):
        channels, field = 1, "filters"
        for filters in model.filters:
            patch = model.kernel_size**2 * channels
            layers.append(_Layer(patch * filters, filters, side**2, patch * side**2, field))
            channels, side = filters, side // 2  # each convolution is followed by 2x2 pooling
        inputs = side**2 * channels
    for units in model.hidden_units:
        field = "hidden_units"
        layers.append(_Layer(inputs * units, units, 1, 0, field))
        inputs = units
    return [*layers, _Layer(inputs * classes, classes, 1, 0, field)]


def check_budget(spec: JobSpec, settings: Settings) -> CostEstimate:
    """The estimated cost of `spec`.

    Raises:
        BudgetExceeded: it is more than this installation allows; the message says by how much.
    """
    cost = estimate_cost(spec)
    errors = []
    if cost.parameters > settings.max_parameters:
        errors.append(
            FieldError(
                f"/model/{max(_list_layers(spec), key=lambda layer: layer.weights).field}",
                f"{cost.parameters:,} parameters; this installation allows {settings.max_parameters:,} a job",
            )
        )
    if cost.total_flops > settings.max_training_flops:
        errors.append(
            FieldError(
                f"/training/{'steps' if spec.training.steps else 'epochs'}",
                f"{cost.total_flops:.2g} floating-point operations; this installation allows "
                f"{settings.max_training_flops:.2g} a job",
            )
        )
    if cost.memory_bytes > settings.max_memory_mb * _MEGABYTE:
        errors.append(
            FieldError(
                "/training/batch_size",
                f"{cost.memory_bytes / _MEGABYTE:,.0f} MB of memory, most of it for the examples of a batch; "
                f"this installation allows {settings.max_memory_mb:,} MB a job",
            )
        )
    if errors:
        raise BudgetExceeded(errors)
    return cost
