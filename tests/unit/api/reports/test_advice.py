"""The recommendation states what this experiment shows, with pointers, and what it leaves open."""

from collections.abc import Sequence
from typing import Any

import pytest

from api.reports.advice import recommend
from api.reports.schemas import Advice, Comparison, Confounder, Consideration, Metrics
from tests.unit.api.reports.test_comparison import compared, job

SEEDS = range(8)
WIDTHS = {"narrow": 10_000, "middle": 100_000, "wide": 1_000_000}


def scatter(number: int, seed: int) -> float:
    """Noise of one variant's seeds: zero on average, and different between variants."""
    return 0.0005 * (1 + number) * (-1) ** seed


def experiment(
    losses: dict[str, float], techniques: dict[str, str] | None = None, **results: Any
) -> Comparison:
    """Variants of these mean test losses, `none` being the baseline; each seed scatters by a little."""
    variants = {}
    for number, (name, loss) in enumerate(losses.items()):
        technique = (techniques or {}).get(name)
        regularization = {technique: {}} if technique else {}
        variants[name] = [
            job(name, seed, 0.95, loss=loss + scatter(number, seed), regularization=regularization)
            for seed in SEEDS
        ]
    comparison = compared(variants, baseline="none")
    for name, changes in results.items():
        comparison = with_metrics(comparison, name, **changes)
    return comparison


def with_metrics(comparison: Comparison, name: str, **means: float) -> Comparison:
    """The same, one variant's metrics having these means."""

    def changed(metrics: Metrics | None) -> Metrics | None:
        if metrics is None:
            return None
        update = {
            metric: getattr(metrics, metric).model_copy(update={"mean": mean})
            for metric, mean in means.items()
        }
        return metrics.model_copy(update=update)

    variants = [
        variant.model_copy(update={"metrics": changed(variant.metrics)}) if variant.name == name else variant
        for variant in comparison.variants
    ]
    return comparison.model_copy(update={"variants": variants})


def in_setting(comparison: Comparison, name: str, *changes: Confounder, rows: int = 4000) -> Comparison:
    """The same, one variant differing from the baseline in these fields too."""
    variants = [
        variant.model_copy(update={"confounders": list(changes), "training_examples": rows})
        if variant.name == name
        else variant
        for variant in comparison.variants
    ]
    return comparison.model_copy(update={"variants": variants})


def of(name: str, considerations: Sequence[Consideration]) -> Consideration:
    return next(consideration for consideration in considerations if consideration.name == name)


def texts(advice: Sequence[Advice]) -> str:
    return "\n".join(sentence.text for sentence in advice)


def widths(gains: dict[str, float]) -> Comparison:
    """The plain network and the one with dropout at three widths; the gap grows with the width."""
    losses = {"none": 0.1, "none + dropout": 0.1 - gains["narrow"]}
    for width in ("middle", "wide"):
        losses |= {width: 0.1, f"{width} + dropout": 0.1 - gains[width]}
    comparison = experiment(losses, {name: "dropout" for name in losses if name.endswith("dropout")})
    for number, (width, parameters) in enumerate(WIDTHS.items()):
        plain = "none" if width == "narrow" else width
        for name in (plain, f"{plain} + dropout"):
            comparison = with_metrics(
                comparison, name, parameters=parameters, generalization_gap_loss=0.1 * (number + 1)
            )
            if width != "narrow":
                change = Confounder(field="/model/hidden_units", baseline=[16], variant=[parameters])
                comparison = in_setting(comparison, name, change)
    return comparison


def test_every_sentence_references_numbers_of_its_report() -> None:
    comparison = experiment(
        {"none": 0.2, "dropout": 0.1, "l1": 0.19},
        {"dropout": "dropout", "l1": "proximal_l1"},
        l1={"zero_weight_fraction": 0.4},
    )
    whole = comparison.model_dump()
    considerations = recommend(comparison)
    assert [consideration.name for consideration in considerations] == [
        "complexity",
        "data",
        "resources",
        "task",
    ]
    advice = [sentence for consideration in considerations for sentence in consideration.advice]
    assert len(advice) >= 5
    for sentence in advice:
        assert sentence.evidence
        for pointer in sentence.evidence:
            value: Any = whole
            for part in pointer.removeprefix("/").split("/"):
                value = value[int(part)] if isinstance(value, list) else value[part]
            assert value["mean"] is not None


def test_there_is_no_advice_without_results() -> None:
    assert recommend(compared({"none": [job("none", 0, "running")]}, baseline="none")) == []


def test_what_was_not_varied_is_reported_as_open() -> None:
    considerations = recommend(experiment({"none": 0.2, "dropout": 0.1}, {"dropout": "dropout"}))
    assert "One size of network" in (of("complexity", considerations).not_tested or "")
    assert "One size of training set" in (of("data", considerations).not_tested or "")
    assert "wrong training labels" in (of("task", considerations).not_tested or "")


def test_more_for_larger_networks_is_advised_only_where_gain_and_gap_grow() -> None:
    growing = of("complexity", recommend(widths({"narrow": 0.0, "middle": 0.03, "wide": 0.06})))
    assert growing.not_tested is None
    assert "the larger it is, the more it pays" in texts(growing.advice)
    assert "10,000 parameters: +0.0000; 100,000 parameters: +0.0300" in texts(growing.advice)
    flat = of("complexity", recommend(widths({"narrow": 0.03, "middle": 0.06, "wide": 0.03})))
    assert "No steady growth can be shown" in texts(flat.advice)
    assert "more it pays" not in texts(flat.advice)


def test_the_gain_is_reported_for_each_size_of_training_set() -> None:
    losses = {"none": 0.1, "none + dropout": 0.09, "few": 0.4, "few + dropout": 0.2}
    comparison = experiment(losses, {name: "dropout" for name in losses if name.endswith("dropout")})
    change = Confounder(field="/dataset/train_samples", baseline=None, variant=500)
    for name in ("few", "few + dropout"):
        comparison = in_setting(comparison, name, change, rows=400)
        comparison = with_metrics(comparison, name, generalization_gap_loss=0.5)
    for name in ("none", "none + dropout"):
        comparison = in_setting(comparison, name)
    data = of("data", recommend(comparison))
    assert data.not_tested is None
    assert "400 training examples: +0.2000; 4,000 training examples: +0.0100" in texts(data.advice)
    assert "the smaller it is, the more it pays" in texts(data.advice)


def test_the_pareto_front_of_loss_and_time() -> None:
    comparison = experiment({"none": 0.2, "quick": 0.15, "slow": 0.1, "vain": 0.18})
    for name, seconds in {"none": 4.0, "quick": 2.0, "slow": 9.0, "vain": 6.0}.items():
        comparison = with_metrics(comparison, name, training_seconds=seconds)
    *front, beaten = of("resources", recommend(comparison)).advice
    assert [sentence.text.partition(":")[0] for sentence in front] == ["quick", "slow"]
    assert beaten.text.startswith("Hardly worth the time: none, vain.")


@pytest.mark.parametrize("accuracy", [0.99, 0.90])
def test_advice_on_accuracy_needs_a_significant_difference(accuracy: float) -> None:
    wobble = [0.0001 * (seed % 3) for seed in SEEDS]
    comparison = compared(
        {
            "none": [job("none", seed, 0.95 + wobble[seed]) for seed in SEEDS],
            "other": [job("other", seed, accuracy - wobble[seed]) for seed in SEEDS],
        },
        baseline="none",
    )
    text = texts(of("task", recommend(comparison)).advice)
    assert ("For accuracy: other" in text) is (accuracy > 0.95)
    assert ("no technique of this experiment is shown" in text) is (accuracy < 0.95)


def test_few_seeds_give_no_recommendation() -> None:
    comparison = compared(
        {
            "none": [job("none", seed, 0.95) for seed in range(3)],
            "other": [job("other", seed, 0.99) for seed in range(3)],
        },
        baseline="none",
    )
    text = texts(of("task", recommend(comparison)).advice)
    assert "With 3 pairs of seeds nothing is settled" in text
    assert "For accuracy:" not in text


def test_sparsity_is_recommended_only_without_a_loss_of_accuracy() -> None:
    comparison = experiment({"none": 0.2, "sparse": 0.2}, sparse={"zero_weight_fraction": 0.6})
    task = of("task", recommend(comparison))
    assert "sparse has 60 % exact zeros" in texts(task.advice)
    assert "exact zeros)" not in (task.not_tested or "")
    poor = with_metrics(comparison, "sparse", test_accuracy=0.90)
    assert "exact zeros" not in texts(of("task", recommend(poor)).advice)
