"""Where the variance of a metric comes from, in a crossed design."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def separate_variances(values: Array) -> tuple[Array, Array, Array]:
    """Variances due to rows, to columns and to the rest, of values (rows, columns, ...), two or more each.

    A two-way random-effects analysis without replication: what rows and columns do only together is the rest.
    Unbiased, so that one that is near zero may come out negative.
    Source: Searle, Casella and McCulloch, Variance Components (1992), chapter 4.
    """
    rows, columns = values.shape[:2]
    by_row, by_column = values.mean(axis=1), values.mean(axis=0)
    together = values - by_row[:, None] - by_column + by_row.mean(axis=0)
    rest = np.square(together).sum(axis=(0, 1)) / ((rows - 1) * (columns - 1))
    return by_row.var(axis=0, ddof=1) - rest / columns, by_column.var(axis=0, ddof=1) - rest / rows, rest
