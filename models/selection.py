"""Choosing a variant: by validation loss, never by what is measured on the test images. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.dataset_spec import DatasetSpec
from models.documents import merge_patch
from models.stopping_rules import get_common_seeds

ACROSS_POINTS = "Variants are compared at each point of the axes; nothing is chosen across points."
FEWEST_SEEDS = 2
"""One seed shows luck as much as a variant."""


def compute_chance_loss(classes: int) -> float:
    """The loss of a model that gives each class the same probability, in nats."""
    return math.log(classes)


def is_at_chance(accuracy: float | None, classes: int, test_examples: int) -> bool:
    """Whether guessing a class would give that test accuracy, give or take three standard errors.

    False of a model that was not measured on the test images.
    """
    chance = 1 / classes
    return accuracy is not None and accuracy <= chance + 3 * math.sqrt(chance * (1 - chance) / test_examples)


@dataclass(frozen=True)
class VariantMeans:
    """A variant's finished runs, and means over them."""

    variant: str
    seeds: int
    """How many runs: with parts several a seed, until it is chosen."""
    validation_loss: float | None
    """None unless every one of these seeds was validated."""
    test_accuracy: float


def choose_variant(
    document: Mapping[str, Any], means: Sequence[VariantMeans], baseline: str
) -> VariantMeans | str:
    """The variant of the lowest mean validation loss, of an experiment that has ended; or why there is none.

    `document` is the experiment's; `means` are over the seeds that all its variants run with. Only variants
    that are trained on the baseline's data count, with a result for every one of them: a loss on other
    images, or over luckier seeds, is no better for being lower.
    """
    datasets = {
        variant["name"]: merge_patch(document["base"], variant["changes"]).get("dataset")
        for variant in document["variants"]
    }
    seeds, parts = len(get_common_seeds(document)), document.get("parts") or 1
    if seeds < FEWEST_SEEDS:
        return f"Each variant ran with one seed; {FEWEST_SEEDS} are the fewest to choose by."
    complete = [replace(one, seeds=seeds) for one in means if one.seeds == seeds * parts]
    comparable = [one for one in complete if datasets[one.variant] == datasets[baseline]]
    validated = [one for one in comparable if one.validation_loss is not None]
    if not complete:
        return "No variant has a result for every seed."
    if not validated:
        return "No images were held out for validation, and nothing is chosen by test images."
    if len(validated) < FEWEST_SEEDS:
        return "Only one variant can be chosen."
    best = min(validated, key=lambda one: one.validation_loss or math.inf)
    dataset = DatasetSpec.model_validate(datasets[baseline] or {})
    if (best.validation_loss or math.inf) >= compute_chance_loss(dataset.classes):
        return "No variant does better on validation images than chance."
    return best
