import pytest

from models.records import EpochRecord
from models.techniques.schedule import EarlyStopping
from tests.factories import epoch_record
from worker.techniques.stopping import BestEpoch


def observe_losses(technique: EarlyStopping | None, losses: list[float | None]) -> tuple[BestEpoch, int]:
    """The state after these validation losses, and the epoch after which training stopped."""
    best = BestEpoch(technique)
    for epoch, loss in enumerate(losses, start=1):
        best.update(record(epoch, loss))
        if best.should_stop:
            return best, epoch
    return best, len(losses)


def record(epoch: int, loss: float | None) -> EpochRecord:
    accuracy = None if loss is None else 1 - loss / 10
    return epoch_record(epoch, validation_loss=loss, validation_accuracy=accuracy)


def test_early_stopping_stops_after_patience_and_remembers_the_best() -> None:
    best, stopped = observe_losses(EarlyStopping(patience=2), [0.5, 0.3, 0.4, 0.35, 0.2])
    assert (best.epoch, stopped, best.should_stop, best.restores_best) == (2, 4, True, True)


def test_an_improvement_below_min_delta_does_not_count() -> None:
    best, stopped = observe_losses(EarlyStopping(patience=2, min_delta=0.05), [0.5, 0.47, 0.46, 0.1])
    assert (best.epoch, stopped) == (1, 3)


def test_patience_counts_from_the_start_epoch_but_earlier_epochs_may_be_best() -> None:
    best, stopped = observe_losses(EarlyStopping(patience=1, start_epoch=4), [0.2, 0.5, 0.6, 0.7, 0.8])
    assert (best.epoch, stopped) == (1, 4)


def test_accuracy_is_monitored_upwards() -> None:
    best, stopped = observe_losses(EarlyStopping(patience=1, monitor="validation_accuracy"), [0.5, 0.3, 0.4])
    assert (best.epoch, stopped) == (2, 3)


def test_without_early_stopping_the_best_epoch_is_recorded_and_training_does_not_stop() -> None:
    best, stopped = observe_losses(None, [0.5, 0.1] + [0.9] * 50)
    assert (best.epoch, stopped, best.restores_best) == (2, 52, False)


def test_without_validation_data_the_last_epoch_is_the_best() -> None:
    best, _ = observe_losses(None, [None, None, None])
    assert best.epoch == 3


def observe_correct(correct: list[int], images: int, min_delta: float) -> BestEpoch:
    """The state after epochs with so many of `images` validation images right."""
    best = BestEpoch(EarlyStopping(monitor="validation_accuracy", patience=1, min_delta=min_delta))
    for epoch, count in enumerate(correct, start=1):
        best.update(epoch_record(epoch, validation_accuracy=count / images))
    return best


@pytest.mark.parametrize("images", [800, 1_000, 12_000])
def test_f4_an_improvement_by_exactly_min_delta_always_counts(images: int) -> None:
    for correct in range(images * 85 // 100, images):
        assert observe_correct([correct, correct + 1], images, 1 / images).epoch == 2


def test_f4_the_accuracies_of_the_report_do_not_stop() -> None:
    best = observe_correct([790, 850, 894, 895], 1_000, 0.001)
    assert (best.epoch, best.should_stop) == (4, False)


@pytest.mark.parametrize("losses", [[0.3, 0.2], [0.7, 0.6], [0.4, 0.3], [2.3, 2.2]])
def test_f4_a_loss_lower_by_exactly_min_delta_counts(losses: list[float | None]) -> None:
    assert observe_losses(EarlyStopping(min_delta=0.1), losses)[0].epoch == 2


@pytest.mark.parametrize("images", [800, 12_000])
def test_f4_less_than_min_delta_and_no_change_do_not_count(images: int) -> None:
    for correct in range(images * 85 // 100, images - 1):
        assert observe_correct([correct, correct + 1], images, 2 / images).epoch == 1
        assert observe_correct([correct, correct], images, 0.0).epoch == 1
