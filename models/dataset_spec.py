"""Which images a job is trained on: the part of the specification that is about data."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.dataset_cards import (
    DATASETS,
    NAME_PATTERN,
    UNRESOLVED,
    DatasetCard,
    DatasetContent,
)
from models.parts import OptionalPart

Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class SpecPart(BaseModel):
    """A part of the specification: closed, frozen, and without NaN, infinity or silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DatasetSpec(SpecPart):
    """Which images, and how the training images are divided."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)] = Field(
        "mnist",
        description="`mnist`, `fashion_mnist`, `mnist_5k` (5,000 of MNIST's images, which need no download: "
        "4,000 train, 1,000 test), or the name of an uploaded dataset",
    )
    content: DatasetContent | None = Field(
        None,
        exclude_if=lambda content: content is None,
        description="What an uploaded dataset contained at submission; filled in by the service, so leave it "
        "out",
    )
    train_samples: int | None = Field(
        None, ge=100, le=1_000_000, description="Examples in a seeded, stratified subset; null: all of them"
    )
    label_noise: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of training labels redrawn from all classes, so that some stay right: with ten "
        "classes 0.4 makes 36 % wrong; test labels never change",
    )
    validation_fraction: float = Field(
        0.2, ge=0, le=0.5, description="Share of the training examples held out to validate; 0: none"
    )
    validation_split: Literal["stratified", "last"] = Field(
        "stratified",
        description="`last`: the last rows in their order, as Keras's validation_split does",
    )
    part: OptionalPart = None
    split_seed: Seed = Field(0, description="Seed of subset, parts, label noise and stratified split")

    @property
    def classes(self) -> int:
        """How many classes the images have: labels are 0 to classes - 1."""
        return self.card.classes

    @property
    def card(self) -> DatasetCard | DatasetContent:
        """The dataset's sizes; those of an uploaded one are known once the service has found it."""
        return self.content or DATASETS.get(self.name) or UNRESOLVED

    @property
    def subset_rows(self) -> int:
        """How many examples there are before they are divided into parts."""
        available = self.card.train_examples
        return min(self.train_samples or available, available)

    @property
    def rows(self) -> int:
        """How many examples are trained and validated on together."""
        return self.part.count_rows(self.subset_rows) if self.part else self.subset_rows

    @property
    def validation_examples(self) -> int:
        """How many examples are held out to validate."""
        # Keras splits at int(n * (1 - fraction)); the same rounding keeps the seed's experiment the same.
        return self.rows - int(self.rows * (1 - self.validation_fraction))

    @property
    def drawn_parts(self) -> list[str]:
        """What depends on `split_seed`, in words; empty where it changes no weights."""
        drawn = {
            "split": self.validation_split == "stratified" and self.validation_examples > 0,
            "subset": self.subset_rows < self.card.train_examples,
            "parts": self.part is not None,
            "label noise": self.label_noise > 0,
        }
        return [source for source, is_drawn in drawn.items() if is_drawn]

    @property
    def training_examples(self) -> int:
        """How many examples the network learns from in an epoch."""
        return self.rows - self.validation_examples


def compute_wrong_share(label_noise: float, classes: int) -> float:
    """The share of training labels that are wrong: of those redrawn one in `classes` stays right."""
    return label_noise * (classes - 1) / classes
