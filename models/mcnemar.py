"""McNemar's test of two models that answered the same cases. Pure."""

from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr


@dataclass(frozen=True)
class Discordance:
    """Cases that only one of two models gets right, and McNemar's exact p."""

    only_baseline: int
    only_variant: int
    p: float


def run_mcnemar_test(baseline: bytes, variant: bytes) -> Discordance:
    """McNemar's test of two models on the same cases: one bit a case, set where the model is right.

    Where both models were as good, a case that only one gets right would fall to either as a coin does; p is
    the exact two-sided binomial one. It speaks of these two trained models, not of how they were trained.
    Source: McNemar, Note on the Sampling Error of the Difference between Correlated Proportions,
    Psychometrika 12 (1947).

    Raises:
        ValueError: the two do not have the same length.
    """
    if len(baseline) != len(variant):
        raise ValueError("both models must have answered the same cases")
    first, second = np.frombuffer(baseline, np.uint8), np.frombuffer(variant, np.uint8)
    only_baseline = int(np.bitwise_count(first & ~second).sum())
    only_variant = int(np.bitwise_count(second & ~first).sum())
    fewer, cases = min(only_baseline, only_variant), only_baseline + only_variant
    return Discordance(only_baseline, only_variant, min(1.0, 2 * float(bdtr(fewer, cases, 0.5))))
