"""What an experiment's own evidence says about choosing a technique, under the four things to weigh.

Model complexity, training data size, computational resources and the needs of the task. Each sentence names
the numbers of the report that it rests on, and each consideration says what the experiment leaves open.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from api.reports.contrasts import MARGIN_POINTS
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

_SPARSE_FROM = 0.01
_WIDTH = ("/model/hidden_units", "/model/filters")
_DATA = ("/dataset/train_samples",)
_NOISE = "/dataset/label_noise"


def recommend(comparison: Comparison) -> list[Consideration]:
    """The four considerations; none while no variant has a result."""
    evidence = _Evidence(comparison)
    if not evidence.measured:
        return []
    return [_complexity(evidence), _data(evidence), _resources(evidence), _task(evidence)]


@dataclass(frozen=True)
class _Measured:
    """A variant with results, and where it stands in the report."""

    number: int
    variant: VariantReport
    metrics: Metrics

    def at(self, metric: str) -> str:
        return f"/variants/{self.number}/metrics/{metric}"


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
            _Measured(number, variant, variant.metrics)
            for number, variant in enumerate(comparison.variants)
            if variant.metrics is not None
        ]
        self.baseline = next((each for each in self.measured if each.variant.is_baseline), None)
        self.contrasts: dict[str, tuple[int, Contrast]] = {
            contrast.variant: (number, contrast) for number, contrast in enumerate(comparison.contrasts)
        }

    def differs(self, each: _Measured, fields: Sequence[str]) -> bool:
        """Whether a variant differs from the baseline in one of these fields."""
        return any(change.field.startswith(field) for change in each.variant.confounders for field in fields)

    def difference(self, each: _Measured, metric: str) -> tuple[str, Difference] | None:
        """Where a variant's difference from the baseline stands, and what it is."""
        number, contrast = self.contrasts.get(each.variant.name, (0, None))
        if contrast is None or contrast.differences is None:
            return None
        return f"/contrasts/{number}/differences/{metric}", getattr(contrast.differences, metric)

    def steps(self, size: Callable[[_Measured], float | None]) -> dict[str, list[_Step]]:
        """For each technique what it gains at each size where the same was trained without it, by size."""
        if self.baseline is None:
            return {}
        found: dict[str, list[_Step]] = {}
        ordinary = self.baseline.variant.regularization
        settings: dict[str, list[_Measured]] = {}
        for each in self.measured:
            settings.setdefault(str(each.variant.confounders), []).append(each)
        for setting in settings.values():
            plain = next((each for each in setting if each.variant.regularization == ordinary), None)
            for each in setting:
                if plain is None or each is plain or (value := size(each)) is None:
                    continue
                if (gain := _gain(plain.variant, each.variant)) is not None:
                    name = format_techniques(each.variant.regularization)
                    found.setdefault(name, []).append(_Step(value, plain, each, gain))
        return {name: sorted(steps, key=lambda step: step.size) for name, steps in found.items()}


def _gain(plain: VariantReport, regularized: VariantReport) -> PairedDifference | None:
    """What is taken off the test loss, over the seeds that both have finished."""
    first = {each.seed: each.result.test_loss for each in plain.seeds}
    second = {each.seed: each.result.test_loss for each in regularized.seeds}
    seeds = sorted(first.keys() & second.keys())
    return compute_paired_difference([second[seed] for seed in seeds], [first[seed] for seed in seeds])


def _complexity(evidence: _Evidence) -> Consideration:
    varied = any(evidence.differs(each, _WIDTH) for each in evidence.measured)
    advice = list(_overfitting(evidence))
    if varied:
        steps = evidence.steps(lambda each: each.metrics.parameters.mean)
        advice += _along("parameters", steps, grows_with_size=True)
    return Consideration(
        name="complexity",
        title="Model complexity",
        advice=advice,
        not_tested=None
        if varied
        else "One size of network was trained. Whether a larger one needs more regularization is open.",
    )


def _data(evidence: _Evidence) -> Consideration:
    varied = any(evidence.differs(each, _DATA) for each in evidence.measured)
    steps = evidence.steps(lambda each: each.variant.training_examples) if varied else {}
    advice = _along("training examples", steps, grows_with_size=False)
    rows = {rows for each in evidence.measured if (rows := each.variant.training_examples) is not None}
    only = f" ({min(rows):,} examples)" if len(rows) == 1 else ""
    return Consideration(
        name="data",
        title="Training data size",
        advice=advice,
        not_tested=None
        if varied
        else f"One size of training set was used{only}. With fewer, a technique may gain more or less.",
    )


def _resources(evidence: _Evidence) -> Consideration:
    comparable = [each for each in evidence.measured if not each.variant.confounders]
    by_cost = sorted(comparable, key=_cost)
    advice = []
    lowest = float("inf")
    for each in by_cost:
        loss, seconds = each.metrics.test_loss.mean, each.metrics.training_seconds.mean
        if loss < lowest:
            what = "on average the lowest test loss of all that take no longer"
            text = f"{each.variant.name}: {seconds:.3g} s a model, and {what} ({loss:.4f})."
            advice.append(_advice(text, each.at("training_seconds"), each.at("test_loss")))
            lowest = loss
    beaten = [each for each in by_cost if not any(each.at("test_loss") in line.evidence for line in advice)]
    if beaten:
        names = _listed([each.variant.name for each in beaten])
        another = "Another variant takes no longer, and its test loss is on average no higher."
        text = f"Hardly worth the time: {names}. {another}"
        advice.append(_advice(text, *(each.at("training_seconds") for each in beaten)))
    return Consideration(
        name="resources",
        title="Computational resources",
        advice=advice,
        not_tested="Seconds are of this machine, with whatever else ran on it. The time of a prediction was "
        "not measured; but for normalization, every technique leaves the same network behind.",
    )


def _task(evidence: _Evidence) -> Consideration:
    advice = [
        *_accuracy(evidence),
        *_calibration(evidence),
        *_sparsity(evidence),
        *_noise(evidence),
    ]
    open_questions = [
        question
        for question, answered in (
            ("wrong training labels", any(evidence.differs(each, [_NOISE]) for each in evidence.measured)),
            (
                "choosing features (proximal_l1 or group_l1 make exact zeros)",
                any(each.metrics.zero_weight_fraction.mean >= _SPARSE_FROM for each in evidence.measured),
            ),
            ("images unlike the test images, such as damaged or shifted ones", False),
        )
        if not answered
    ]
    return Consideration(
        name="task",
        title="What the task needs",
        advice=advice,
        not_tested=f"Not tested: {_listed(open_questions)}.",
    )


def _cost(each: _Measured) -> tuple[float, float]:
    return each.metrics.training_seconds.mean, each.metrics.test_loss.mean


def _overfitting(evidence: _Evidence) -> Iterator[Advice]:
    baseline = evidence.baseline
    if baseline is None:
        return
    gap = baseline.metrics.generalization_gap_loss
    text = (
        f"{baseline.variant.name}, with {baseline.metrics.parameters.mean:,.0f} parameters, has a test loss "
        f"{abs(gap.mean):.4f} nats {'above' if gap.mean > 0 else 'below'} its training loss"
        f"{_interval(gap.low, gap.high)}."
    )
    yield _advice(text, baseline.at("generalization_gap_loss"), baseline.at("parameters"))
    closing = [
        (each, found)
        for each in evidence.measured
        if (found := evidence.difference(each, "generalization_gap_loss")) and found[1].call == "lower"
    ]
    if closing:
        each, (place, difference) = min(closing, key=lambda pair: pair[1][1].mean)
        text = (
            f"{each.variant.name} narrows that gap most, by {-difference.mean:.4f} nats"
            f"{_interval(_negated(difference.high), _negated(difference.low))}."
        )
        yield _advice(text, place)


def _along(unit: str, steps: dict[str, list[_Step]], *, grows_with_size: bool) -> list[Advice]:
    """What each technique gains from size to size; whether that grows is said only where it is plain."""
    advice = []
    for name, each in steps.items():
        if len(each) < 2:
            continue
        gains = "; ".join(f"{step.size:,.0f} {unit}: {step.gain.mean:+.4f}" for step in each)
        text = f"What {name} takes off the test loss: {gains} nats. {_trend(each, grows_with_size)}"
        places = [
            place for step in each for place in (step.plain.at("test_loss"), step.regularized.at("test_loss"))
        ]
        advice.append(_advice(text, *places))
    return advice


def _trend(steps: Sequence[_Step], grows_with_size: bool) -> str:
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


def _accuracy(evidence: _Evidence) -> Iterator[Advice]:
    found = [
        (each, place, difference)
        for each in evidence.measured
        if (pair := evidence.difference(each, "test_accuracy_points"))
        for place, difference in [pair]
    ]
    if not found:
        return
    judged = [(each, place, gain) for each, place, gain in found if gain.n >= FEWEST_PAIRS]
    if not judged:
        pairs = max(gain.n for _, _, gain in found)
        text = (
            f"With {pairs} {'pair' if pairs == 1 else 'pairs'} of seeds nothing is settled about accuracy; "
            f"what follows is what was seen. Ask for at least {FEWEST_PAIRS} seeds."
        )
        yield _advice(text, *(place for _, place, _ in found))
        return
    better = [(each, place, gain) for each, place, gain in judged if gain.call == "higher"]
    if not better:
        text = "For accuracy alone no technique of this experiment is shown to be worth choosing."
        yield _advice(text, *(place for _, place, _ in judged))
        return
    each, place, gain = max(better, key=lambda one: one[2].mean)
    text = f"For accuracy: {each.variant.name}, {gain.mean:+.2f} points{_interval(gain.low, gain.high, 2)}."
    yield _advice(text, place)


def _calibration(evidence: _Evidence) -> Iterator[Advice]:
    fair = _accurate_enough(evidence)
    if len(fair) > 1:
        best = min(fair, key=lambda each: each.metrics.test_ece.mean)
        text = (
            f"Where probabilities are acted upon: {best.variant.name} has the lowest calibration error "
            f"({best.metrics.test_ece.mean:.4f}) among those within {MARGIN_POINTS} points of the best "
            "accuracy."
        )
        yield _advice(text, best.at("test_ece"), best.at("test_accuracy"))


def _sparsity(evidence: _Evidence) -> Iterator[Advice]:
    sparse = [
        each for each in _accurate_enough(evidence) if each.metrics.zero_weight_fraction.mean >= _SPARSE_FROM
    ]
    if sparse:
        most = max(sparse, key=lambda each: each.metrics.zero_weight_fraction.mean)
        text = (
            f"For few weights or features: {most.variant.name} has "
            f"{100 * most.metrics.zero_weight_fraction.mean:.0f} % exact zeros, and is within "
            f"{MARGIN_POINTS} points of the best accuracy."
        )
        yield _advice(text, most.at("zero_weight_fraction"), most.at("test_accuracy"))


def _noise(evidence: _Evidence) -> Iterator[Advice]:
    noise = {
        each.number: change.variant
        for each in evidence.measured
        for change in each.variant.confounders
        if change.field == _NOISE
    }
    if not noise or evidence.baseline is None:
        return
    ordinary = evidence.baseline.variant.regularization
    plain = [each for each in evidence.measured if each.variant.regularization == ordinary]
    seen = "; ".join(f"{each.variant.name} {100 * each.metrics.test_accuracy.mean:.1f} %" for each in plain)
    text = f"With wrong training labels the test accuracy is, without a further technique: {seen}."
    yield _advice(text, *(each.at("test_accuracy") for each in plain))


def _accurate_enough(evidence: _Evidence) -> list[_Measured]:
    """Variants that differ from the baseline in their regularization only, near the best accuracy."""
    fair = [each for each in evidence.measured if not each.variant.confounders]
    best = max((each.metrics.test_accuracy.mean for each in fair), default=0.0)
    return [each for each in fair if 100 * (best - each.metrics.test_accuracy.mean) <= MARGIN_POINTS]


def _advice(text: str, *evidence: str) -> Advice:
    return Advice(text=text, evidence=list(evidence))


def _interval(low: float | None, high: float | None, digits: int = 4) -> str:
    return "" if low is None or high is None else f" ({low:.{digits}f} to {high:.{digits}f})"


def _negated(value: float | None) -> float | None:
    return None if value is None else -value


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
