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


def test_without_early_stopping_the_best_epoch_is_known_and_nothing_stops() -> None:
    best, stopped = observe_losses(None, [0.5, 0.1] + [0.9] * 50)
    assert (best.epoch, stopped, best.restores_best) == (2, 52, False)


def test_without_validation_data_the_last_epoch_is_the_best() -> None:
    best, _ = observe_losses(None, [None, None, None])
    assert best.epoch == 3
