"""What a report's numbers allow to say, in words, and never more."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from api.reports.axis_schemas import AxisUsed
from api.reports.formatting import format_p_value, get_interval
from api.reports.gains import summarize_calls
from api.reports.points import remove_point
from api.reports.schemas import Confounder, Contrast, Difference
from models.experiments import FEWEST_PAIRS, Regime
from models.formatting import format_count
from models.inference import Plan
from models.metrics import METRICS, Metric, choose_digits, choose_interval_digits, format_signed

_ONE_PAIR = "One pair: this shows what happened, not what would happen again."
_DIGITS = {"points": 2, "nats": 4}
_OVERESTIMATED = "Differences that are only just large enough to be called are overestimated on average."
_NO_VARIANT = "no variant"
_NOT_SHOWN = "is not shown to change"
_MOST_NAMES = 3
_MOST_MORE_SEEDS = 10_000
"""Advice to train more than that is of no practical use."""
_NO_PAIR = "No seed has a result in both variants, so nothing can be said."


@dataclass(frozen=True)
class Outline:
    """What a headline needs to know of a variant."""

    name: str
    is_baseline: bool
    n: int
    """Finished seeds."""
    failed_seeds: Sequence[int]
    confounders: Sequence[Confounder]


def build_verdict(contrast: Contrast, plan: Plan, *, explanation: str | None = None) -> str:
    """One variant against the baseline in short sentences. The contrast's own `verdict` is not read.

    `explanation` is why there are no pairs, where more is known than that.
    """
    failures = _describe_failures(contrast)
    if contrast.differences is None:
        return " ".join([*failures, explanation or _NO_PAIR])
    if plan.regime is Regime.INTERIM:
        pairs = format_count(len(contrast.seeds), "pair")
        observed = _describe_observed(contrast, plan)
        return " ".join(
            [
                *failures,
                f"Interim, {pairs}: {observed}.",
                "Nothing is called before every planned run has ended.",
            ]
        )
    if len(contrast.seeds) < FEWEST_PAIRS:
        return " ".join([*failures, *_describe_few_pairs(contrast, plan)])
    named = _get_differences(contrast, plan)
    sentences = [_judge_metric(metric, difference, plan) for metric, difference in named]
    if any(_is_wide(difference) for _, difference in named):
        sentences.append(_OVERESTIMATED)
    sentences += _describe_generalization(contrast)
    return " ".join([*failures, *sentences, f"({len(contrast.seeds)} pairs.)"])


def build_headline(
    contrasts: Sequence[Contrast],
    variants: Sequence[Outline],
    plan: Plan,
    *,
    ended: int,
    planned: int,
    axes: Sequence[AxisUsed] = (),
) -> str:
    """The answer of a report, in one or two sentences."""
    baseline = next(variant for variant in variants if variant.is_baseline)
    if not any(variant.n for variant in variants):
        return "No run has a result." if ended == planned else "No run has a result yet."
    if plan.regime is Regime.INTERIM:
        return f"Interim: {ended} of {format_count(planned, 'run')} ended. Nothing is called before all have."
    if not contrasts:
        return "There is one variant only, and nothing to compare it with."
    if len(_find_on_other_datasets(variants)) == len(contrasts):
        return "The variants were trained on different datasets, so that they cannot be compared."
    return _build_answer(contrasts, variants, baseline, plan, axes, complete=ended == planned)


def _build_answer(
    contrasts: Sequence[Contrast],
    variants: Sequence[Outline],
    baseline: Outline,
    plan: Plan,
    axes: Sequence[AxisUsed],
    *,
    complete: bool,
) -> str:
    """What a report shows of its tested metrics, where its plan and data allow to compare anything."""
    judged = [contrast for contrast in contrasts if len(contrast.seeds) >= FEWEST_PAIRS]
    plain = remove_point(baseline.name, contrasts[0].point)
    noun = "combinations of variant and point" if axes else "variants"
    failures = _describe_failed_training(variants, noun)
    if not judged:
        most = max(len(contrast.seeds) for contrast in contrasts)
        there = f"there {'is' if most == 1 else 'are'} {f'{most} at most' if most else 'none'}"
        text = f"Nothing is called from fewer than {FEWEST_PAIRS} pairs of seeds; {there}."
        if not any(variant.n for variant in variants if variant.is_baseline):
            result = "no result" if complete else "no result yet"
            text = f"The baseline, {plain}, has {result}, so that there is nothing to compare with."
        return " ".join([text, *failures])
    names = [contrast.variant for contrast in judged]
    reservations = failures or _qualify(contrasts, variants, plan, noun)
    if plan.planned_baseline:
        reservations = [f"{plain} is not the planned baseline, {plan.planned_baseline}: see the methods."]
    if axes:
        answers = [summarize_calls(metric, contrasts, axes, plain) for metric in get_tested(plan)]
        return " ".join([*answers, *reservations])
    clauses = [summarize_metric(metric, judged, baseline.name) for metric in get_tested(plan)]
    if all(predicate.startswith(_NOT_SHOWN) for _, predicate in clauses):
        titles = " or ".join(f"the {_name(metric)}" for metric in get_tested(plan))
        clauses = [(names[0], f"{_NOT_SHOWN} {titles} of {baseline.name}")]
    return " ".join([join_clauses(clauses, names), *reservations])


def format_amount(value: float, unit: str, digits: int | None = None) -> str:
    """A signed difference in its unit: `+0.12 points`, `-0.0281 nats`."""
    digits = choose_digits([value], _DIGITS[unit]) if digits is None else digits
    return f"{format_signed(value, digits)} {unit}"


def format_p(p: float | None, level: float = 0.05) -> str:
    """To three digits, or as many as tell it from the level on whose one side it lies."""
    text = format_p_value(p, level)
    return "p unknown" if p is None else f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def get_tested(plan: Plan) -> list[Metric]:
    return [metric for metric in METRICS.values() if metric.name in plan.primary]


def _get_differences(contrast: Contrast, plan: Plan) -> list[tuple[Metric, Difference]]:
    return [(metric, getattr(contrast.differences, metric.contrast)) for metric in get_tested(plan)]


def _name(metric: Metric) -> str:
    return metric.title.lower()


def _describe_failures(contrast: Contrast) -> list[str]:
    failures = contrast.failures
    if failures is None:
        return []
    text = (
        f"Training failed in {failures.variant} of {format_count(failures.seeds, 'seed')}, in "
        f"{failures.baseline} with the baseline (McNemar's exact test, not corrected for others: "
        f"{format_p(failures.p)})"
    )
    if contrast.seeds:
        return [f"{text}; what follows is about the pairs of runs in which it failed in neither."]
    return [f"{text}."]


def _describe_observed(contrast: Contrast, plan: Plan) -> str:
    parts = []
    for metric, difference in _get_differences(contrast, plan):
        text = f"{_name(metric)} {_format_mean(difference, metric)}"
        if difference.sd == 0 == difference.mean:
            parts.append(f"{_name(metric)} the same in every pair")
            continue
        if plan.regime is Regime.INTERIM:
            text += f" ({_format_interval(difference, metric, plan)})"
        parts.append(text)
    return ", ".join(parts)


def _describe_few_pairs(contrast: Contrast, plan: Plan) -> list[str]:
    pairs = len(contrast.seeds)
    observed = _describe_observed(contrast, plan)
    observed = observed[0].upper() + observed[1:]
    if pairs > 1:
        too_few = (
            f"From fewer than {FEWEST_PAIRS} pairs nothing is called: even if all {pairs} agreed in sign, "
            f"the exact sign-flip test would give p = {2 / 2**pairs:.2g} at best."
        )
        return [f"{observed}, on average over {pairs} pairs.", too_few]
    tests = []
    for test in contrast.mcnemar:
        part = "" if test.part is None else f"Part {test.part}: "
        images = (
            f"{format_count(test.only_variant, 'test image')} {'is' if test.only_variant == 1 else 'are'}"
        )
        tests.append(
            f"{part}{images} classified correctly by this model only, {test.only_baseline} by the baseline's "
            "only (McNemar's test of these two models, not corrected for others: "
            f"{format_p(test.p)})."
        )
    return [f"{observed}.", *tests, _ONE_PAIR]


def _judge_metric(metric: Metric, difference: Difference, plan: Plan) -> str:
    title, unit, equivalence = metric.title, metric.contrast_unit, difference.equivalence
    if not difference.sd and not difference.mean:
        return f"{title} is the same in every pair."
    interval = _format_interval(difference, metric, plan)
    p = format_p(difference.adjusted_p, plan.level)
    margin = f"{equivalence.margin:g} {unit}" if equivalence else ""
    equivalent = equivalence is not None and equivalence.equivalent
    if difference.call:
        share = ""
        # A share that rounds to nothing, and one of ten times or more, says less than the nats.
        if difference.relative and unit == "nats" and 0.0005 <= abs(difference.relative) < 10:
            percent = 100 * abs(difference.relative)
            share = f", {percent:.{choose_digits([percent], 1) if percent < 9.5 else 0}f} %"
        small = f", though by less than {margin}" if equivalent else ""
        size = _format_mean(difference, metric).lstrip("+-")
        if difference.sd == 0:
            interval = "in every pair"
        return f"{title} is {difference.call} by {size}{share}{small} ({interval}, {p})."
    mean = _format_mean(difference, metric)
    if equivalence and equivalence.equivalent:
        basis = interval
        if equivalence.p is not None:
            basis = f"two one-sided tests: {format_p(equivalence.p, plan.level)}"
        return f"{title} stays within {margin} of the baseline's ({mean}; {basis})."
    text = f"{title}: no difference could be shown ({mean}, {interval}, {p})"
    if difference.detectable:
        text += f"; one of {format_plain(difference.detectable, unit)} would probably have been shown"
    return f"{text}.{_describe_more_seeds(difference, margin, plan)}"


def _describe_more_seeds(difference: Difference, margin: str, plan: Plan) -> str:
    """How many seeds would probably show a difference of the margin, where these would not have."""
    equivalence = difference.equivalence
    if not equivalence or not equivalence.more_seeds or not difference.detectable:
        return ""
    if difference.detectable <= equivalence.margin or equivalence.more_seeds > _MOST_MORE_SEEDS:
        return ""
    low, high = equivalence.more_seeds_low or 0, equivalence.more_seeds_high or 0
    count = f"about {_round(equivalence.more_seeds)} ({_round(low)} to {_round(high)})"
    if plan.regime is Regime.FIXED:
        return f" A follow-up of this variant alone with {count} new seeds would probably show {margin}."
    return f" {count.capitalize()} more seeds would probably show {margin}."


def _is_wide(difference: Difference) -> bool:
    """Whether the interval of a called difference is wide beside it, so that it is probably overestimated."""
    low, high = difference.simultaneous_low, difference.simultaneous_high
    if difference.call is None or low is None or high is None:
        return False
    return high - low > abs(difference.mean)


def _describe_generalization(contrast: Contrast) -> list[str]:
    """What a claim about these test images does not say about others."""
    if contrast.differences is None or contrast.accuracy_on_new_images is None:
        return []
    difference = contrast.differences.test_accuracy_points
    equivalence = difference.equivalence
    low, high = contrast.accuracy_on_new_images.low, contrast.accuracy_on_new_images.high
    too_far = difference.call is not None and low <= 0 <= high
    too_wide = equivalence is not None and equivalence.equivalent and max(-low, high) > equivalence.margin
    if not too_far and not too_wide:
        return []
    digits = choose_interval_digits(difference.mean, (low, high), 2)
    ends = " to ".join(format_signed(end, digits) for end in (low, high))
    return [f"On other test images that need not hold (95 % interval {ends} for new images as well)."]


def summarize_metric(metric: Metric, judged: Sequence[Contrast], baseline: str) -> tuple[str, str]:
    """Subject and predicate of what the judged contrasts show of one metric."""
    differences: dict[str, Difference] = {
        contrast.variant: getattr(contrast.differences, metric.contrast) for contrast in judged
    }
    total, target = len(differences), f"the {_name(metric)} of {baseline}"
    better, worse = ("raise", "lower") if metric.direction == "higher" else ("lower", "raise")
    gains = {name: one for name, one in differences.items() if one.call == metric.direction}
    losses = {name: one for name, one in differences.items() if one.call and name not in gains}
    others = f", and {_list_names(losses, total)} {_conjugate(worse, losses)} it" if losses else ""
    if gains or (losses and len(losses) == total):
        called, verb, others = (gains, better, others) if gains else (losses, worse, "")
        predicate = f"{_conjugate(verb, called)} {target}{_format_most(called, metric)}{others}"
        return _list_names(called, total), predicate
    margins = {
        one.equivalence.margin
        for one in differences.values()
        if one.equivalence and one.equivalence.equivalent
    }
    equal = [name for name, one in differences.items() if one.equivalence and one.equivalence.equivalent]
    if len(equal) == total:
        verb = "stays" if total == 1 else "stay"
        within = f"{verb} within {max(margins):g} {metric.contrast_unit} of {baseline} in {_name(metric)}"
        return _list_names(equal, total), within
    if total == 1:
        return next(iter(differences)), f"{_NOT_SHOWN} {target}"
    return _NO_VARIANT, f"is shown to {better} {target}{others}"


def join_clauses(clauses: Sequence[tuple[str, str]], names: Collection[str]) -> str:
    """Subjects and predicates as one sentence about the variants of these names."""
    subject, text = clauses[0]
    # A variant's name stays as it was given; only words of ours begin with a capital.
    text = f"{subject if subject in names else subject[:1].upper() + subject[1:]} {text}"
    for other, predicate in clauses[1:]:
        text += f" and {predicate}" if other == subject != _NO_VARIANT else f"; {other} {predicate}"
    return f"{text}."


def _describe_failed_training(variants: Sequence[Outline], noun: str) -> list[str]:
    failed = [variant.name for variant in variants if variant.failed_seeds]
    entirely = [variant.name for variant in variants if variant.failed_seeds and not variant.n]
    partly = [name for name in failed if name not in entirely]
    total = len(variants)
    # Of parts a seed may lack one only; and what has no result may have cancelled runs, too.
    clauses = [f"in some runs of {_list_names(partly, total, noun)}"] if partly else []
    if entirely:
        has = "has" if len(entirely) == 1 else "have"
        clauses.append(f"in {_list_names(entirely, total, noun)}, which {has} no result")
    return [f"Training failed {join(clauses)}."] if clauses else []


def _qualify(contrasts: Sequence[Contrast], variants: Sequence[Outline], plan: Plan, noun: str) -> list[str]:
    """The weightiest reservation about a headline, where no training failed."""
    total = len(variants)
    confounded = [variant.name for variant in variants if variant.confounders]
    elsewhere = _find_on_other_datasets(variants)
    few = [
        contrast.variant
        for contrast in contrasts
        if len(contrast.seeds) < FEWEST_PAIRS and contrast.variant not in elsewhere
    ]
    if elsewhere:
        compared = "it is not compared" if len(elsewhere) == 1 else "they are not compared"
        return [f"Another dataset was used for {_list_names(elsewhere, total, noun)}, so that {compared}."]
    if few:
        return [f"There are too few pairs to say anything of {_list_names(few, total, noun)}."]
    if plan.regime is Regime.EXTENDED:
        return [
            "Runs were added, repeated, cancelled or deleted, so that only larger differences are called."
        ]
    if confounded:
        return [f"Something besides regularization differs in {_list_names(confounded, total, noun)}."]
    return []


def _find_on_other_datasets(variants: Sequence[Outline]) -> list[str]:
    return [
        variant.name
        for variant in variants
        if any(change.field == "/dataset/name" for change in variant.confounders)
    ]


def _list_names(names: Iterable[str], total: int, noun: str = "variants") -> str:
    names = list(names)
    if len(names) == total > 1:
        return f"both {noun}" if total == 2 else f"all {total} {noun}"
    return join(names) if len(names) <= _MOST_NAMES else f"{len(names)} of {total} {noun}"


def join(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _conjugate(verb: str, subjects: Collection[str]) -> str:
    return f"{verb}s" if len(subjects) == 1 else verb


def _format_most(differences: Mapping[str, Difference], metric: Metric) -> str:
    name, most = max(differences.items(), key=lambda pair: abs(pair[1].mean))
    size = _format_mean(most, metric).lstrip("+-")
    return f" by {size}" if len(differences) == 1 else f" ({name} by the most, {size})"


def _format_mean(difference: Difference, metric: Metric) -> str:
    unit = metric.contrast_unit
    digits = choose_interval_digits(difference.mean, get_interval(difference), _DIGITS[unit])
    return format_amount(difference.mean, unit, digits)


def _format_interval(difference: Difference, metric: Metric, plan: Plan) -> str:
    low, high = difference.simultaneous_low, difference.simultaneous_high
    if low is None or high is None:
        return "no interval yet" if plan.regime is Regime.INTERIM else "no bounded interval from so few pairs"
    digits = choose_interval_digits(difference.mean, (low, high), _DIGITS[metric.contrast_unit])
    confidence = f"{100 * (1 - plan.level):g}"
    return f"{confidence} % interval {format_signed(low, digits)} to {format_signed(high, digits)}"


def format_plain(value: float, unit: str) -> str:
    return f"{value:.{choose_digits([value], _DIGITS[unit])}f} {unit}"


def _round(count: int) -> str:
    # An estimate of 1,234 is one of about 1,200.
    return f"{float(f'{count:.2g}'):,.0f}"
