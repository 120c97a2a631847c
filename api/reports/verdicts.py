"""What a contrast's numbers allow to say, in words, and never more."""

from collections.abc import Sequence

from api.reports.schemas import Call, Difference, Differences, Equivalence, Interval, McNemar
from models.experiments import FEWEST_PAIRS
from models.statistics import ALPHA

_ONE_PAIR = "One pair: this shows what happened, not what would happen again."
# What the judged metrics are sorted under, in this order.
_LOWER = "Lower"
_HIGHER = "Higher"
_OPEN = "No difference could be shown"
_SAME = "The same in every pair"
_ALIKE = "Different by the same in every pair, which no t test can judge"


def call(mean: float, t_p_holm: float | None, sign_flip_p: float | None) -> Call | None:
    """What may be said of a difference: both the corrected t test and the sign-flip test must find it."""
    if not _below(t_p_holm) or not _below(sign_flip_p):
        return None
    return "higher" if mean > 0 else "lower"


def verdict(
    differences: Differences | None,
    equivalence: Equivalence | None,
    on_new_images: Interval | None,
    mcnemar: Sequence[McNemar],
    *,
    tests: int,
) -> str:
    """The contrast in short sentences. `tests` is for how many tests p is corrected."""
    if differences is None:
        return "No pair of finished jobs with the same seed yet: nothing can be said."
    pairs = differences.test_accuracy_points.n
    if equivalence is None:
        return " ".join([_observed(differences) + ".", *map(_single_models, mcnemar), _ONE_PAIR])
    if pairs < FEWEST_PAIRS:
        return f"{_observed(differences)}, on average over {pairs} pairs. {_too_few(pairs)}"
    basis = f"({pairs} pairs; paired t tests at 5 %, Holm-corrected for {tests} tests.)"
    first, *others = _named(differences)
    if not differences.test_accuracy_points.sd:
        return " ".join([*_judgements([first, *others]), basis])
    accuracy = _accuracy(differences.test_accuracy_points, equivalence)
    reach = _reach(differences.test_accuracy_points, equivalence, on_new_images)
    return " ".join([accuracy, *reach, *_judgements(others), basis])


def _named(differences: Differences) -> list[tuple[str, Difference, str]]:
    return [
        ("test accuracy", differences.test_accuracy_points, "points"),
        ("test loss", differences.test_loss, "nats"),
        ("gap in accuracy", differences.generalization_gap_accuracy_points, "points"),
        ("gap in loss", differences.generalization_gap_loss, "nats"),
    ]


def _observed(differences: Differences) -> str:
    text = ", ".join(f"{what} {amount(each.mean, unit)}" for what, each, unit in _named(differences))
    return text[0].upper() + text[1:]


def _single_models(found: McNemar) -> str:
    return (
        f"{found.only_variant} test images are classified correctly by this model only, "
        f"{found.only_baseline} by the baseline's only (McNemar's test of these two models: {_p(found.p)})."
    )


def _too_few(pairs: int) -> str:
    return (
        f"{pairs} pairs cannot settle it, neither that there is a difference nor that there is none: even if "
        f"all agreed in sign, the exact sign-flip test would give p = {2 / 2**pairs:.2g} at best. At least "
        f"{_more_seeds(FEWEST_PAIRS - pairs)} would be needed."
    )


def _accuracy(found: Difference, equivalence: Equivalence) -> str:
    direction = found.call
    mean = amount(found.mean, "points")
    margin = f"{equivalence.margin_points:g} points"
    inner = _interval(90, equivalence.low, equivalence.high)
    if direction and equivalence.equivalent:
        by = f"{direction} by {_size(found, 'points')} ({_p(found.t_p_holm)})"
        return f"Test accuracy is {by}, though by less than {margin} ({inner})."
    if equivalence.equivalent:
        return f"Test accuracy stays within {margin} of the baseline's ({mean}, {inner})."
    outer = _interval(95, found.low, found.high)
    if direction:
        return f"Test accuracy is {direction} by {_size(found, 'points')} ({outer}, {_p(found.t_p_holm)})."
    return (
        f"Test accuracy: no difference could be shown ({mean}, {outer}, {_p(found.t_p_holm)}"
        f"{_disagreement(found)}); {_what_would_show(equivalence, found.n)} one of {margin}."
    )


def _reach(found: Difference, equivalence: Equivalence, on_new_images: Interval | None) -> list[str]:
    """What a claim about these test images does not say about others."""
    if on_new_images is None:
        return []
    margin, low, high = equivalence.margin_points, on_new_images.low, on_new_images.high
    too_far = found.call is not None and low <= 0 <= high
    too_wide = equivalence.equivalent and (low < -margin or high > margin)
    if not too_far and not too_wide:
        return []
    return [f"On other test images that need not hold ({_interval(95, low, high)} for new images as well)."]


def _what_would_show(equivalence: Equivalence, pairs: int) -> str:
    if equivalence.more_seeds:
        return f"about {_more_seeds(equivalence.more_seeds)} would probably show"
    return f"these {pairs} pairs would probably have shown"


def _judgements(named: Sequence[tuple[str, Difference, str]]) -> list[str]:
    """Metrics of which the same can be said share a sentence."""
    said: dict[str, list[str]] = {label: [] for label in (_LOWER, _HIGHER, _OPEN, _SAME, _ALIKE)}
    for what, found, unit in named:
        label, numbers = _judged(found, unit)
        said[label].append(f"{what} {numbers}".rstrip())
    return [f"{label}: {', '.join(parts)}." for label, parts in said.items() if parts]


def _judged(found: Difference, unit: str) -> tuple[str, str]:
    if not found.sd:
        return (_ALIKE, amount(found.mean, unit)) if found.mean else (_SAME, "")
    direction = found.call
    if direction is None:
        numbers = f"{amount(found.mean, unit)}, {_p(found.t_p_holm)}{_disagreement(found)}"
        return _OPEN, f"({numbers}; {_would_have_shown(found, unit)})"
    share = "" if found.relative is None else f"{_share(abs(found.relative))}, "
    label = _LOWER if direction == "lower" else _HIGHER
    return label, f"by {_size(found, unit)} ({share}{_p(found.t_p_holm)})"


def _would_have_shown(found: Difference, unit: str) -> str:
    assert found.detectable is not None  # noqa: S101 (pairs that may be judged and scatter have it)
    return f"one of {_plain(found.detectable, unit)} would probably have shown"


def _disagreement(found: Difference) -> str:
    if not _below(found.t_p_holm) or found.sign_flip_p is None:
        return ""
    return f"; the exact sign-flip test does not confirm the t test: {_p(found.sign_flip_p)}"


def amount(value: float, unit: str) -> str:
    """A signed difference in its unit: `+0.12 points`, `-0.0281 nats`."""
    digits = _digits(unit)
    # Adding zero turns a rounded -0.0 into 0.0.
    return f"{round(value, digits) + 0.0:+.{digits}f} {unit}"


def _size(found: Difference, unit: str) -> str:
    return _plain(abs(found.mean), unit)


def _plain(value: float, unit: str) -> str:
    return f"{value:.{_digits(unit)}f} {unit}"


def _digits(unit: str) -> int:
    return 2 if unit == "points" else 4


def _share(value: float) -> str:
    return f"{100 * value:.1f} %" if value < 0.095 else f"{100 * value:.0f} %"


def _interval(confidence: int, low: float | None, high: float | None) -> str:
    assert low is not None  # noqa: S101 (two pairs or more have an interval)
    assert high is not None  # noqa: S101 (the same)
    return f"{confidence} % interval {round(low, 2) + 0.0:+.2f} to {round(high, 2) + 0.0:+.2f}"


def _more_seeds(number: int) -> str:
    # An estimate of 1,234 is one of about 1,200.
    return f"{float(f'{number:.2g}'):,.0f} more {'seed' if number == 1 else 'seeds'}"


def _p(p: float | None) -> str:
    if p is None:
        return "p unknown"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _below(p: float | None) -> bool:
    return p is not None and p < ALPHA
