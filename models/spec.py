"""The job specification: the POST body, the stored JSON and the argument of `train`, in one model."""

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from models.techniques import Regularization


def _without_nul(text: str) -> str:
    # PostgreSQL keeps no NUL in a text, and refuses to look into JSON that holds one.
    if "\0" in text:
        raise PydanticCustomError("nul_character", "holds a NUL character; leave it out")
    return text


WITHOUT_NUL = AfterValidator(_without_nul)
Text200 = Annotated[str, Field(max_length=200), WITHOUT_NUL]
DatasetName = Literal["mnist", "fashion_mnist", "mnist_5k"]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]

CLASSES = 10
PIXELS = 28 * 28


def faults_of(error: ValidationError) -> list[tuple[tuple[int | str, ...], str]]:
    """What a validation found: for each fault its location in the document, and what is wrong there."""
    return [
        (_location(fault), _in_plain_words(fault["type"], fault["msg"]))
        for fault in error.errors(include_url=False, include_input=False)
    ]


def _location(fault: ErrorDetails) -> tuple[int | str, ...]:
    # pydantic marks a fault of a key, not of its value, by this last part.
    location = [part for part in fault["loc"] if part != "[key]"]
    # A validator of a whole model says by `pointer` which of its fields it means.
    _, *further = str(fault.get("ctx", {}).get("pointer", "")).split("/")
    return (*location, *further)


def _in_plain_words(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "there is no such field here; check its spelling, or see /docs for the fields there are"
    return message


class Rows(BaseModel):
    """How many examples each dataset offers."""

    train: int
    test: int


DATASET_ROWS: dict[str, Rows] = {
    "mnist": Rows(train=60_000, test=10_000),
    "fashion_mnist": Rows(train=60_000, test=10_000),
    "mnist_5k": Rows(train=4_000, test=1_000),
}


class _Part(BaseModel):
    """A part of the specification: closed, frozen, and without NaN, infinity or silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DatasetSpec(_Part):
    """Which images, and how the training images are divided."""

    name: DatasetName = Field(
        "mnist",
        description="`mnist_5k`: 5,000 real MNIST images that need no download (4,000 train, 1,000 test)",
    )
    train_samples: int | None = Field(
        None, ge=100, le=60_000, description="Examples in a seeded, stratified subset; null: all of them"
    )
    label_noise: float = Field(
        0.0, ge=0, le=1, description="Share of training labels replaced at random; test labels never are"
    )
    validation_fraction: float = Field(
        0.2, ge=0, le=0.5, description="Share of the training examples held out to validate; 0: none"
    )
    validation_split: Literal["stratified", "last"] = Field(
        "stratified",
        description="`last`: the last rows as they stand, as Keras's validation_split takes them",
    )
    split_seed: Seed = Field(0, description="Seed of subset, label noise and stratified split")

    @property
    def rows(self) -> int:
        """How many examples are trained and validated on together."""
        available = DATASET_ROWS[self.name].train
        return min(self.train_samples or available, available)

    @property
    def validation_rows(self) -> int:
        """How many examples are held out to validate."""
        # Keras splits at int(n * (1 - fraction)); the same rounding keeps the seed's experiment the same.
        return self.rows - int(self.rows * (1 - self.validation_fraction))

    @property
    def training_rows(self) -> int:
        """How many examples the network learns from in an epoch."""
        return self.rows - self.validation_rows


class ModelSpec(_Part):
    """The network, before any regularization."""

    family: Literal["mlp"] = Field("mlp", description="`mlp`: fully connected layers")
    hidden_units: Annotated[
        tuple[Annotated[int, Field(ge=1, le=4096)], ...],
        Field(strict=False, max_length=8, json_schema_extra={"minItems": 1}),
    ] = Field((512, 512), description="Units of each hidden layer, 1 to 4096, in 1 to 8 layers")
    activation: Literal["relu", "tanh", "sigmoid", "gelu"] = Field(
        "relu", description="Of every hidden layer"
    )

    @field_validator("hidden_units")
    @classmethod
    def _at_least_one(cls, units: tuple[int, ...]) -> tuple[int, ...]:
        # Not Field's min_length, which also complains of too few layers where one is out of bounds.
        if not units:
            raise PydanticCustomError("too_short", "give at least one hidden layer")
        return units


class OptimizerSpec(_Part):
    """How weights follow gradients. Everything else is as Keras sets it."""

    name: Literal["adam", "rmsprop", "sgd"] = Field("adam", description="`sgd` takes `momentum`")
    learning_rate: float = Field(0.001, gt=0, le=10, description="Step size")
    momentum: float = Field(0.0, ge=0, lt=1, description="Of SGD")


class TrainingSpec(_Part):
    """How long and with what the network is trained."""

    optimizer: OptimizerSpec = OptimizerSpec()
    batch_size: int = Field(32, ge=1, le=4096, description="Examples in a step")
    epochs: int = Field(10, ge=1, le=1000, description="Passes over the training examples")


class JobSpec(_Part):
    """One training run, whole. Every field has a default: `{}` is the seed experiment's plain network."""

    name: Text200 | None = Field(None, description="For people; changes nothing")
    labels: dict[Annotated[str, Field(max_length=63), WITHOUT_NUL], Text200] = Field(
        {}, max_length=32, description="For people and filters; change nothing"
    )
    priority: int = Field(
        0, ge=-100, le=100, description="Higher goes first among jobs not yet announced to workers"
    )
    dataset: DatasetSpec = DatasetSpec()
    model: ModelSpec = ModelSpec()
    regularization: Regularization = Regularization()
    training: TrainingSpec = TrainingSpec()
    seed: Seed = Field(0, description="Seed of initial weights, batch order and random layers")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        for pointer, detail in _contradictions(self):
            # A validator of the whole model has no location of its own; the pointer travels in the context.
            raise PydanticCustomError("contradiction", "{detail}", {"pointer": pointer, "detail": detail})
        return self

    @property
    def spec_hash(self) -> str:
        """SHA-256 of all that can change the weights: equal hashes, equal weights (same data and engine)."""
        written = self.model_dump_json(exclude={"name", "labels", "priority"})
        # -0.0 equals 0.0: equal specifications must have equal hashes.
        document = json.loads(written, parse_float=lambda digits: float(digits) + 0.0)
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def _contradictions(spec: JobSpec) -> list[tuple[str, str]]:
    """Pairs of (JSON pointer, what is wrong) for fields that are fine alone and not together."""
    found = []
    available = DATASET_ROWS[spec.dataset.name].train
    if (spec.dataset.train_samples or 0) > available:
        found.append(
            (
                "/dataset/train_samples",
                f"{spec.dataset.name} has {available} training examples; ask for fewer",
            )
        )
    if spec.regularization.early_stopping and not spec.dataset.validation_rows:
        found.append(
            (
                "/regularization/early_stopping",
                "early stopping watches validation data; set dataset.validation_fraction above 0",
            )
        )
    if spec.training.optimizer.name != "sgd" and spec.training.optimizer.momentum:
        found.append(
            ("/training/optimizer/momentum", "only sgd takes a momentum; leave it out or choose sgd")
        )
    if spec.dataset.training_rows < spec.training.batch_size:
        found.append(
            (
                "/training/batch_size",
                f"larger than the {spec.dataset.training_rows} training examples; choose a smaller batch",
            )
        )
    return found
