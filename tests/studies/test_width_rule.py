"""Whether an interval that a `width` rule has stopped at contains the true difference as often as it says.

Simulated through the rule's own code: normal differences, a pair at a time as in an experiment. The figures
are in docs/explanation/fair-comparison.md.
"""

import numpy as np
import pytest

from models.sequential import count_missing_pairs
from models.statistics import estimate

pytestmark = pytest.mark.slow
MAX_PAIRS = 400
EXPERIMENTS = 30_000


def is_covered(values: list[float], half_width: float) -> tuple[bool, int]:
    """Whether the interval contains the true difference, 0, and of how many pairs it is."""
    n = 0
    while missing := min(count_missing_pairs(values[:n], half_width), 10, MAX_PAIRS - n):
        n += missing
    summary = estimate(values[:n])
    assert summary is not None
    assert summary.low is not None
    assert summary.high is not None
    return summary.low <= 0 <= summary.high, n


@pytest.mark.parametrize("half_width", [1.0, 0.7, 0.6, 0.5, 0.4, 0.3])
def test_the_interval_covers_the_true_difference(half_width: float) -> None:
    random = np.random.default_rng(4)
    outcomes = np.array(
        [is_covered(random.standard_normal(MAX_PAIRS).tolist(), half_width) for _ in range(EXPERIMENTS)]
    )
    coverage = outcomes[:, 0].mean()
    assert 0.945 <= coverage <= 0.955
    assert outcomes[:, 1].min() >= 22
