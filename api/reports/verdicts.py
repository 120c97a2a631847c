"""What a contrast's numbers allow to say, in words, and never more."""

from api.reports.schemas import Difference, Differences

ALPHA = 0.05
# With n pairs the exact sign-flip test's smallest two-sided p is 2 / 2^n; it first passes 0.05 at six.
PAIRS_FOR_EXACT_TEST = 6


def verdict(differences: Differences | None, *, comparisons: int) -> str:
    """The contrast in words. `comparisons` is how many variants are compared with the baseline."""
    if differences is None:
        return "No pair of finished jobs with the same seed yet: nothing can be said."
    pairs = differences.test_accuracy_points.n
    if pairs == 1:
        return f"{_observed(differences)}. One pair: this shows what happened, not what would happen again."
    if pairs < PAIRS_FOR_EXACT_TEST:
        return f"{_observed(differences)}, on average over {pairs} pairs. {_too_few(pairs)}"
    corrected = f", Holm-corrected over {comparisons} comparisons" if comparisons > 1 else ""
    judged = "; ".join(_judged(what, each, unit) for what, each, unit in _readable(differences))
    return f"Over {pairs} pairs (paired t test at 5 %{corrected}): {judged}."


def _readable(differences: Differences) -> list[tuple[str, Difference, str]]:
    return [
        ("test accuracy", differences.test_accuracy_points, "points"),
        ("test loss", differences.test_loss, "nats"),
        ("gap in accuracy", differences.generalization_gap_accuracy_points, "points"),
        ("gap in loss", differences.generalization_gap_loss, "nats"),
    ]


def _observed(differences: Differences) -> str:
    parts = [f"{what} {amount(each.mean, unit)}" for what, each, unit in _readable(differences)]
    text = ", ".join(parts)
    return text[0].upper() + text[1:]


def amount(value: float, unit: str) -> str:
    """A signed difference in its unit: `+0.12 points`, `-0.0281 nats`."""
    digits = 2 if unit == "points" else 4
    # Adding zero turns a rounded -0.0 into 0.0.
    return f"{round(value, digits) + 0.0:+.{digits}f} {unit}"


def _too_few(pairs: int) -> str:
    smallest = 2 / 2**pairs
    return (
        f"{pairs} pairs cannot settle it: even if all differences agreed in sign, the exact sign-flip test "
        f"would give p = {smallest:.2g} at best; at least {PAIRS_FOR_EXACT_TEST} seeds are needed to get "
        f"below {ALPHA}."
    )


def _judged(what: str, difference: Difference, unit: str) -> str:
    mean = amount(difference.mean, unit)
    if difference.t_p_holm is None:
        return f"{what} {mean} in every pair alike"
    p = "p < 0.001" if difference.t_p_holm < 0.001 else f"p = {difference.t_p_holm:.3f}"
    if difference.t_p_holm >= ALPHA:
        return f"{what} inconclusive ({mean}, {p})"
    direction = "higher" if difference.mean > 0 else "lower"
    return f"{what} {direction} ({mean}, {p}{_doubt(difference)})"


def _doubt(difference: Difference) -> str:
    if difference.sign_flip_p is None or difference.sign_flip_p < ALPHA:
        return ""
    return f"; the exact sign-flip test alone gives p = {difference.sign_flip_p:.3f}"
