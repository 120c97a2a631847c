"""From which epoch on a variant overfits: a test over its seeds. Pure.

The lowest value of a noisy curve lies below its last value even where the curve is flat, so a rise from the
minimum must not be tested on the values that the minimum was chosen from. Here it is chosen on one half of
the seeds and the rise is tested on the other half, both ways round (two-fold cross-fitting; Cox, A Note on
Data-Splitting for the Evaluation of Significance Levels, Biometrika 62, 1975).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from models.statistics import ALPHA

FEWEST_SEEDS = 4
"""Two in either half: a single difference has no standard deviation."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """An epoch at which overfitting may begin; single seeds must confirm it."""

    epoch: int
    """Of the lowest mean validation loss."""
    tested_from: tuple[int, int]
    """For either half of the seeds the epoch of the lowest mean validation loss of the other half."""
    last: int


def find_candidate(epochs: Sequence[int], validation_loss: Array, by_half: Array) -> Candidate | None:
    """Where the mean `validation_loss` (epochs,) is lowest; None where that is the last epoch in any half.

    `by_half` (2, epochs) holds the means over each half of the seeds, `epochs` those that all seeds reached.
    """
    lowest = int(validation_loss.argmin())
    first, second = by_half.argmin(axis=1).tolist()
    if len(epochs) - 1 in (lowest, first, second):
        return None
    return Candidate(epochs[lowest], (epochs[second], epochs[first]), epochs[-1])


def is_confirmed(validation_loss: Array, train_loss: Array) -> bool:
    """Whether validation loss and gap rise clearly in both halves of the seeds, the training loss not.

    Both hold each seed's change (seeds,) from its half's epoch in `tested_from` to the last one; every other
    seed belongs to the first half. Clearly means by one-sided paired t tests at `ALPHA`. Because all must
    agree, a flat curve is confirmed with a probability of at most `ALPHA` (intersection-union test; Berger,
    Technometrics 24, 1982). Where the training loss rises as well, training fails or is regularized too much.
    """
    changes = (validation_loss, validation_loss - train_loss)
    rises = all(_rises_clearly(change[half::2]) for change in changes for half in (0, 1))
    return rises and not _rises_clearly(train_loss)


def _rises_clearly(change: Array) -> bool:
    mean, sd = float(change.mean()), float(change.std(ddof=1))
    if mean <= 0 or sd == 0:
        return mean > 0
    return bool(stdtr(change.size - 1, -mean / sd * np.sqrt(change.size)) <= ALPHA)
