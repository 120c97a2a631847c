"""What presets are made of."""

from dataclasses import dataclass
from typing import Any

from models.documents import Document, merge_patch
from models.experiments import ExperimentSpec

# Enough pairs for the exact test and for an interval worth reading; `"replicates": 3` makes it quick.
TEN_SEEDS = list(range(10))
# Along an axis, whose points share one family of tests: more than the fewest pairs that can be called.
EIGHT_SEEDS = list(range(8))
# Where one job trains for many minutes. Three pairs show a direction; no exact test can confirm it.
THREE_SEEDS = [0, 1, 2]


@dataclass(frozen=True)
class Preset:
    """An experiment document, and what should come out of it (directions, not values)."""

    title: str
    expect: str
    document: Document

    @property
    def spec(self) -> ExperimentSpec:
        """The document as an experiment."""
        return ExperimentSpec.model_validate(self.document)


def build_preset(
    name: str,
    *,
    title: str,
    expect: str,
    variants: list[Document],
    base: Document | None = None,
    baseline: str = "none",
    seeds: list[int] = TEN_SEEDS,
    **options: Any,
) -> Preset:
    """Variants of the seed document's plain network: 784-512-512-10, Adam, batches of 32, ten epochs.

    `base` is what differs from it, a JSON merge patch; `options` are further fields of the experiment.
    """
    plain: Document = {
        "dataset": {"name": "mnist", "validation_fraction": 0.2},
        "model": {"family": "mlp", "hidden_units": [512, 512], "activation": "relu"},
        "training": {"optimizer": {"name": "adam", "learning_rate": 0.001}, "batch_size": 32, "epochs": 10},
    }
    document = {
        "name": name,
        **options,
        "base": merge_patch(plain, base or {}),
        "variants": variants,
        "baseline": baseline,
        "seeds": seeds,
    }
    return Preset(title, expect, document)


def build_variant(name: str, **techniques: Document) -> Document:
    """The base with these techniques; without any, the base as it is."""
    return {"name": name, "changes": {"regularization": techniques} if techniques else {}}
