"""Early stopping, and which epoch has been the best."""

import numpy as np

from models.records import EpochRecord
from models.techniques.schedule import EarlyStopping


class BestEpoch:
    """Which epoch has been the best by its validation data, and, under early stopping, when it is enough.

    Keras's own callback cannot restore epochs before its start epoch and loses its state on a resume.
    """

    def __init__(self, technique: EarlyStopping | None) -> None:
        self._technique = technique or EarlyStopping(min_delta=0.0)
        self._stops = technique is not None
        self.epoch = 0
        self._best = np.inf
        self._waited = 0

    @property
    def restores_best(self) -> bool:
        """Whether the best epoch's weights are the ones to report."""
        return self._stops and self._technique.restore_best

    @property
    def should_stop(self) -> bool:
        """Whether patience has run out."""
        return self._stops and self._waited >= self._technique.patience

    def update(self, record: EpochRecord) -> bool:
        """Take in an epoch; returns whether it is the best so far."""
        value = self._monitored(record)
        if value is None or value < self._best - self._technique.min_delta:
            self.epoch, self._waited = record.epoch, 0
            self._best = np.inf if value is None else value
            return True
        if record.epoch >= self._technique.start_epoch:
            self._waited += 1
        return False

    def _monitored(self, record: EpochRecord) -> float | None:
        """What should fall; None without validation data, where the newest epoch counts as the best."""
        if self._technique.monitor == "validation_loss":
            return record.validation_loss
        return None if record.validation_accuracy is None else -record.validation_accuracy
