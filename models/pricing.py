"""What a job will cost, reckoned from its specification before anything is stored."""

from dataclasses import dataclass
from itertools import pairwise

from models.errors import FieldError, OverBudget
from models.settings import Settings
from models.spec import CLASSES, DATASET_ROWS, PIXELS, JobSpec


@dataclass(frozen=True)
class Price:
    """The cost of one job at its full number of epochs."""

    parameters: int
    """Trained numbers of the network."""
    training_flops: float
    """Floating-point operations of the matrix products of all steps."""
    memory_bytes: int
    """Images as 32-bit floats, weights, gradients and optimizer state."""


def price(spec: JobSpec) -> Price:
    """Reckon the cost of `spec`."""
    widths = [PIXELS, *spec.model.hidden_units, CLASSES]
    parameters = sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(widths))
    if spec.regularization.batch_normalization:
        parameters += sum(spec.model.hidden_units)  # gamma and beta come, the bias goes
    images = spec.dataset.rows + DATASET_ROWS[spec.dataset.name].test
    return Price(
        parameters=parameters,
        training_flops=float(flops_per_epoch(spec) * spec.training.epochs),
        memory_bytes=4 * (images * PIXELS + 4 * parameters),
    )


def flops_per_epoch(spec: JobSpec) -> int:
    """Operations of one epoch's matrix products.

    Two a weight and example forward, two for the weight's gradient, two for the input's gradient; the
    images need none.
    """
    widths = [PIXELS, *spec.model.hidden_units, CLASSES]
    weights = sum(fan_in * fan_out for fan_in, fan_out in pairwise(widths))
    return (6 * weights - 2 * widths[0] * widths[1]) * spec.dataset.training_rows


def check_budget(spec: JobSpec, settings: Settings) -> Price:
    """The price of `spec`.

    Raises:
        OverBudget: it is more than this installation allows; the message says by how much.
    """
    cost = price(spec)
    errors = []
    if cost.parameters > settings.max_parameters:
        errors.append(
            FieldError(
                "/model/hidden_units",
                f"{cost.parameters:,} parameters; this installation allows {settings.max_parameters:,} a job",
            )
        )
    if cost.training_flops > settings.max_training_flops:
        errors.append(
            FieldError(
                "/training/epochs",
                f"{cost.training_flops:.2g} floating-point operations; this installation allows "
                f"{settings.max_training_flops:.2g} a job",
            )
        )
    if errors:
        raise OverBudget(errors)
    return cost
