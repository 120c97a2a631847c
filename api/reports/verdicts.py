"""What a contrast's numbers allow to say, in words, and never more."""

from collections.abc import Sequence

from api.reports.schemas import Call, Difference, Differences, Equivalence, Interval, McNemar
from models.experiments import FEWEST_PAIRS
from models.formatting import format_count
from models.metrics import TESTED
from models.statistics import ALPHA

_ONE_PAIR = "One pair: this shows what happened, not what would happen again."
_DIGITS = {metric.contrast_unit: metric.format.digits for metric in TESTED}
# What the judged metrics are sorted under, in this order.
_LOWER = "Lower"
_HIGHER = "Higher"
_OPEN = "No difference could be shown"
_SAME = "The same in every pair"
_ALIKE = "Different by the same in every pair, which no t test can judge"


def choose_call(mean: float, t_p_holm: float | None, sign_flip_p: float | None) -> Call | None:
    """What may be said of a difference: both the corrected t test and the sign-flip test must find it."""
    if not _is_significant(t_p_holm) or not _is_significant(sign_flip_p):
        return None
    return "higher" if mean > 0 else "lower"


def build_verdict(
    differences: Differences | None,
    equivalence: Equivalence | None,
    on_new_images: Interval | None,
    mcnemar: Sequence[McNemar],
    *,
    tests: int,
) -> str:
    """The contrast in short sentences. `tests` is for how many tests p is corrected."""
    if differences is None:
        return "No seed has a result in both variants, so nothing can be said."
    pairs = differences.test_accuracy_points.n
    if equivalence is None:
        return " ".join(
            [
                _describe_observed(differences) + ".",
                *(
                    f"{test.only_variant} test images are classified correctly by this model only, "
                    f"{test.only_baseline} by the baseline's only (McNemar's test of these two models: "
                    f"{_format_p(test.p)})."
                    for test in mcnemar
                ),
                _ONE_PAIR,
            ]
        )
    if pairs < FEWEST_PAIRS:
        return f"{_describe_observed(differences)}, on average over {pairs} pairs. {_explain_too_few(pairs)}"
    basis = f"({pairs} pairs; paired t tests at 5 %, Holm-corrected for {format_count(tests, 'test')}.)"
    first, *others = _get_named_differences(differences)
    if not differences.test_accuracy_points.sd:
        return " ".join([*_judge_metrics([first, *others]), basis])
    accuracy = _judge_accuracy(differences.test_accuracy_points, equivalence)
    reach = _describe_generalization(differences.test_accuracy_points, equivalence, on_new_images)
    return " ".join([accuracy, *reach, *_judge_metrics(others), basis])


def _get_named_differences(differences: Differences) -> list[tuple[str, Difference, str]]:
    return [
        (metric.title.lower(), difference, metric.contrast_unit)
        for metric in TESTED
        if (difference := getattr(differences, metric.contrast)) is not None
    ]


def _describe_observed(differences: Differences) -> str:
    text = ", ".join(
        f"{what} {format_amount(difference.mean, unit)}"
        for what, difference, unit in _get_named_differences(differences)
    )
    return text[0].upper() + text[1:]


def _explain_too_few(pairs: int) -> str:
    return (
        f"{pairs} pairs cannot settle it, neither that there is a difference nor that there is none: even if "
        f"all agreed in sign, the exact sign-flip test would give p = {2 / 2**pairs:.2g} at best. At least "
        f"{_format_more_seeds(FEWEST_PAIRS - pairs)} would be needed."
    )


def _judge_accuracy(difference: Difference, equivalence: Equivalence) -> str:
    direction = difference.call
    mean = format_amount(difference.mean, "points")
    margin = f"{equivalence.margin_points:g} points"
    inner = _format_interval(90, equivalence.low, equivalence.high)
    if direction and equivalence.equivalent:
        by = f"{direction} by {_format_size(difference, 'points')} ({_format_p(difference.t_p_holm)})"
        return f"Test accuracy is {by}, though by less than {margin} ({inner})."
    if equivalence.equivalent:
        return f"Test accuracy stays within {margin} of the baseline's ({mean}, {inner})."
    outer = _format_interval(95, difference.low, difference.high)
    if direction:
        return (
            f"Test accuracy is {direction} by {_format_size(difference, 'points')} ({outer}, "
            f"{_format_p(difference.t_p_holm)})."
        )
    return (
        f"Test accuracy: no difference could be shown ({mean}, {outer}, {_format_p(difference.t_p_holm)}"
        f"{_describe_disagreement(difference)}); {_describe_power(equivalence, difference.n)} one "
        f"of {margin}."
    )


def _describe_generalization(
    difference: Difference, equivalence: Equivalence, on_new_images: Interval | None
) -> list[str]:
    """What a claim about these test images does not say about others."""
    if on_new_images is None:
        return []
    margin, low, high = equivalence.margin_points, on_new_images.low, on_new_images.high
    too_far = difference.call is not None and low <= 0 <= high
    too_wide = equivalence.equivalent and (low < -margin or high > margin)
    if not too_far and not too_wide:
        return []
    return [
        f"On other test images that need not hold ({_format_interval(95, low, high)} for new images as well)."
    ]


def _describe_power(equivalence: Equivalence, pairs: int) -> str:
    if equivalence.more_seeds:
        return f"about {_format_more_seeds(equivalence.more_seeds)} would probably show"
    return f"these {pairs} pairs would probably have shown"


def _judge_metrics(named: Sequence[tuple[str, Difference, str]]) -> list[str]:
    """Metrics of which the same can be said share a sentence."""
    judged: dict[str, list[str]] = {label: [] for label in (_LOWER, _HIGHER, _OPEN, _SAME, _ALIKE)}
    for what, difference, unit in named:
        amount, p = format_amount(difference.mean, unit), _format_p(difference.t_p_holm)
        if not difference.sd:
            if difference.mean:
                judged[_ALIKE].append(f"{what} {amount}")
            else:
                judged[_SAME].append(what)
        elif difference.call is None:
            disagreement = _describe_disagreement(difference)
            detectable = _describe_detectable(difference, unit)
            judged[_OPEN].append(f"{what} ({amount}, {p}{disagreement}; {detectable})")
        else:
            share = "" if difference.relative is None else f"{_format_share(abs(difference.relative))}, "
            label = _LOWER if difference.call == "lower" else _HIGHER
            judged[label].append(f"{what} by {_format_size(difference, unit)} ({share}{p})")
    return [f"{label}: {', '.join(metrics)}." for label, metrics in judged.items() if metrics]


def _describe_detectable(difference: Difference, unit: str) -> str:
    assert difference.detectable is not None  # noqa: S101 (pairs that may be judged and scatter have it)
    return f"one of {_format_plain(difference.detectable, unit)} would probably have shown"


def _describe_disagreement(difference: Difference) -> str:
    if not _is_significant(difference.t_p_holm) or difference.sign_flip_p is None:
        return ""
    return f"; the exact sign-flip test does not confirm the t test: {_format_p(difference.sign_flip_p)}"


def format_amount(value: float, unit: str) -> str:
    """A signed difference in its unit: `+0.12 points`, `-0.0281 nats`."""
    digits = _DIGITS[unit]
    # Adding zero turns a rounded -0.0 into 0.0.
    return f"{round(value, digits) + 0.0:+.{digits}f} {unit}".rstrip()


def _format_size(difference: Difference, unit: str) -> str:
    return _format_plain(abs(difference.mean), unit)


def _format_plain(value: float, unit: str) -> str:
    return f"{value:.{_DIGITS[unit]}f} {unit}".rstrip()


def _format_share(value: float) -> str:
    return f"{100 * value:.1f} %" if value < 0.095 else f"{100 * value:.0f} %"


def _format_interval(confidence: int, low: float | None, high: float | None) -> str:
    assert low is not None  # noqa: S101 (two pairs or more have an interval)
    assert high is not None  # noqa: S101 (the same)
    return f"{confidence} % interval {round(low, 2) + 0.0:+.2f} to {round(high, 2) + 0.0:+.2f}"


def _format_more_seeds(count: int) -> str:
    # An estimate of 1,234 is one of about 1,200.
    return f"{float(f'{count:.2g}'):,.0f} more {'seed' if count == 1 else 'seeds'}"


def _format_p(p: float | None) -> str:
    if p is None:
        return "p unknown"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _is_significant(p: float | None) -> bool:
    return p is not None and p < ALPHA
