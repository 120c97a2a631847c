"""The recommendation states what this experiment shows, with pointers, and what it leaves open."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest

from api.reports import formatting, html, markdown
from api.reports.advice import recommend
from api.reports.axis_advice import advise_along_axes
from api.reports.axis_schemas import CrossingPoint
from api.reports.evidence import pair_seeds
from api.reports.gains import build_gain_rows, describe_crossing_interval
from api.reports.schemas import Advice, Comparison, Confounder, Consideration, Metrics
from models.experiments import Regime
from models.records import CORRUPTIONS
from models.store.tables import Job
from tests.comparisons import along_axes
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
    assert "10,000 parameters: 0.0000; 100,000 parameters: +0.0300" in texts(growing.advice)
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


WOBBLE = (0.0010, -0.0010, 0.0007, -0.0007, 0.0012, -0.0012, 0.0003, -0.0003)


def compare_with_none(
    *,
    accuracy: float = 0.95,
    loss: float = 0.2,
    seconds: float = 4.0,
    regularization: dict[str, Any] | None = None,
    seeds: int = 8,
    **results: Any,
) -> Comparison:
    """`other` against `none`, whose accuracy is 0.95, loss 0.2 and time 4 s; `results` are of `other`."""

    def runs(name: str, accuracy: float, loss: float, seconds: float, changes: dict[str, Any]) -> list[Job]:
        jobs = []
        for seed, wobble in enumerate(WOBBLE[:seeds]):
            own = wobble if name == "none" else WOBBLE[seed - 1]
            row = job(name, seed, accuracy + own, loss=loss - own, regularization=changes)
            assert row.result is not None
            row.result.training_seconds = seconds * (1 + 5 * own)
            for field, value in (results if name == "other" else {}).items():
                setattr(row.result, field, value + own / 10 if isinstance(value, float) else value)
            jobs.append(row)
        return jobs

    changes = {"l2": {"factor": 0.01}} if regularization is None else regularization
    variants = {
        "none": runs("none", 0.95, 0.2, 4.0, {}),
        "other": runs("other", accuracy, loss, seconds, changes),
    }
    return compared(variants, baseline="none")


def advise(comparison: Comparison) -> str:
    return "\n".join(texts(consideration.advice) for consideration in recommend(comparison))


RECOMMENDED = ("For accuracy: ", "takes no longer", "hardly worth", "acted upon", "few weights")


def test_where_nothing_differs_nothing_is_recommended_or_disparaged() -> None:
    text = advise(compare_with_none())
    assert not [words for words in RECOMMENDED if words in text], text
    identical = compare_with_none(regularization={"l2": {"factor": 0.0}})
    assert not [words for words in RECOMMENDED if words in advise(identical)]


def test_f23_there_is_no_winner_among_equals_however_their_times_differ() -> None:
    text = advise(compare_with_none(seconds=9.0))
    assert "hardly worth" not in text
    assert "takes no longer" not in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"accuracy": 0.97}, "For accuracy: other, +2.00 points (95.5 % interval 1."),
        (
            {"loss": 0.15, "seconds": 3.9},
            "other has a lower test loss than none, and takes no longer (time a model, 95.5 % interval: 9",
        ),
        (
            {"loss": 0.3, "seconds": 5.0},
            "hardly worth the time: it has a higher test loss than none, which takes no longer",
        ),
        (
            {"test_ece_debiased": -0.0002},
            "other has a lower calibration error than none, by 0.0002 to 0.0004",
        ),
        (
            {"accuracy": 0.97, "zero_weight_fraction": 0.6},
            "For few weights or features: other has 60 % exact zeros, and a test accuracy above none's.",
        ),
    ],
)
def test_each_kind_of_advice_is_given_where_a_test_supports_it(changes: dict[str, Any], words: str) -> None:
    assert words in advise(compare_with_none(**changes))


def test_calibration_is_judged_without_its_bias_or_not_at_all() -> None:
    assert "calibration" not in advise(compare_with_none(test_ece=0.001))
    # Results from before the debiased error was measured.
    assert "calibration" not in advise(compare_with_none(test_ece=0.001, test_ece_debiased=None))


def test_time_does_not_decide_against_a_variant_that_gains() -> None:
    assert "hardly worth" not in advise(compare_with_none(loss=0.3, accuracy=0.97, seconds=5.0))
    assert "takes no longer" not in advise(compare_with_none(loss=0.15, accuracy=0.93, seconds=3.0))


def test_a_job_trained_before_does_not_count_in_a_comparison_of_times() -> None:
    comparison = compare_with_none(loss=0.15, seconds=3.0)
    reused = [
        variant.model_copy(
            update={"seeds": [seed.model_copy(update={"reused": True}) for seed in variant.seeds]}
        )
        for variant in comparison.variants
    ]
    assert "takes no longer" not in advise(comparison.model_copy(update={"variants": reused}))


def test_no_sparsity_is_recommended_at_a_loss_of_accuracy() -> None:
    assert "few weights" not in advise(compare_with_none(accuracy=0.93, zero_weight_fraction=0.6))
    # Neither higher nor shown to be equal.
    assert "few weights" not in advise(compare_with_none(accuracy=0.9485, zero_weight_fraction=0.6))


def test_only_techniques_are_recommended() -> None:
    plain = compare_with_none(accuracy=0.97, regularization={})
    assert "For accuracy:" not in advise(plain)
    wide = compare_with_none(accuracy=0.97)
    change = Confounder(field="/model/hidden_units", baseline=[16], variant=[64])
    assert "For accuracy:" not in advise(in_setting(wide, "other", change))


def test_nothing_is_recommended_before_every_planned_run_has_ended() -> None:
    better = {"accuracy": 0.97, "loss": 0.1, "seconds": 3.0, "test_ece_debiased": -0.0002}
    interim = compare_with_none(**better).model_copy(update={"inference": Regime.INTERIM})
    assert "Nothing is settled about accuracy before every planned run has ended." in advise(interim)
    assert not [words for words in RECOMMENDED if words in advise(interim)]


def test_at_every_look_advice_rests_on_intervals_that_hold_at_every_look() -> None:
    once = compare_with_none(test_ece_debiased=-0.0001)
    looked = once.model_copy(update={"inference": Regime.EXTENDED})
    assert "(99.55 % interval; squared, without what chance adds to it)" in advise(once)
    assert "acted upon" not in advise(looked)
    better = compare_with_none(accuracy=0.97).model_copy(update={"inference": Regime.EXTENDED})
    assert "+2.00 points (99.5 % interval " in advise(better)


def test_the_baselines_gap_has_an_interval_that_says_what_it_is() -> None:
    gap = {"n": 12, "mean": 0.1, "sd": 0.1, "low": 0.05, "high": 0.15}
    comparison = with_metrics(compare_with_none(), "none", generalization_gap_loss=0.1)
    none = comparison.variants[0]
    assert none.metrics is not None
    summary = none.metrics.generalization_gap_loss.model_copy(update=gap)
    metrics = none.metrics.model_copy(update={"generalization_gap_loss": summary})
    variants = [none.model_copy(update={"metrics": metrics}), *comparison.variants[1:]]
    assert "0.1000 nats above its training loss (95 % interval 0.0500 to 0.1500)." in advise(
        comparison.model_copy(update={"variants": variants})
    )


def test_a_gain_that_is_practically_nothing_or_paid_for_is_not_praised() -> None:
    assert "For accuracy: " not in advise(compare_with_none(accuracy=0.9512))
    assert "points (95.5 % interval 1.81 to 2.19), but a higher test loss." in advise(
        compare_with_none(accuracy=0.97, loss=0.3)
    )


def test_models_at_chance_are_never_recommended() -> None:
    jobs = {
        name: [
            job(name, seed, mean + wobble / 10, regularization={} if name == "none" else {"l2": {}})
            for seed, wobble in enumerate(WOBBLE)
        ]
        for name, mean in (("none", 0.1), ("other", 0.105))
    }
    text = advise(compared(jobs, baseline="none"))
    assert "No model of other does better than chance" in text
    assert "For accuracy:" not in text


def test_a_variant_that_fails_in_some_seeds_is_not_recommended() -> None:
    comparison = compare_with_none(accuracy=0.97)
    none, other = comparison.variants
    failed = comparison.model_copy(
        update={"variants": [none, other.model_copy(update={"failed_seeds": [9]})]}
    )
    assert "For accuracy:" not in advise(failed)


def test_several_better_techniques_are_named_without_a_winner() -> None:
    jobs = {
        name: [
            job(
                name,
                seed,
                accuracy + wobble * (1 + index),
                regularization={} if name == "none" else {"l2": {}},
            )
            for seed, wobble in enumerate(WOBBLE)
        ]
        for index, (name, accuracy) in enumerate((("none", 0.9), ("a", 0.95), ("b", 0.96)))
    }
    text = advise(compared(jobs, baseline="none"))
    assert "For accuracy: b, +6.00 points" in text
    assert "a, +5.00 points" in text
    assert "Which of them is better was not tested." in text


def test_early_stopping_that_never_acted_is_said_to() -> None:
    idle = {"regularization": {"early_stopping": {}}}
    assert "Early stopping never acted in other" in advise(compare_with_none(**idle))
    stopped = compare_with_none(**idle, stop_reason="early_stopping")
    assert "never acted" not in advise(stopped)


def test_models_at_chance_are_named() -> None:
    assert "No model of other does better than chance" in advise(compare_with_none(accuracy=0.1))
    assert "than chance" not in advise(compare_with_none(accuracy=0.5))


def test_labels_that_are_right_by_chance_are_counted() -> None:
    comparison = compare_with_none(regularization={})
    change = Confounder(field="/dataset/label_noise", baseline=0.0, variant=0.4)
    text = texts(of("task", recommend(in_setting(comparison, "other", change))).advice)
    assert "With noisy labels (40 % drawn, 36 % wrong)" in text
    change = Confounder(field="/dataset/label_noise", baseline=0.4, variant=0.0)
    text = texts(of("task", recommend(in_setting(comparison, "other", change))).advice)
    assert "With noisy labels (40 % drawn, 36 % wrong)" in text


def test_where_the_baseline_is_a_technique_leaving_it_out_is_an_alternative() -> None:
    variants = {
        name: [job(name, seed, accuracy + scatter(0, seed), regularization=technique) for seed in SEEDS]
        for name, accuracy, technique in (("dropout", 0.9, {"dropout": {}}), ("none", 0.95, {}))
    }
    text = texts(of("task", compared(variants, baseline="dropout").recommendation).advice)
    assert "For accuracy: none, +5.00 points" in text


def test_a_gain_at_every_point_with_a_result_is_not_one_at_every_point() -> None:
    comparison = along_axes(names=("none", "dropout"))
    (gain, *_) = comparison.gains
    points = [item.model_copy(update={"call": "gain"}) for item in gain.points]
    crossing = CrossingPoint(value=1944.7, low=987.6, high=0.0123)
    for rest, where in (
        (points, "at every point"),
        (points[1:], "from 400 training examples on"),
        (points[:1] + points[2:], "at 3 of 4 points"),
    ):
        update = {"points": rest, "crossing": crossing, "no_crossing": None}
        changed = comparison.model_copy(update={"gains": [gain.model_copy(update=update)]})
        text = texts(of("data", advise_along_axes(changed)).advice)
        assert f"pays {where}." in text
        assert "at 1,940 training examples (95 % interval: 988 to 0.0123)." in text
        assert build_gain_rows(changed)[1][2:] == [where, "-", "1,940 (988 to 0.0123)"]
    for low, high, interval in (
        (400.0, None, "from 400 on"),
        (None, 4000.0, "up to 4,000"),
        (None, None, "the whole axis"),
    ):
        assert describe_crossing_interval(CrossingPoint(value=1000.0, low=low, high=high)) == interval
    alone = comparison.model_copy(update={"gains": [], "contrasts": []})
    assert "Nothing is called" not in texts(of("data", advise_along_axes(alone)).advice)


def test_few_seeds_give_no_recommendation() -> None:
    comparison = compared(
        {
            "none": [job("none", seed, 0.95) for seed in range(3)],
            "other": [job("other", seed, 0.99, regularization={"l2": {}}) for seed in range(3)],
        },
        baseline="none",
    )
    text = texts(of("task", recommend(comparison)).advice)
    assert "With 3 pairs of seeds nothing is settled" in text
    assert "For accuracy:" not in text


def damaged(gain: float, *, accuracy: float = 0.95) -> Comparison:
    """Ten pairs of which the variant is right about so much more of the damaged images, and `kinds` alike."""
    variants: dict[str, list[Job]] = {}
    for name, mean, technique in (("none", 0.6, {}), ("noise", 0.6 + gain, {"gaussian_noise": {}})):
        variants[name] = []
        for seed in range(10):
            value = accuracy if name == "noise" else 0.95
            of_seed = job(name, seed, value, regularization=technique, evaluation={"robustness": True})
            robust = mean + 0.001 * ((seed % 3) - 1) * (1 if technique else -1)
            assert of_seed.result is not None
            of_seed.result.robustness = {
                "accuracy": {kind: [0.95, *[robust] * 5] for kind in CORRUPTIONS},
                "mean_accuracy": robust,
            }
            variants[name].append(of_seed)
    return compared(variants, baseline="none")


def test_damaged_images_are_spoken_of_only_where_they_were_measured() -> None:
    better = damaged(0.05)
    plain, noise = better.robustness
    assert (plain.variant, plain.baseline, plain.difference) == ("none", None, None)
    assert noise.difference is not None
    assert noise.difference.mean == pytest.approx(5, abs=0.03)
    assert noise.difference.n == 10
    assert noise.difference.low is not None
    assert 4.8 < noise.difference.low < 5
    assert noise.kind_differences["shift"].mean == pytest.approx(5, abs=0.03)
    assert plain.accuracy.mean == pytest.approx(0.6, abs=0.001)
    task = of("task", better.recommendation)
    (sentence,) = [item for item in task.advice if "damaged" in item.text]
    assert sentence.text.startswith("For images unlike the test images: noise classifies 4.")
    assert "points (99.55 % interval) more of the damaged test images (12 kinds in" in sentence.text
    assert sentence.evidence == ["/robustness/1/difference"]
    assert "unlike the test images" not in (task.not_tested or "")
    assert "no technique is shown" in texts(of("task", damaged(0.0).recommendation).advice)
    # What costs accuracy on whole images is not recommended.
    assert "For images unlike" not in texts(of("task", damaged(0.05, accuracy=0.9).recommendation).advice)
    untouched = experiment({"none": 0.2, "dropout": 0.1}, {"dropout": "dropout"})
    assert untouched.robustness == []
    assert "unlike the test images" in (of("task", untouched.recommendation).not_tested or "")
    (rows,) = formatting.build_robustness_tables(better)
    assert [len(row) for row in rows] == [3] * 14
    assert rows[1][:2] == ["all kinds", "60.0 %"]
    assert rows[1][2].startswith("+5.0 (+4.")
    assert "## Damaged test images" in markdown.render(better)
    assert 'id="robustness"' in html.render(better)


def test_advice_of_an_experiment_with_parts_is_of_means_over_them() -> None:
    """The last part alone would say that both are equal."""
    variants: dict[str, list[Job]] = {}
    for name, losses in (("none", (0.3, 0.2)), ("l2", (0.1, 0.2))):
        variants[name] = []
        for seed, (part, loss) in product(range(8), enumerate(losses)):
            dataset = {"name": "mnist_5k", "part": {"of": 2, "index": part}}
            one = job(name, seed, 0.95, loss=loss, dataset=dataset)
            one.part = part
            variants[name].append(one)
    first, second = compared(variants, baseline="none").variants
    before, after = pair_seeds(first, second, lambda seed: seed.result.test_loss)
    assert (before, after) == ([0.25] * 8, pytest.approx([0.15] * 8))


def test_along_axes_nothing_is_recommended_by_damaged_images_or_calibration_and_it_is_said() -> None:
    comparison = along_axes(names=("none", "dropout"))
    task = of("task", advise_along_axes(comparison.model_copy(update={"robustness": []})))
    assert "damaged or shifted ones. Calibration and exact zeros" in (task.not_tested or "")
    measured = comparison.model_copy(update={"robustness": damaged(0.05).robustness})
    task = of("task", advise_along_axes(measured))
    assert "nothing is recommended by them along axes" in (task.not_tested or "")
    assert "For images unlike" not in texts(task.advice)
