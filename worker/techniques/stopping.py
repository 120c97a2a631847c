"""Early stopping, and the best epoch so far."""

from collections.abc import Iterable

import numpy as np

from models.records import EpochRecord
from models.techniques.schedule import EarlyStopping

# Metrics and `min_delta` are decimal fractions that floats only approximate: 0.895 - 0.894 may fall short of
# 0.001 by 1e-16. A step of one image among a million is larger than this.
_TOLERANCE = 1e-9


class BestEpoch:
    """The best epoch by its validation data, and whether early stopping should stop.

    Keras's own callback cannot restore epochs before its start epoch and loses its state on a resume.
    """

    def __init__(self, technique: EarlyStopping | None, history: Iterable[EpochRecord] = ()) -> None:
        self._technique = technique or EarlyStopping(min_delta=0.0)
        self._stops = technique is not None
        self.epoch = 0
        self._best = np.inf
        self._epochs_without_improvement = 0
        for record in history:
            self.update(record)

    @property
    def restores_best(self) -> bool:
        """Whether the best epoch's weights are reported, not the last one's."""
        return self._stops and self._technique.restore_best

    @property
    def should_stop(self) -> bool:
        """Whether patience has run out."""
        return self._stops and self._epochs_without_improvement >= self._technique.patience

    def update(self, record: EpochRecord) -> bool:
        """Add an epoch; returns whether it is the best so far.

        Without validation data, the newest epoch counts as the best.
        """
        if self._technique.monitor == "validation_loss":
            value = record.validation_loss
        else:
            value = None if record.validation_accuracy is None else -record.validation_accuracy
        gain = np.inf if value is None else self._best - value
        if gain > 0 and gain >= self._technique.min_delta - _TOLERANCE:
            self.epoch, self._epochs_without_improvement = record.epoch, 0
            self._best = np.inf if value is None else value
            return True
        if record.epoch >= self._technique.start_epoch:
            self._epochs_without_improvement += 1
        return False
