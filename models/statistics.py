"""Statistics of a paired comparison: pure functions.

In pairs, both models share the seed: data split, initial weights, batch order. Pairing takes what they share
out of the difference.
"""

import numpy as np
from scipy.special import nctdtrinc, stdtrit

ALPHA = 0.05
"""How often chance alone may make a report call something different."""
POWER = 0.8
"""With which probability a difference is found that is called detectable."""


def detectable_difference(sd: float, pairs: int, *, level: float = ALPHA) -> float:
    """The true mean difference that a two-sided paired t test at `level` finds with 80 % probability.

    In the unit of `sd`, the standard deviation of the differences within the `pairs` (two or more). Solved
    for the noncentrality of Student's t; the far tail, below 1e-6 at this power, is left out.
    Source: Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), chapter 2.
    """
    critical = stdtrit(pairs - 1, 1 - level / 2)
    return float(nctdtrinc(pairs - 1, 1 - POWER, critical)) * sd / float(np.sqrt(pairs))
