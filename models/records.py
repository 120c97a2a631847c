"""What a worker reports: one record an epoch, one at the end. Plain frozen values, named as the columns."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from models.metrics import EvaluationMetrics


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch did; tables.Epoch explains the fields."""

    epoch: int
    objective: float
    penalty: float
    batch_accuracy: float
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    weight_norm: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class LayerRecord:
    """One layer's kernel at the reported weights; all shares are fractions, 0 to 1."""

    name: Annotated[str, Field(description="As in the `.keras` file")]
    shape: Annotated[
        tuple[int, ...],
        Field(description="(inputs, units) if dense, (height, width, channels, filters) of a convolution"),
    ]
    weight_norm: Annotated[float, Field(description="Euclidean norm of the kernel")]
    zero_fraction: Annotated[float, Field(description="Share of its weights that are exactly zero")]
    near_zero_fraction: Annotated[float, Field(description="Share of its weights below 0.001 in size")]
    zero_inputs_fraction: Annotated[
        float,
        Field(
            description="Share of its rows (all axes but the last) whose weights are all exactly zero: "
            "pixels, where a first dense layer ignores them"
        ),
    ]


@dataclass(frozen=True)
class CalibrationBin:
    """Test images of about the same confidence, as many in each bin (Naeini et al., AAAI 2015)."""

    n: int
    confidence: float
    """Mean probability of the answers given, 0 to 1."""
    accuracy: float
    """Share of these answers that are right."""


@dataclass(frozen=True)
class DiagnosticsRecord:
    """What a single model looks like, at the reported weights: for charts of one model."""

    weight_edges: Annotated[
        tuple[float, ...], Field(description="Of the histogram's bins, one more than there are counts")
    ]
    """Ascending and symmetric about zero."""
    weight_counts: Annotated[
        tuple[int, ...], Field(description="Kernel weights in each bin, exact zeros left out")
    ]
    weight_zeros: Annotated[int, Field(description="Kernel weights that are exactly zero")]
    calibration: Annotated[
        tuple[CalibrationBin, ...], Field(description="From the least to the most certain answers")
    ]
    first_layer: Annotated[
        tuple[str, ...],
        Field(
            description="Incoming weights of the first hidden units of largest norm, or of a linear model's "
            "classes in their order, each a square image: "
            "base64 of bytes, row by row; 128 is zero, 1 and 255 are minus and plus `first_layer_scale`"
        ),
    ]
    first_layer_side: int
    """Pixels along each side of such an image: 28 for a dense layer, the kernel's size for a convolution."""
    first_layer_scale: float


SEVERITIES = 5
CORRUPTIONS = {
    "shift": "shifted",
    "rotate": "rotated",
    "scale": "made smaller",
    "shear": "sheared",
    "shot_noise": "shot noise",
    "impulse_noise": "impulse noise",
    "blur": "blurred",
    "motion_blur": "motion blur",
    "brightness": "brighter",
    "stripe": "inverted stripe",
    "occlusion": "partly hidden",
    "elastic": "elastic deformation",
}
"""The kinds of damaged test images (worker/corruptions.py), each as it is called in reports."""


@dataclass(frozen=True)
class RobustnessRecord:
    """Accuracies of a finished model on damaged test images."""

    accuracy: Annotated[
        dict[str, tuple[float, ...]],
        Field(
            description="By kind of damage: fractions at severity 0, which is the test accuracy itself, to 5"
        ),
    ]
    mean_accuracy: Annotated[float, Field(description="Mean over all kinds and the severities 1 to 5")]


@dataclass(frozen=True)
class Evaluation(EvaluationMetrics):
    """What a worker measures of a trained model, at the reported epoch's weights.

    `best_epoch` had the best validation loss, or what early stopping found best (the last epoch where nothing
    is held out); `reported_epoch` is the one whose weights were measured and kept.
    """

    weights_sha256: str
    layers: tuple[LayerRecord, ...]
    """One a kernel, first to last."""
    confusion: tuple[tuple[int, ...], ...] | None
    """Shape (classes, classes): test images by their true class, then by the network's answer."""
    test_correct: bytes | None
    """One bit a test image, in the data's order: whether it is correct (numpy.packbits, big-endian)."""
    diagnostics: DiagnosticsRecord
    robustness: RobustnessRecord | None
    """Where the specification asks for it."""


@dataclass(frozen=True)
class Engine:
    """What the weights of a result depend on besides the specification and the data."""

    tensorflow: str
    keras: str
    device: str
    threads: int
    regbench: str
    """The release that trained; another release may train differently."""


@dataclass(frozen=True)
class ResultRecord(Evaluation, Engine):
    """The result of a finished job; tables.Result has the same columns."""

    dataset_sha256: str
    model_path: str
    model_sha256: str
    predictions_path: str | None
    predictions_sha256: str | None


@dataclass(frozen=True)
class CheckpointRecord:
    """Where a job can go on: after which epoch, and with which file."""

    epoch: int
    path: str
    sha256: str


@dataclass(frozen=True)
class Progress:
    """How far a running job is."""

    epochs_done: int
    fraction: float
    """Of all steps that the specification asks for, 0 to 1."""
    eta_seconds: float | None
