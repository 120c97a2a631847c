"""Headlines: the answer of a report in one or two sentences, and the paragraph on how it was comparison."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from api.reports import grouping
from api.reports.axis_schemas import AxisUsed
from api.reports.comparison import build_subject_headline
from api.reports.methods import build_methods, describe_settings
from api.reports.schemas import Comparison, Contrast
from api.reports.verdicts import Outline, build_headline
from models.experiments import Regime
from models.inference import Plan
from models.settings import Settings
from models.statistics import EXACT_UP_TO
from tests.factories import job_spec
from tests.unit.api.reports.test_comparison import compared, job

SCATTER = (0.003, -0.003, 0.006, -0.006, 0.0045, -0.0045, 0.0015, -0.0015)


def report(
    gains: dict[str, float], losses: dict[str, float] | None = None, *, scatter: Sequence[float] = SCATTER
) -> Comparison:
    """Variants that gain so much accuracy over `none`, in every seed but for some scatter."""
    turned = {name: np.roll(scatter, index) for index, name in enumerate(gains)}
    jobs = {"none": [job("none", seed, 0.9, loss=0.3) for seed in range(len(scatter))]}
    for name, gain in gains.items():
        jobs[name] = [
            job(name, seed, 0.9 + gain + wobble, loss=0.3 + (losses or {}).get(name, 0.0) + wobble)
            for seed, wobble in enumerate(turned[name].tolist())
        ]
    return compared(jobs, baseline="none")


ACCURACY, LOSS = "the test accuracy of none", "the test loss of none"
NONE_RAISES = f"No variant is shown to raise {ACCURACY}"


def test_each_tested_metric_has_an_answer_and_what_is_open_a_next_step() -> None:
    scatter = [4 * wobble for wobble in SCATTER]
    answered = report({"a": 0.03, "b": 0.001}, scatter=[*scatter, *scatter])
    accuracy, loss = answered.answers
    assert accuracy.text == f"a raises {ACCURACY} by 3.00 points."
    assert loss.text == f"No variant is shown to lower {LOSS}."
    assert accuracy.confidence == "95.5 % confidence, for all 4 tests of this report together."
    few = report({"a": 0.03}, scatter=SCATTER[:2])
    assert few.answers == []
    assert few.next_step is not None
    assert (few.next_step.follow_up, few.next_step.variants, few.next_step.seeds) == (True, ["a"], 6)
    assert few.next_step.text == "Differences are called from 6 pairs of seeds on; here are 2."
    unclear = report({"b": 0.001})
    (contrast,) = unclear.contrasts
    assert unclear.next_step is not None
    assert contrast.differences is not None
    assert contrast.differences.test_accuracy_points.equivalence is not None
    assert unclear.next_step.seeds == contrast.differences.test_accuracy_points.equivalence.more_seeds
    assert unclear.next_step.seconds is not None


@pytest.mark.parametrize(
    ("gains", "losses", "headline"),
    [
        ({"a": 0.03}, {"a": -0.1}, f"a raises {ACCURACY} by 3.00 points and lowers {LOSS} by 0.1000 nats."),
        ({"a": -0.03}, {"a": 0.05}, f"a lowers {ACCURACY} by 3.00 points and raises {LOSS} by 0.0500 nats."),
        ({"a": 0.0}, {}, "a is not shown to change the test accuracy or the test loss of none."),
        (
            {"a": 0.03, "b": 0.02},
            {"a": -0.1},
            f"Both variants raise {ACCURACY} (a by the most, 3.00 points); a lowers {LOSS} by 0.1000 nats.",
        ),
        (
            {"a": 0.0, "b": 0.0, "c": 0.0},
            {"a": -0.05, "b": -0.06, "c": -0.07},
            f"{NONE_RAISES}; all 3 variants lower {LOSS} (c by the most, 0.0700 nats).",
        ),
        (
            {"a": 0.03, "b": -0.03, "c": 0.0},
            {},
            f"a raises {ACCURACY} by 3.00 points, and b lowers it; no variant is shown to lower {LOSS}.",
        ),
        (
            {"a": -0.03, "b": 0.0},
            {},
            f"{NONE_RAISES}, and a lowers it; no variant is shown to lower {LOSS}.",
        ),
    ],
)
def test_a_headline_says_who_changes_what(
    gains: dict[str, float], losses: dict[str, float], headline: str
) -> None:
    assert report(gains, losses).headline == headline


def test_variants_that_stay_within_the_margin_are_said_to() -> None:
    small = [wobble / 30 for wobble in SCATTER]
    assert report({"a": 0.0}, scatter=small).headline.startswith(
        "a stays within 0.2 points of none in test accuracy"
    )
    assert report({"a": 0.0, "b": 0.0}, scatter=small).headline.startswith(
        "Both variants stay within 0.2 points of none in test accuracy"
    )


def test_a_variant_keeps_its_own_spelling() -> None:
    assert report({"no variant at all": 0.03}).headline.startswith("no variant at all raises")


def test_before_the_plan_is_complete_nothing_is_called() -> None:
    jobs = {
        name: [job(name, seed, 0.9 + gain) for seed in range(8)] for name, gain in (("a", 0.0), ("b", 0.05))
    }
    jobs["b"][7] = job("b", 7, "running")
    comparison = compared(jobs)
    assert comparison.headline == "Interim: 15 of 16 runs ended. Nothing is called before all have."
    assert (comparison.inference, comparison.level, comparison.complete) == ("interim", 0.005, False)
    assert "until then nothing is called" in comparison.methods


def test_reports_without_an_answer_say_why() -> None:
    assert compared({"a": [job("a", 0, "queued")]}).headline == "No run has a result yet."
    assert compared({"a": [job("a", 0, "failed")]}).headline == "No run has a result."
    assert compared({"a": [job("a", 0, 0.9)]}).headline == (
        "There is one variant only, and nothing to compare it with."
    )
    few = compared({name: [job(name, seed, 0.9) for seed in range(3)] for name in "ab"})
    assert few.headline == "Nothing is called from fewer than 6 pairs of seeds; there are 3 at most."
    other = [job("b", seed, 0.9, dataset={"name": "fashion_mnist"}) for seed in range(8)]
    mixed = compared({"a": [job("a", seed, 0.9) for seed in range(8)], "b": other})
    assert mixed.headline.startswith("The variants were trained on different datasets")
    gone = {"a": [job("a", 0, "failed")], "b": [job("b", 0, 0.9)]}
    assert compared(gone).headline == (
        "The baseline, a, has no result, so that there is nothing to compare with. "
        "Training failed in a, which has no result."
    )
    jobs = [job("a", 0, "running"), job("b", 0, 0.9, regularization={"l2": {}})]
    running = grouping.group_jobs(jobs, settings=Settings(), base_url="")
    assert build_subject_headline(running)[0] == (
        "The baseline, a, has no result yet, so that there is nothing to compare with."
    )
    lost = {
        name: [job(name, seed, state) for seed in range(8)] for name, state in (("a", 0.9), ("b", "failed"))
    }
    assert compared(lost).headline == (
        "Nothing is called from fewer than 6 pairs of seeds; there are none. "
        "Training failed in b, which has no result."
    )


def test_a_variant_on_another_dataset_is_not_compared() -> None:
    jobs = {name: [job(name, seed, 0.9) for seed in range(8)] for name in "ab"}
    jobs["c"] = [job("c", seed, 0.95, dataset={"name": "fashion_mnist"}) for seed in range(8)]
    comparison = compared(jobs)
    assert comparison.headline.endswith(" Another dataset was used for c, so that it is not compared.")
    _, other = comparison.contrasts
    assert other.differences is None
    assert other.verdict.startswith("It was trained on another dataset than the baseline")
    assert not any("standard error" in note for note in comparison.notes)
    sizes = next(item for item in comparison.recommendation if item.name == "data")
    assert sizes.not_tested is not None
    assert sizes.not_tested.startswith("The training sets differ in more than their size")


def test_when_every_variant_is_worse_the_headline_says_so_first() -> None:
    headline = report({"a": -0.03, "b": -0.02}, {"a": 0.1, "b": 0.2}).headline
    assert headline == (
        f"Both variants lower {ACCURACY} (a by the most, 3.00 points) and raise {LOSS} "
        "(b by the most, 0.2000 nats)."
    )


def test_the_weightiest_reservation_follows() -> None:
    jobs = {name: [job(name, seed, 0.9) for seed in range(8)] for name in "ab"}
    jobs["b"][0] = job("b", 0, "failed")
    assert compared(jobs).headline.endswith(" Training failed in some runs of b.")
    both = compared(jobs | {"c": [job("c", seed, "failed") for seed in range(8)]})
    assert both.headline.endswith(" Training failed in some runs of b and in c, which has no result.")
    wide = {"a": jobs["a"], "b": [job("b", seed, 0.9, model={"hidden_units": [32]}) for seed in range(8)]}
    assert compared(wide).headline.endswith(" Something besides regularization differs in b.")
    few = {"a": jobs["a"], "b": jobs["a"], "c": [job("c", 0, 0.9)]}
    assert compared(few).headline.endswith(" There are too few pairs to say anything of c.")


def test_with_axes_a_headline_names_variants_plainly_and_counts_combinations() -> None:
    fields = (AxisUsed(field="/training/epochs", title="epochs", values=[1], numbers=[1], scale="linear"),)
    point = {"/training/epochs": 1}
    (one,) = report({"b": 0.0}).contrasts
    contrast = one.model_copy(update={"variant": "b, 1 epoch", "point": point})
    outlines = [
        Outline(f"{name}, 1 epoch", name == "none", 8, [0] if name == "b" else [], [])
        for name in ("none", "b")
    ]

    def headline(plan: Plan, contrast: Contrast = contrast) -> str:
        return build_headline([contrast], outlines, plan, ended=16, planned=16, axes=fields)

    assert headline(Plan(Regime.FIXED, ("test_accuracy",))) == (
        "Test accuracy: no difference from none is called at the only point. "
        "Training failed in some runs of b, 1 epoch."
    )
    other = Plan(Regime.EXTENDED, ("test_accuracy",), planned_baseline="b")
    assert headline(other).endswith(" none is not the planned baseline, b: see the methods.")
    outlines = [replace(outline, failed_seeds=[0]) for outline in outlines]
    assert headline(Plan(Regime.FIXED)).endswith(" in some runs of both combinations of variant and point.")
    # At one point the baseline has no result, at another it has.
    outlines = [replace(outline, n=n, failed_seeds=[]) for outline, n in zip(outlines, (0, 8), strict=True)]
    outlines.append(replace(outlines[0], name="none, /training/epochs: 2", n=3))
    few = headline(Plan(Regime.FIXED), contrast.model_copy(update={"seeds": []}))
    assert few == "Nothing is called from fewer than 6 pairs of seeds; there are none."


_TRAINING = "optimizer adam, learning rate 0.001, batch size 32, 1 epoch"
_FIXED = f"family mlp, hidden units 16, activation relu, {_TRAINING}"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            [{"regularization": {"l2": {}}, "dataset": {"split_seed": seed}} for seed in (0, 1)],
            f"validation split stratified, {_FIXED}.",
        ),
        (
            [{"training": {"optimizer": {"learning_rate": rate}, "epochs": 3}} for rate in (0.1, 0.2)],
            "optimizer adam, batch size 32, 3 epochs. Models differ in learning rate.",
        ),
        (
            [{"training": {"steps": 500}}, {"training": {"steps": 500}, "dataset": {"label_noise": 0.2}}],
            "batch size 32, steps 500. Models differ in label noise.",
        ),
        (
            [{"dataset": {"train_samples": 400, "part": {"of": 2, "index": part}}} for part in (0, 1)],
            f"validation split stratified, training examples in 2 disjoint parts, {_FIXED}.",
        ),
        (
            [{"dataset": {"part": {"of": of, "index": 0}}} for of in (2, 4)],
            f"validation split stratified, {_FIXED}. Models differ in number of parts.",
        ),
        (
            [{"dataset": {"validation_fraction": 0.0}}] * 2,
            f"dataset mnist_5k, validation fraction 0, {_FIXED}.",
        ),
    ],
    ids=["shared", "learning rates", "steps", "parts", "numbers of parts", "no validation"],
)
def test_the_methods_name_what_all_models_share_and_what_not(
    changes: list[dict[str, object]], expected: str
) -> None:
    text = describe_settings([job_spec(**change).model_dump(mode="json") for change in changes])
    assert text.startswith("Settings that all models share, regularization aside: ")
    assert text.endswith(expected)


def test_the_methods_call_an_uploaded_dataset_by_its_name_and_say_where_its_contents_differ() -> None:
    one, other = (
        job_spec(dataset={"name": "letters", "content": {"digest": digit * 64} | sizes}).model_dump(
            mode="json"
        )
        for digit, sizes in (
            ("a", {"classes": 10, "train_examples": 4000, "test_examples": 1000}),
            ("b", {"classes": 10, "train_examples": 5000, "test_examples": 1000}),
        )
    )
    assert "dataset letters, validation fraction 0.2, " in describe_settings([one, one])
    assert describe_settings([one, other]).endswith(" 1 epoch. Models differ in contents of the dataset.")


def test_the_methods_name_regime_level_family_and_margin() -> None:
    comparison = report({"a": 0.03, "b": 0.0}).methods
    assert comparison.startswith(
        "2 variants were compared with the baseline (none), within pairs of models that share a seed "
        "(8 seeds), in test accuracy and test loss: one family of 4 tests. The number of "
        "seeds was fixed in advance"
    )
    assert "over all sign flips of whole seeds" in comparison
    assert "at a family-wise level of 0.045" in comparison
    assert "Equivalence within 0.20 points was judged by two one-sided paired t tests" in comparison
    # As the table of differences has it: of what is tested the simultaneous interval.
    assert "of differences that are not tested, are 95 % t intervals" in report({"a": 0.03}).notes[1]
    few_pairs, many_pairs = (report({"a": 0.03}, scatter=scatter) for scatter in (SCATTER[:3], SCATTER))
    few = few_pairs.methods
    assert "one family of 2 tests. With fewer than 6 pairs no difference can be called. All other" in few
    for regime, pairs in product(Regime, (few_pairs, many_pairs)):
        if regime is not Regime.FIXED:
            plan = Plan(regime, planned_baseline="b")
            text = build_methods(
                pairs.contrasts, range(8), "none", plan, confirms=None, conditions="", version="1"
            )
            assert text.count("The baseline was chosen after the plan, whose baseline is b") == 1
    two = report({"a": 0.03}, scatter=SCATTER[:2]).methods
    assert "No interval is given from fewer than 3 seeds." in two
    assert "generalize" not in two
    jobs = {name: [job(name, seed, 0.9) for seed in range(8)] for name in "ab"}
    jobs["b"][0] = job("b", 0, "failed")
    assert "(8 seeds planned, 7 with results on both sides)" in compared(jobs).methods
    assert "every difference was tested once" in compared(jobs).methods
    jobs |= {"c": [job("c", seed, 0.9 if seed > 2 else "failed") for seed in range(8)]}
    assert "(8 seeds planned, 5 to 7 with results on both sides)" in compared(jobs).methods
    assert "every difference of 6 pairs or more was tested once" in compared(jobs).methods
    for group in jobs.values():
        for one in group:
            one.spec["dataset"]["part"] = {"of": 2, "index": 1}
    assert (
        "share a seed and a part of the training data, averaged over the parts of" in compared(jobs).methods
    )
    many = report({"a": 0.03}, scatter=[*SCATTER, *SCATTER, 0.001])
    assert len(many.seeds) > EXACT_UP_TO
    assert "20,000 drawn sign flips" in many.methods


def test_a_variant_whose_every_job_failed_says_why() -> None:
    jobs = {
        name: [job(name, seed, outcome) for seed in range(3)]
        for name, outcome in (("a", 0.9), ("b", "failed"))
    }
    (built,) = compared(jobs).contrasts
    assert built.verdict.endswith("All 3 jobs failed (the loss is NaN).")
    assert "yet" not in built.verdict
