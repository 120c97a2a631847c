"""What a worker reports: one record an epoch, one at the end. Plain frozen values, named as the columns."""

from dataclasses import dataclass


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
class ResultRecord:
    """What a finished job is worth; tables.Result names the same columns.

    `generalization_gap_accuracy` is training minus test accuracy, `generalization_gap_loss` test minus
    training loss: both grow with overfitting. `best_epoch` had the best validation loss (the last epoch
    where nothing is held out); `reported_epoch` is the one whose weights were measured and kept.
    """

    test_accuracy: float
    test_loss: float
    test_brier: float
    test_ece: float
    train_accuracy: float
    train_loss: float
    validation_accuracy: float | None
    validation_loss: float | None
    generalization_gap_accuracy: float
    generalization_gap_loss: float
    best_epoch: int
    reported_epoch: int
    epochs_run: int
    stop_reason: str
    parameters: int
    zero_weight_fraction: float
    weight_norm: float
    training_seconds: float
    compile_seconds: float
    training_flops: float
    weights_sha256: str
    dataset_sha256: str
    tensorflow: str
    keras: str
    device: str
    threads: int
    model_path: str
    model_sha256: str
    predictions_path: str
    predictions_sha256: str


@dataclass(frozen=True)
class Progress:
    """How far a running job is."""

    epochs_done: int
    fraction: float
    """Of all steps that the specification asks for, 0 to 1."""
    eta_seconds: float | None
