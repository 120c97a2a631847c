"""What to use for a task: said from the nearest measured point of this installation's experiments. Pure.

What validation chooses there is quoted as a choice, and what the report calls as a finding. Nothing is
extrapolated: further than a factor of two from every measured point there is no answer.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from api.reports.advice import (
    SPARSE_FROM,
    build_advice,
    recommend_for_accuracy,
    recommend_for_calibration,
    recommend_for_damaged_images,
    recommend_for_sparsity,
)
from api.reports.evidence import Evidence, Measured
from api.reports.recommendation_schemas import Answer, MeasuredTask, Need, Task
from api.reports.schemas import Advice, Comparison
from api.reports.verdicts import format_amount
from models.cost import estimate_cost
from models.dataset_cards import DATASETS
from models.documents import Document
from models.experiments import FEWEST_PAIRS, ExperimentSpec, Regime
from models.formatting import format_count
from models.spec import PIXELS

MOST_FACTOR = 2.0
"""Between a task and a measured one, in examples and in parameters. The presets' axes have no wider gaps."""
_MOST_READ = 5
"""Reports that are read for one answer."""
_MOST_UNITS, _MOST_LAYERS = 4096, 8
_FEWEST_EXAMPLES = 100
_SEEDS = list(range(8))
_FURTHER_VARIANTS: dict[str, Document] = {
    "calibration": {"label smoothing": {"label_smoothing": {}}},
    "sparsity": {"proximal L1": {"proximal_l1": {}}},
    "robustness": {"augmentation": {"augmentation": {}}, "input noise": {"gaussian_noise": {"sigma": 0.3}}},
}


def list_measured_tasks(experiment_id: str, name: str, spec: ExperimentSpec) -> list[MeasuredTask]:
    """The points of an experiment that may answer: enough seeds, whole training data, right labels."""
    seeds = len(spec.run_seeds)
    if seeds < FEWEST_PAIRS or spec.parts or len(spec.variants) < 2:
        return []
    baseline = next(variant for variant in spec.variants if variant.name == spec.baseline_name)
    tasks = []
    for point in spec.points:
        run = spec.build_run_spec(baseline, spec.run_seeds[0], point=point)
        if not run.dataset.label_noise:
            tasks.append(
                MeasuredTask(
                    experiment_id=experiment_id,
                    name=name,
                    dataset=run.dataset.name,
                    model=run.model.family,
                    point=point or None,
                    train_examples=run.dataset.subset_rows,
                    parameters=estimate_cost(run).parameters,
                    seeds=seeds,
                )
            )
    return tasks


def compute_factor(task: Task, measured: MeasuredTask) -> float:
    """How many times larger or smaller a measured task is, where they differ most; 1 if they are alike."""
    pairs = ((task.train_examples, measured.train_examples), (task.parameters, measured.parameters))
    return max((max(one / other, other / one) for one, other in pairs if one is not None), default=1.0)


def answer_task(
    task: Task, measured_tasks: Sequence[MeasuredTask], get_comparison: Callable[[str], Comparison]
) -> tuple[list[Answer], MeasuredTask | None, list[Need]]:
    """The answers, the nearest measured task, and the needs that stay open.

    Each need is answered by the nearest measured task that was measured for it, and by all that are as near.
    """
    ordered = sorted(measured_tasks, key=lambda one: (compute_factor(task, one), -one.seeds))
    near = [one for one in ordered if compute_factor(task, one) <= MOST_FACTOR][:_MOST_READ]
    choices: list[Answer] = []
    findings: list[Answer] = []
    still_open: list[Need] = []
    for need in dict.fromkeys(task.needs):
        answered_at = math.inf
        for measured in near:
            if compute_factor(task, measured) > answered_at:
                break
            choice, advice = _read_report(task, need, measured, get_comparison(measured.experiment_id))
            if advice:
                answered_at = compute_factor(task, measured)
                choices += [_build_answer(one, measured) for one in choice]
                findings += [_build_answer(one, measured) for one in advice]
        if answered_at == math.inf:
            still_open.append(need)
    # Several needs are answered by the same choice.
    answers = {answer.text: answer for answer in choices + findings}
    return list(answers.values()), ordered[0] if ordered else None, still_open


def _read_report(
    task: Task, need: Need, measured: MeasuredTask, comparison: Comparison
) -> tuple[list[Advice], list[Advice]]:
    """What is chosen at a measured point, and what is known there about a need; nothing if it is open."""
    if comparison.inference is Regime.INTERIM:
        return [], []
    evidence = Evidence(comparison, measured.point)
    affordable: list[Measured] = []
    slow: list[Measured] = []
    for item in evidence.measured:
        is_slow = task.seconds is not None and item.metrics.training_seconds.mean > task.seconds
        (slow if is_slow else affordable).append(item)
    # The correction for all tests of the report stays as it is.
    evidence.techniques = [item for item in evidence.techniques if item in affordable]
    times = []
    if slow:
        each = ", ".join(f"{item.variant.name} {item.metrics.training_seconds.mean:.3g} s" for item in slow)
        text = f"Left out, because a model takes longer than {task.seconds:g} s on average: {each}."
        if not affordable:
            text = f"No variant trains within {task.seconds:g} s a model on average: {each}."
        times = [build_advice(text, *(item.get_reference("training_seconds") for item in slow))]
    if not affordable:
        return [], times
    advice = list(_ADVISORS[need](evidence))
    choice = list(_describe_choice(comparison, measured, evidence, affordable)) + times
    return (choice, advice) if advice else ([], [])


def _describe_choice(
    comparison: Comparison, measured: MeasuredTask, evidence: Evidence, affordable: Sequence[Measured]
) -> Iterator[Advice]:
    """What validation chooses among the variants that may be used: a choice, and no claim."""
    best, pointer, may_be_best = comparison.best, "/best", []
    for index, report in enumerate(comparison.points):
        if report.point == measured.point:
            best, pointer, may_be_best = report.best, f"/points/{index}/best", report.may_be_best
    if best is None:
        return
    if best.variant not in [item.variant.name for item in affordable]:
        allowed = [
            (item, loss)
            for item in affordable
            if (item.variant.is_baseline or item in evidence.techniques)
            and item.variant.n >= best.seeds
            and (loss := item.metrics.validation_loss) is not None
        ]
        if allowed:
            item, loss = min(allowed, key=lambda pair: pair[1].mean)
            text = (
                f"Among what trains in time {item.variant.name} has the lowest mean validation loss, "
                f"{loss.mean:.4f}; its test accuracy is {100 * item.metrics.test_accuracy.mean:.2f} %."
            )
            yield build_advice(text, item.get_reference("validation_loss"))
        return
    text = (
        f"Chosen by validation: {best.variant}, with the lowest mean validation loss, "
        f"{best.validation_loss:.4f}; its test accuracy is {100 * best.test_accuracy:.2f} %."
    )
    others = [name for name in may_be_best if name != best.variant]
    if others:
        text += f" As good a choice, as far as these seeds show: {', '.join(others)}."
    yield build_advice(text, pointer)


def advise_on_accuracy(evidence: Evidence) -> Iterator[Advice]:
    """What the report calls better, and what it calls worse."""
    yield from recommend_for_accuracy(evidence)
    pairs = [(item, evidence.get_difference(item, "test_accuracy_points")) for item in evidence.techniques]
    worse = [(item, pair) for item, pair in pairs if pair and pair[1].call == "lower"]
    if worse:
        losses = "; ".join(
            f"{item.variant.name}, {format_amount(difference.mean, 'points')}"
            for item, (_, difference) in worse
        )
        text = f"Test accuracy is lower than {evidence.baseline_name}'s with: {losses}."
        yield build_advice(text, *(reference for _, (reference, _) in worse))


def advise_on_calibration(evidence: Evidence) -> Iterator[Advice]:
    """Lower calibration errors, or that none is shown."""
    advice = list(recommend_for_calibration(evidence))
    measured = [
        item
        for item in evidence.techniques
        if evidence.compute_interval(item, lambda seed: seed.result.test_ece_debiased)
    ]
    if measured and not advice:
        text = (
            f"No technique is shown to have a lower calibration error than {evidence.baseline_name} "
            "without a lower accuracy."
        )
        advice = [build_advice(text, *(item.get_reference("test_ece_debiased") for item in measured))]
    yield from advice


def advise_on_sparsity(evidence: Evidence) -> Iterator[Advice]:
    """Nothing where no technique makes zeros: that one was not tried says nothing of what it would do."""
    advice = list(recommend_for_sparsity(evidence))
    sparse = [item for item in evidence.techniques if item.metrics.zero_weight_fraction.mean >= SPARSE_FROM]
    if sparse and not advice:
        shares = ", ".join(
            f"{item.variant.name} {100 * item.metrics.zero_weight_fraction.mean:.0f} %" for item in sparse
        )
        text = f"Exact zeros: {shares}, but no accuracy is shown to be as good as {evidence.baseline_name}'s."
        advice = [build_advice(text, *(item.get_reference("zero_weight_fraction") for item in sparse))]
    yield from advice


def advise_on_robustness(evidence: Evidence) -> Iterator[Advice]:
    """Gains on damaged images; nothing where none were measured."""
    if evidence.has_damaged_images:
        yield from recommend_for_damaged_images(evidence)


_ADVISORS: dict[Need, Callable[[Evidence], Iterator[Advice]]] = {
    "accuracy": advise_on_accuracy,
    "calibration": advise_on_calibration,
    "sparsity": advise_on_sparsity,
    "robustness": advise_on_robustness,
}


def _build_answer(advice: Advice, measured: MeasuredTask) -> Answer:
    place = (
        f"Measured with {measured.train_examples:,} examples of {measured.dataset} and "
        f"{format_count(measured.parameters, 'parameter')}: {measured.name}, "
        f"{format_count(measured.seeds, 'seed')}."
    )
    evidence: list[Any] = [
        {"experiment_id": measured.experiment_id, "pointer": pointer} for pointer in advice.evidence
    ]
    return Answer.model_validate({"text": f"{advice.text} {place}", "evidence": evidence})


def build_experiment(
    task: Task, needs: Sequence[Need], nearest: MeasuredTask | None
) -> ExperimentSpec | None:
    """The experiment that would answer these needs: at this very size, with the usual techniques.

    None where no built-in dataset or no fully connected network is of that size.
    """
    names = [nearest.dataset] if nearest and nearest.dataset in DATASETS else []
    cards = [DATASETS[name] for name in (*names, "mnist_5k", "mnist")]
    card = next((one for one in cards if (task.train_examples or 1) <= one.train_examples), None)
    if card is None or (task.train_examples or _FEWEST_EXAMPLES) < _FEWEST_EXAMPLES:
        return None
    layers = _find_hidden_units(task.parameters, card.classes) if task.parameters else [512, 512]
    if layers is None:
        return None
    techniques: Document = {"L2": {"l2": {"factor": 1e-3}}, "dropout": {"dropout": {"rate": 0.5}}}
    for need in needs:
        techniques |= _FURTHER_VARIANTS.get(need, {})
    size = f"{task.train_examples:,}" if task.train_examples else "all"
    base: Document = {
        "dataset": {"name": card.name}
        | ({"train_samples": task.train_examples} if task.train_examples else {}),
        "model": {"hidden_units": layers},
        "training": {"epochs": 20},
    }
    if "robustness" in needs:
        base["evaluation"] = {"robustness": True}
    return ExperimentSpec.model_validate(
        {
            "name": f"{size} examples, {'-'.join(map(str, layers))} units",
            "base": base,
            "variants": [
                {"name": "none"},
                *(
                    {"name": name, "changes": {"regularization": regularization}}
                    for name, regularization in techniques.items()
                ),
            ],
            "seeds": _SEEDS,
        }
    )


def _find_hidden_units(parameters: int, classes: int) -> list[int] | None:
    """Equal layers, as few as possible, with about so many parameters in all."""
    for depth in range(1, _MOST_LAYERS + 1):
        # (depth - 1) units^2 + (784 + depth + classes) units + classes = parameters
        linear, rest = PIXELS + depth + classes, max(0, parameters - classes)
        # The root's form that also holds where there is no square.
        units = round(2 * rest / (linear + math.sqrt(linear**2 + 4 * (depth - 1) * rest)))
        if units <= _MOST_UNITS:
            return [units] * depth if units else None
    return None
