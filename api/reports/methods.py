"""How a report came to its answer, in words for a paper."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from api.reports.points import remove_point
from api.reports.schemas import Contrast
from api.reports.verdicts import format_plain, get_tested, join
from models.dataset_spec import DatasetSpec
from models.documents import flatten
from models.experiments import FEWEST_PAIRS, Regime
from models.formatting import format_count
from models.inference import Plan
from models.run_key import format_axis_value, name_axis, name_axis_value
from models.statistics import EXACT_UP_TO, FEWEST_FOR_INTERVAL, SIGN_FLIPS


def build_methods(
    contrasts: Sequence[Contrast],
    seeds: Sequence[int],
    baseline: str,
    plan: Plan,
    *,
    confirms: str | None,
    conditions: str,
    version: str,
    in_parts: bool = False,
) -> str:
    """How a report came to its answer, as a paragraph for a paper."""
    if not contrasts:
        return f"One variant was trained; there was nothing to compare it with. Regbench {version}."
    count = len({remove_point(contrast.variant, contrast.point) for contrast in contrasts})
    variants = format_count(count, "variant")
    if any(contrast.point for contrast in contrasts):
        variants += f" at {format_count(len(contrasts) // count, 'point')} of the axes"
    tested = get_tested(plan)
    margins = " and ".join(
        format_plain(margin, metric.contrast_unit)
        for metric in tested
        if (margin := plan.get_margin(metric.name))
    )
    pairs = {len(contrast.seeds) for contrast in contrasts}
    if max(pairs) < FEWEST_PAIRS:
        rule = f"With fewer than {FEWEST_PAIRS} pairs no difference can be called." + _explain_baseline(plan)
        equivalence, margins = "", ""
    elif plan.regime is Regime.FIXED:
        signed = {seed for contrast in contrasts for seed in contrast.seeds}
        tested_pairs = f"of {FEWEST_PAIRS} pairs or more " if min(pairs) < FEWEST_PAIRS else ""
        flips = "all sign flips" if len(signed) <= EXACT_UP_TO else f"{SIGN_FLIPS:,} drawn sign flips"
        rule = (
            f"The number of seeds was fixed in advance, and every difference {tested_pairs}was tested once, "
            f"after all runs had ended: by the single-step maximum of |t| over {flips} of whole seeds "
            f"(Westfall and Young 1993), at a family-wise level of {plan.level:g}; intervals are "
            "simultaneous."
        )
        equivalence = f"two one-sided paired t tests, Holm-corrected, at a level of {plan.level:g}"
    else:
        rule = (
            f"{plan.explain_regime()} Intervals and p hold at every look (Lai 1976; Wang and Ramdas "
            f"2023), Bonferroni-corrected for the family, at a family-wise level of {plan.level:g}."
        )
        rule += _explain_baseline(plan) if plan.regime is Regime.INTERIM else ""
        equivalence = "whether that interval lies within the margin"
    planned = format_count(len(seeds), "seed")
    if pairs != {len(seeds)}:
        ends = " to ".join(map(str, sorted({min(pairs), max(pairs)})))
        planned += f" planned, {ends} with results on both sides"
    of_parts = " and a part of the training data, averaged over the parts of a seed" if in_parts else ""
    family = (
        f"{variants} {'was' if count == 1 else 'were'} compared with the baseline ({baseline}), within pairs "
        f"of models that share a seed{of_parts} ({planned}), in "
        f"{join(metric.title.lower() for metric in tested)}: one family of "
        f"{format_count(plan.count_tests(len(contrasts) + 1), 'test')}."
    )
    equal = [f"Equivalence within {margins} was judged by {equivalence}."] if margins else []
    if confirms:
        family += (
            f" This follows up {confirms} on seeds that it did not use: none of its runs is in these numbers "
            "and its tests are another family."
        )
    described = "All other metrics are described, not tested."
    return " ".join([family, rule, *equal, described, conditions, f"Regbench {version}."])


def _explain_baseline(plan: Plan) -> str:
    """That the baseline is another than planned, where the plan's rule does not say it; else empty."""
    if not plan.planned_baseline:
        return ""
    return f" The baseline was chosen after the plan, whose baseline is {plan.planned_baseline}."


# What other sentences say, and what an uploaded dataset's name stands for.
_UNNAMED = {"dataset.split_seed", "dataset.part.index"} | {
    f"dataset.content.{field}" for field in ("classes", "train_examples", "test_examples")
}
_DIFFERING = {"dataset.part.of": "number of parts", "dataset.content.digest": "contents of the dataset"}


def describe_settings(specs: Sequence[Mapping[str, Any]]) -> str:
    """The settings that all models share, and the names of those that they do not; regularization aside.

    Args:
        specs: of every model the specification, as JSON.
    """
    documents = [flatten({part: spec[part] for part in ("dataset", "model", "training")}) for spec in specs]
    idle, shared, differing = _find_idle_settings(documents), [], []
    for path in dict.fromkeys(chain.from_iterable(documents)):
        field, values = f"/{path.replace('.', '/')}", [document.get(path) for document in documents]
        if path in _UNNAMED | idle:
            continue
        if any(value != values[0] for value in values):
            differing.append(_DIFFERING.get(path) or name_axis(field))
        elif path == "dataset.part.of":
            shared.append(f"training examples in {values[0]} disjoint parts")
        elif path not in _DIFFERING and (values[0] not in (None, 0) or path == "dataset.validation_fraction"):
            shared.append(name_axis_value(field, format_axis_value(field, values[0])))
    sentences = (
        [f"Settings that all models share, regularization aside: {', '.join(shared)}."] if shared else []
    )
    if differing:
        sentences.append(f"Models differ in {join(differing)}.")
    return " ".join(sentences)


def _find_idle_settings(documents: Sequence[Mapping[str, Any]]) -> set[str]:
    """Epochs where `steps` sets how long is trained, and how to hold out images where none are."""
    idle = set()
    if any(document.get("training.steps") for document in documents):
        idle.add("training.epochs")
    if not any(document.get("dataset.validation_fraction") for document in documents):
        idle.add("dataset.validation_split")
    return idle


def describe_sources(datasets: Iterable[DatasetSpec], *, seeds: int, split_per_seed: bool) -> str:
    """Over which sources of chance a report's intervals generalize, and over which they do not."""
    if seeds < FEWEST_FOR_INTERVAL:
        return f"No interval is given from fewer than {FEWEST_FOR_INTERVAL} seeds."
    drawn = list(dict.fromkeys(part for dataset in datasets for part in dataset.drawn_parts))
    varied, shared = ["initial weights", "order of the examples"], ["test images"]
    if split_per_seed:
        varied += drawn
    else:
        shared = drawn + shared
    text = f"Intervals generalize over {join(varied)}; all seeds share the {join(shared)}."
    if split_per_seed and not drawn:
        text += " `split_per_seed` changes nothing here: neither split, subset nor label noise is drawn."
    return text
