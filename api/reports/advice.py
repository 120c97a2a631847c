"""What an experiment's own evidence says about choosing a technique, under the four things to weigh.

Model complexity, training data size, computational resources and the needs of the task. Each sentence names
the numbers of the report that it rests on, and each consideration says what the experiment leaves open.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from api.reports.schemas import (
    Advice,
    Comparison,
    Consideration,
    Contrast,
    Difference,
    Metrics,
    VariantReport,
)
from models.experiments import FEWEST_PAIRS
from models.formatting import format_techniques
from models.statistics import PairedDifference, compute_paired_difference

MARGIN_POINTS = 0.2
_SPARSE_FROM = 0.01
_WIDTH = ("/model/hidden_units", "/model/filters")
_DATA = ("/dataset/train_samples",)
_NOISE = "/dataset/label_noise"


def recommend(comparison: Comparison) -> list[Consideration]:
    """The four considerations; none while no variant has a result."""
    evidence = _Evidence(comparison)
    if not evidence.measured:
        return []
    return [
        _advise_on_complexity(evidence),
        _advise_on_data(evidence),
        _advise_on_resources(evidence),
        _advise_on_task(evidence),
    ]


@dataclass(frozen=True)
class _Measured:
    """A variant with results, and where it stands in the report."""

    index: int
    variant: VariantReport
    metrics: Metrics

    def get_reference(self, metric: str) -> str:
        return f"/variants/{self.index}/metrics/{metric}"


@dataclass(frozen=True)
class _Step:
    """One technique at one size of network or training set, against the same without it."""

    size: float
    plain: _Measured
    regularized: _Measured
    gain: PairedDifference
    """In test loss: what the technique takes off it."""


class _Evidence:
    """The parts of a comparison that advice is drawn from."""

    def __init__(self, comparison: Comparison) -> None:
        self.measured = [
            _Measured(index, variant, variant.metrics)
            for index, variant in enumerate(comparison.variants)
            if variant.metrics is not None
        ]
        self.baseline = next((item for item in self.measured if item.variant.is_baseline), None)
        self.contrasts: dict[str, tuple[int, Contrast]] = {
            contrast.variant: (index, contrast) for index, contrast in enumerate(comparison.contrasts)
        }

    def has_difference(self, measured: _Measured, fields: Sequence[str]) -> bool:
        """Whether a variant differs from the baseline in one of these fields."""
        return any(
            change.field.startswith(field) for change in measured.variant.confounders for field in fields
        )

    def get_difference(self, measured: _Measured, metric: str) -> tuple[str, Difference] | None:
        """Where a variant's difference from the baseline stands, and what it is."""
        index, contrast = self.contrasts.get(measured.variant.name, (0, None))
        if contrast is None or contrast.differences is None:
            return None
        return f"/contrasts/{index}/differences/{metric}", getattr(contrast.differences, metric)

    def find_steps(self, size: Callable[[_Measured], float | None]) -> dict[str, list[_Step]]:
        """For each technique what it gains at each size where the same was trained without it, by size."""
        if self.baseline is None:
            return {}
        steps_by_technique: dict[str, list[_Step]] = {}
        ordinary = self.baseline.variant.regularization
        settings: dict[str, list[_Measured]] = {}
        for item in self.measured:
            settings.setdefault(str(item.variant.confounders), []).append(item)
        for setting in settings.values():
            plain = next((item for item in setting if item.variant.regularization == ordinary), None)
            for item in setting:
                if plain is None or item is plain or (value := size(item)) is None:
                    continue
                # What is taken off the test loss, over the seeds that both have finished.
                first = {seed.seed: seed.result.test_loss for seed in plain.variant.seeds}
                second = {seed.seed: seed.result.test_loss for seed in item.variant.seeds}
                seeds = sorted(first.keys() & second.keys())
                losses = [second[seed] for seed in seeds], [first[seed] for seed in seeds]
                if (gain := compute_paired_difference(*losses)) is not None:
                    name = format_techniques(item.variant.regularization)
                    steps_by_technique.setdefault(name, []).append(_Step(value, plain, item, gain))
        return {name: sorted(steps, key=lambda step: step.size) for name, steps in steps_by_technique.items()}


def _advise_on_complexity(evidence: _Evidence) -> Consideration:
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


def _advise_on_data(evidence: _Evidence) -> Consideration:
    varied = any(evidence.has_difference(item, _DATA) for item in evidence.measured)
    steps = evidence.find_steps(lambda item: item.variant.training_examples) if varied else {}
    advice = _describe_gain_along("training examples", steps, grows_with_size=False)
    rows = {rows for item in evidence.measured if (rows := item.variant.training_examples) is not None}
    only = f" ({min(rows):,} examples)" if len(rows) == 1 else ""
    return Consideration(
        name="data",
        title="Training data size",
        advice=advice,
        not_tested=None
        if varied
        else f"One size of training set was used{only}. With fewer, a technique may gain more or less.",
    )


def _advise_on_resources(evidence: _Evidence) -> Consideration:
    comparable = [item for item in evidence.measured if not item.variant.confounders]
    by_cost = sorted(
        comparable, key=lambda item: (item.metrics.training_seconds.mean, item.metrics.test_loss.mean)
    )
    advice = []
    lowest = float("inf")
    for item in by_cost:
        loss, seconds = item.metrics.test_loss.mean, item.metrics.training_seconds.mean
        if loss < lowest:
            what = "on average the lowest test loss of all that take no longer"
            text = f"{item.variant.name}: {seconds:.3g} s a model, and {what} ({loss:.4f})."
            advice.append(
                _build_advice(text, item.get_reference("training_seconds"), item.get_reference("test_loss"))
            )
            lowest = loss
    beaten = [
        item
        for item in by_cost
        if not any(item.get_reference("test_loss") in line.evidence for line in advice)
    ]
    if beaten:
        names = ", ".join(item.variant.name for item in beaten)
        another = "Another variant takes no longer, and its test loss is on average no higher."
        text = f"Hardly worth the time: {names}. {another}"
        advice.append(_build_advice(text, *(item.get_reference("training_seconds") for item in beaten)))
    return Consideration(
        name="resources",
        title="Computational resources",
        advice=advice,
        not_tested="Seconds are of this machine, with whatever else ran on it. The time of a prediction was "
        "not measured; but for normalization, every technique leaves the same network behind.",
    )


def _advise_on_task(evidence: _Evidence) -> Consideration:
    advice = [
        *_recommend_for_accuracy(evidence),
        *_recommend_for_further_needs(evidence),
        *_recommend_for_noise(evidence),
    ]
    open_questions = [
        question
        for question, answered in (
            (
                "wrong training labels",
                any(evidence.has_difference(item, [_NOISE]) for item in evidence.measured),
            ),
            (
                "choosing features (proximal_l1 or group_l1 make exact zeros)",
                any(item.metrics.zero_weight_fraction.mean >= _SPARSE_FROM for item in evidence.measured),
            ),
            ("images unlike the test images, such as damaged or shifted ones", False),
        )
        if not answered
    ]
    return Consideration(
        name="task",
        title="What the task needs",
        advice=advice,
        not_tested=f"Not tested: {', '.join(open_questions)}.",
    )


def _describe_overfitting(evidence: _Evidence) -> Iterator[Advice]:
    baseline = evidence.baseline
    if baseline is None:
        return
    gap = baseline.metrics.generalization_gap_loss
    text = (
        f"{baseline.variant.name}, with {baseline.metrics.parameters.mean:,.0f} parameters, has a test loss "
        f"{abs(gap.mean):.4f} nats {'above' if gap.mean > 0 else 'below'} its training loss"
        f"{_format_interval(gap.low, gap.high)}."
    )
    yield _build_advice(
        text, baseline.get_reference("generalization_gap_loss"), baseline.get_reference("parameters")
    )
    closing = [
        (item, result)
        for item in evidence.measured
        if (result := evidence.get_difference(item, "generalization_gap_loss")) and result[1].call == "lower"
    ]
    if closing:
        measured, (reference, difference) = min(closing, key=lambda pair: pair[1][1].mean)
        text = (
            f"{measured.variant.name} narrows that gap most, by {-difference.mean:.4f} nats"
            f"{_format_interval(_negate(difference.high), _negate(difference.low))}."
        )
        yield _build_advice(text, reference)


def _describe_gain_along(unit: str, steps: dict[str, list[_Step]], *, grows_with_size: bool) -> list[Advice]:
    """What each technique gains from size to size; whether that grows is said only where it is plain."""
    advice = []
    for name, item in steps.items():
        if len(item) < 2:
            continue
        gains = "; ".join(f"{step.size:,.0f} {unit}: {step.gain.mean:+.4f}" for step in item)
        text = f"What {name} takes off the test loss: {gains} nats. {_describe_trend(item, grows_with_size)}"
        references = [
            item
            for step in item
            for item in (step.plain.get_reference("test_loss"), step.regularized.get_reference("test_loss"))
        ]
        advice.append(_build_advice(text, *references))
    return advice


def _describe_trend(steps: Sequence[_Step], grows_with_size: bool) -> str:
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


def _recommend_for_accuracy(evidence: _Evidence) -> Iterator[Advice]:
    compared = [
        (measured, reference, difference)
        for measured in evidence.measured
        if (pair := evidence.get_difference(measured, "test_accuracy_points"))
        for reference, difference in [pair]
    ]
    if not compared:
        return
    judged = [(measured, reference, gain) for measured, reference, gain in compared if gain.n >= FEWEST_PAIRS]
    if not judged:
        pairs = max(gain.n for _, _, gain in compared)
        text = (
            f"With {pairs} {'pair' if pairs == 1 else 'pairs'} of seeds nothing is settled about accuracy; "
            f"what follows is what was seen. Ask for at least {FEWEST_PAIRS} seeds."
        )
        yield _build_advice(text, *(reference for _, reference, _ in compared))
        return
    better = [(measured, reference, gain) for measured, reference, gain in judged if gain.call == "higher"]
    if not better:
        text = "For accuracy alone no technique of this experiment is shown to be worth choosing."
        yield _build_advice(text, *(reference for _, reference, _ in judged))
        return
    best, reference, gain = max(better, key=lambda candidate: candidate[2].mean)
    text = (
        f"For accuracy: {best.variant.name}, {gain.mean:+.2f} "
        f"points{_format_interval(gain.low, gain.high, 2)}."
    )
    yield _build_advice(text, reference)


def _recommend_for_further_needs(evidence: _Evidence) -> Iterator[Advice]:
    """Calibration and sparsity: of the variants near the best accuracy that differ in regularization only."""
    fair = [measured for measured in evidence.measured if not measured.variant.confounders]
    highest = max((measured.metrics.test_accuracy.mean for measured in fair), default=0.0)
    fair = [
        measured
        for measured in fair
        if 100 * (highest - measured.metrics.test_accuracy.mean) <= MARGIN_POINTS
    ]
    if len(fair) > 1:
        best = min(fair, key=lambda measured: measured.metrics.test_ece.mean)
        text = (
            f"Where probabilities are acted upon: {best.variant.name} has the lowest calibration error "
            f"({best.metrics.test_ece.mean:.4f}) among those within {MARGIN_POINTS} points of the best "
            "accuracy."
        )
        yield _build_advice(text, best.get_reference("test_ece"), best.get_reference("test_accuracy"))
    # The first of those with the most zeros.
    most = max(fair, key=lambda measured: measured.metrics.zero_weight_fraction.mean, default=None)
    if most and most.metrics.zero_weight_fraction.mean >= _SPARSE_FROM:
        text = (
            f"For few weights or features: {most.variant.name} has "
            f"{100 * most.metrics.zero_weight_fraction.mean:.0f} % exact zeros, and is within "
            f"{MARGIN_POINTS} points of the best accuracy."
        )
        yield _build_advice(
            text, most.get_reference("zero_weight_fraction"), most.get_reference("test_accuracy")
        )


def _recommend_for_noise(evidence: _Evidence) -> Iterator[Advice]:
    noise = {
        item.index: change.variant
        for item in evidence.measured
        for change in item.variant.confounders
        if change.field == _NOISE
    }
    if not noise or evidence.baseline is None:
        return
    ordinary = evidence.baseline.variant.regularization
    plain = [item for item in evidence.measured if item.variant.regularization == ordinary]
    seen = "; ".join(f"{item.variant.name} {100 * item.metrics.test_accuracy.mean:.1f} %" for item in plain)
    text = f"With wrong training labels the test accuracy is, without a further technique: {seen}."
    yield _build_advice(text, *(item.get_reference("test_accuracy") for item in plain))


def _build_advice(text: str, *evidence: str) -> Advice:
    return Advice(text=text, evidence=list(evidence))


def _format_interval(low: float | None, high: float | None, digits: int = 4) -> str:
    return "" if low is None or high is None else f" ({low:.{digits}f} to {high:.{digits}f})"


def _negate(value: float | None) -> float | None:
    return None if value is None else -value
