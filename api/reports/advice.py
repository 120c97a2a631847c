"""What an experiment's own evidence says about choosing a technique, under the four things to weigh.

Model complexity, training data size, computational resources and the needs of the task. Only what a test
supports is recommended, and only techniques that differ from the baseline in nothing else. Each sentence
names the numbers of the report that it rests on, and each consideration says what the experiment leaves open.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from api.reports.evidence import Evidence, Measured, Step
from api.reports.schemas import Advice, Comparison, Consideration, Difference
from models.dataset_spec import compute_wrong_share
from models.experiments import FEWEST_PAIRS, Regime
from models.inference import LEVELS
from models.metrics import choose_digits, choose_interval_digits, format_signed
from models.records import CORRUPTIONS
from models.statistics import CONFIDENCE

SPARSE_FROM = 0.01
_NO_LONGER = math.log(1.05)
"""Of a ratio of times: five per cent are within what a machine's other work does."""
_FURTHER_SHARE = 0.1
"""Of the report's level, for the two-sided intervals of either thing that is not among its tests: calibration
and damaged images. Only one end of each leads to advice, which is half of its errors, so that both, added to
the report's own level, they leave at most 5 % false sentences where nothing differs."""
_WIDTH = ("/model/hidden_units", "/model/filters")
_DATA = ("/dataset/train_samples",)
_NOISE = "/dataset/label_noise"


def recommend(comparison: Comparison) -> list[Consideration]:
    """The four considerations; none while no variant has a result."""
    evidence = Evidence(comparison)
    if not evidence.measured:
        return []
    return [
        _advise_on_complexity(evidence),
        _advise_on_data(evidence),
        _advise_on_resources(evidence),
        _advise_on_task(evidence),
    ]


def _advise_on_complexity(evidence: Evidence) -> Consideration:
    varied = any(evidence.has_difference(item, _WIDTH) for item in evidence.measured)
    advice = list(_describe_overfitting(evidence))
    if varied:
        steps = evidence.find_steps(lambda item: item.metrics.parameters.mean)
        advice += _describe_gain_along("parameters", steps, grows_with_size=True)
    return Consideration(
        name="complexity",
        title="Model complexity",
        advice=advice,
        not_tested=None
        if varied
        else "One size of network was trained. Whether a larger one needs more regularization is open.",
    )


def _advise_on_data(evidence: Evidence) -> Consideration:
    varied = any(evidence.has_difference(item, _DATA) for item in evidence.measured)
    steps = evidence.find_steps(lambda item: item.variant.training_examples) if varied else {}
    advice = _describe_gain_along("training examples", steps, grows_with_size=False)
    rows = {rows for item in evidence.measured if (rows := item.variant.training_examples) is not None}
    alike = f"One size of training set was used ({min(rows, default=0):,} examples)."
    not_tested = f"{alike} With fewer, a technique may gain more or less."
    if len(rows) > 1:
        not_tested = "The training sets differ in more than their size, which therefore was not tested."
    return Consideration(
        name="data",
        title="Training data size",
        advice=advice,
        not_tested=None if varied else not_tested,
    )


def _advise_on_resources(evidence: Evidence) -> Consideration:
    return Consideration(
        name="resources",
        title="Computational resources",
        advice=[*_compare_costs(evidence), *_describe_idle_early_stopping(evidence)],
        not_tested="Seconds are of this machine, with whatever else ran on it. The time of a prediction was "
        "not measured; but for normalization, every technique leaves the same network behind.",
    )


def _compare_costs(evidence: Evidence) -> Iterator[Advice]:
    """Variants that are better and take no longer than the baseline, and variants that are worse and do."""
    for item in evidence.techniques:
        loss, accuracy = (
            evidence.get_difference(item, name) for name in ("test_loss", "test_accuracy_points")
        )
        # A job that was trained for another experiment may have had another machine to itself.
        ratio = evidence.compute_interval(
            item, lambda seed: None if seed.reused else math.log(max(seed.result.training_seconds, 1e-9))
        )
        if loss is None or accuracy is None or ratio is None:
            continue
        better = loss[1].call == "lower" or accuracy[1].call == "higher"
        worse = loss[1].call == "higher" or accuracy[1].call == "lower"
        calls = ((loss[1].call, "test loss"), (accuracy[1].call, "test accuracy"))
        what = " and a ".join(f"{call} {name}" for call, name in calls if call)
        if better and not worse and ratio[1] < _NO_LONGER:
            text = f"{item.variant.name} has a {what} than {evidence.baseline_name}, and takes no longer"
        elif worse and not better and -ratio[0] < _NO_LONGER:
            text = f"{item.variant.name} is hardly worth the time: it has a {what} than "
            text += f"{evidence.baseline_name}, which takes no longer"
        else:
            continue
        low, high = (100 * math.exp(end) for end in ratio)
        interval = _name_interval(1 - LEVELS[evidence.regime])
        text += f" (time a model, {interval}: {low:,.0f} to {high:,.0f} % of {evidence.baseline_name}'s)."
        yield build_advice(text, item.get_reference("training_seconds"), loss[0], accuracy[0])


def _describe_idle_early_stopping(evidence: Evidence) -> Iterator[Advice]:
    for item in evidence.measured:
        results = [seed.result for seed in item.variant.seeds]
        acted = any(
            result.stop_reason == "early_stopping" or result.reported_epoch < result.epochs_run
            for result in results
        )
        if "early_stopping" in item.variant.regularization and not acted:
            text = (
                f"Early stopping never acted in {item.variant.name}: each model has its last epoch's weights."
            )
            yield build_advice(text, item.get_reference("epochs_run"))


def _advise_on_task(evidence: Evidence) -> Consideration:
    advice = [
        *recommend_for_accuracy(evidence),
        *recommend_for_calibration(evidence),
        *recommend_for_sparsity(evidence),
        *recommend_for_damaged_images(evidence),
        *_recommend_for_noise(evidence),
    ]
    open_questions = [
        question
        for question, answered in (
            (
                "more or fewer wrong training labels",
                any(evidence.has_difference(item, [_NOISE]) for item in evidence.measured),
            ),
            (
                "choosing features (proximal L1 or group L1 make exact zeros)",
                any(item.metrics.zero_weight_fraction.mean >= SPARSE_FROM for item in evidence.measured),
            ),
            ("images unlike the test images, such as damaged or shifted ones", evidence.has_damaged_images),
        )
        if not answered
    ]
    return Consideration(
        name="task",
        title="What the task needs",
        advice=advice,
        not_tested=f"Not tested: {', '.join(open_questions)}.",
    )


def _describe_overfitting(evidence: Evidence) -> Iterator[Advice]:
    for item in evidence.measured:
        if evidence.is_at_chance(item):
            text = f"No model of {item.variant.name} does better than chance; nothing can be learned from it."
            yield build_advice(text, item.get_reference("test_accuracy"))
    baseline = evidence.baseline
    if baseline is None:
        return
    gap = baseline.metrics.generalization_gap_loss
    text = (
        f"{baseline.variant.name}, with {baseline.metrics.parameters.mean:,.0f} parameters, has a test loss "
        f"{abs(gap.mean):.4f} nats {'above' if gap.mean > 0 else 'below'} its training loss"
        f"{_format_interval(gap.low, gap.high, CONFIDENCE)}."
    )
    yield build_advice(
        text, baseline.get_reference("generalization_gap_loss"), baseline.get_reference("parameters")
    )


def _describe_gain_along(unit: str, steps: dict[str, list[Step]], *, grows_with_size: bool) -> list[Advice]:
    """What each technique gains from size to size; whether that grows is said only where it is plain."""
    advice = []
    for name, item in steps.items():
        if len(item) < 2:
            continue
        gains = "; ".join(f"{step.size:,.0f} {unit}: {format_signed(step.gain.mean, 4)}" for step in item)
        text = f"What {name} takes off the test loss: {gains} nats. {_describe_trend(item, grows_with_size)}"
        references = [
            item
            for step in item
            for item in (step.plain.get_reference("test_loss"), step.regularized.get_reference("test_loss"))
        ]
        advice.append(build_advice(text, *references))
    return advice


def _describe_trend(steps: Sequence[Step], grows_with_size: bool) -> str:
    """Whether gain and gap go the same way at every step, and their ends' intervals lie apart."""
    ordered = steps if grows_with_size else list(reversed(steps))
    direction = "larger" if grows_with_size else "smaller"
    first, last = ordered[0].gain, ordered[-1].gain
    apart = first.high is not None and last.low is not None and last.low > first.high
    rising = all(
        after.gain.mean > before.gain.mean
        and after.plain.metrics.generalization_gap_loss.mean
        > before.plain.metrics.generalization_gap_loss.mean
        for before, after in pairwise(ordered)
    )
    if apart and rising:
        what = "network" if grows_with_size else "training set"
        return f"Gain and gap both grow with a {direction} {what}: the {direction} it is, the more it pays."
    return "No steady growth can be shown, so judge by the size nearest to yours."


def recommend_for_accuracy(evidence: Evidence) -> Iterator[Advice]:
    """Techniques whose test accuracy the report calls higher, or that there is none."""
    compared = [
        (item, *pair)
        for item in evidence.techniques
        if (pair := evidence.get_difference(item, "test_accuracy_points")) and pair[1].tested
    ]
    if not compared:
        return
    references = [reference for _, reference, _ in compared]
    pairs = max(gain.n for _, _, gain in compared)
    better = sorted(
        (
            (item, gain)
            for item, _, gain in compared
            if gain.call == "higher" and not (gain.equivalence and gain.equivalence.equivalent)
        ),
        key=lambda pair: -pair[1].mean,
    )
    if evidence.regime is Regime.INTERIM:
        text = "Nothing is settled about accuracy before every planned run has ended."
    elif pairs < FEWEST_PAIRS:
        text = (
            f"With {pairs} {'pair' if pairs == 1 else 'pairs'} of seeds nothing is settled about accuracy. "
            f"Plan at least {FEWEST_PAIRS} seeds."
        )
    elif better:
        confidence = 1 - LEVELS[evidence.regime]
        gains = "; ".join(
            f"{item.variant.name}, {_format_points(gain, confidence)}{_describe_price(item, evidence)}"
            for item, gain in better
        )
        text = f"For accuracy: {gains}."
        if len(better) > 1:
            text += " Which of them is better was not tested."
    else:
        text = (
            "For accuracy no technique that trained in every seed is shown to be worth choosing over "
            f"{evidence.baseline_name}."
        )
    yield build_advice(text, *references)


def _describe_price(item: Measured, evidence: Evidence) -> str:
    """What a gain in accuracy costs in the other measure that is tested."""
    loss = evidence.get_difference(item, "test_loss")
    return ", but a higher test loss" if loss and loss[1].call == "higher" else ""


def recommend_for_calibration(evidence: Evidence) -> Iterator[Advice]:
    """Techniques with a lower calibration error, where accuracy is not lower."""
    for item in evidence.techniques:
        pair = evidence.get_difference(item, "test_accuracy_points")
        if pair is None or pair[1].call == "lower" or pair[1].n < FEWEST_PAIRS:
            continue
        interval = evidence.compute_interval(
            item, lambda seed: seed.result.test_ece_debiased, share=_FURTHER_SHARE
        )
        if interval and interval[1] < 0:
            digits = choose_digits([interval[1]], 4)
            text = (
                f"Where probabilities are acted upon: {item.variant.name} has a lower calibration error than "
                f"{evidence.baseline_name}, by {-interval[1]:.{digits}f} to {-interval[0]:.{digits}f} "
                f"({_name_further_interval(evidence.regime)}; squared, without what chance adds to it)."
            )
            yield build_advice(text, item.get_reference("test_ece_debiased"))


def recommend_for_sparsity(evidence: Evidence) -> Iterator[Advice]:
    """Techniques with exact zeros, where accuracy is shown to be as good."""
    for item in evidence.techniques:
        pair = evidence.get_difference(item, "test_accuracy_points")
        if pair is None or pair[1].call == "lower" or pair[1].n < FEWEST_PAIRS:
            continue
        reference, gain = pair
        zeros = item.metrics.zero_weight_fraction.mean
        if zeros >= SPARSE_FROM and (gain.call or (gain.equivalence and gain.equivalence.equivalent)):
            text = (
                f"For few weights or features: {item.variant.name} has {100 * zeros:.0f} % exact zeros, and "
                f"a test accuracy {'above' if gain.call else 'as good as'} {evidence.baseline_name}'s."
            )
            yield build_advice(text, item.get_reference("zero_weight_fraction"), reference)


def recommend_for_damaged_images(evidence: Evidence) -> Iterator[Advice]:
    """Techniques that are right more often on damaged test images, and not less often on whole ones."""
    gains = [
        (item, interval)
        for item in evidence.techniques
        if (
            interval := evidence.compute_interval(
                item, lambda seed: seed.robust_accuracy, share=_FURTHER_SHARE
            )
        )
    ]
    kinds = f"damaged test images ({len(CORRUPTIONS)} kinds in five severities)"
    better = False
    for item, (low, high) in gains:
        pair = evidence.get_difference(item, "test_accuracy_points")
        if low <= 0 or pair is None or pair[1].call == "lower":
            continue
        better = True
        digits = choose_interval_digits(100 * high, (100 * low, 100 * high), 1)
        text = (
            f"For images unlike the test images: {item.variant.name} classifies {100 * low:.{digits}f} to "
            f"{100 * high:.{digits}f} percentage points ({_name_further_interval(evidence.regime)}) more "
            f"of the {kinds} correctly than {evidence.baseline_name}."
        )
        yield build_advice(text, f"/robustness/{evidence.robustness[item.variant.name]}/difference")
    if gains and not better:
        text = f"On {kinds} no technique is shown to be worth choosing over {evidence.baseline_name}."
        yield build_advice(
            text, *(f"/robustness/{evidence.robustness[item.variant.name]}/difference" for item, _ in gains)
        )


def _recommend_for_noise(evidence: Evidence) -> Iterator[Advice]:
    noise = {
        share
        for item in evidence.measured
        for change in item.variant.confounders
        if change.field == _NOISE
        for share in (change.baseline, change.variant)
    }
    if not noise or evidence.baseline is None:
        return
    ordinary = evidence.baseline.variant.regularization
    plain = [item for item in evidence.measured if item.variant.regularization == ordinary]
    seen = "; ".join(f"{item.variant.name} {100 * item.metrics.test_accuracy.mean:.1f} %" for item in plain)
    drawn = ", ".join(
        f"{100 * share:.0f} % drawn, {100 * compute_wrong_share(share, evidence.classes):.0f} % wrong"
        for share in sorted(noise)
        if share
    )
    text = f"With noisy labels ({drawn}) the test accuracy with the baseline's regularization is: {seen}."
    yield build_advice(text, *(item.get_reference("test_accuracy") for item in plain))


def build_advice(text: str, *evidence: str) -> Advice:
    """A sentence with the pointers of its numbers."""
    return Advice(text=text, evidence=list(evidence))


def _format_points(gain: Difference, confidence: float) -> str:
    low, high = gain.simultaneous_low, gain.simultaneous_high
    digits = choose_interval_digits(gain.mean, (low, high), 2)
    return f"{format_signed(gain.mean, digits)} points{_format_interval(low, high, confidence, digits)}"


def _format_interval(low: float | None, high: float | None, confidence: float, fewest: int = 4) -> str:
    # Values that agree to the last digit have no interval worth showing.
    if low is None or high is None or low == high:
        return ""
    digits = choose_interval_digits(high, (low, high), fewest)
    ends = (f"{round(end, digits) + 0.0:.{digits}f}" for end in (low, high))
    return f" ({_name_interval(confidence)} {' to '.join(ends)})"


def _name_interval(confidence: float) -> str:
    return f"{100 * confidence:g} % interval"


def _name_further_interval(regime: Regime) -> str:
    return _name_interval(1 - _FURTHER_SHARE * LEVELS[regime])
