"""The job specification: the POST body, the stored JSON and the argument of `train`, in one model."""

import hashlib
import json
import math
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError, PydanticKnownError

from models.dataset_cards import DATASETS
from models.dataset_spec import DatasetSpec, Seed, SpecPart
from models.evaluation_spec import EvaluationSpec
from models.identifiers import is_visible
from models.parts import has_too_small_parts
from models.suggestions import suggest_field
from models.techniques import Regularization


def refuse_nul(text: str) -> str:
    # PostgreSQL stores no NUL in text, and cannot query JSON that contains one.
    if "\0" in text:
        raise PydanticCustomError("nul_character", "contains a NUL character; remove it")
    return text


def require_visible(text: str, info: ValidationInfo) -> str:
    if info.context is not STORED and not is_visible(text):
        raise PydanticCustomError("invisible", "contains no visible character; choose a readable name")
    return text


def check_label_name(name: str, info: ValidationInfo) -> str:
    # Filters read `name=value`, and selected fields are separated by commas, their parts by dots.
    if info.context is not STORED and (
        set("=.,") & set(name) or name != name.strip() or not is_visible(name)
    ):
        raise PydanticCustomError(
            "label_name", "a label's name must not be empty, contain = . or , or begin or end with a blank"
        )
    return name


STORED = {"stored": True}
"""Validation context of documents from the database, which may have names that are refused today."""
WITHOUT_NUL = AfterValidator(refuse_nul)
VISIBLE = AfterValidator(require_visible)
Text200 = Annotated[str, Field(max_length=200), WITHOUT_NUL]

MAX_LABELS = 32
_MAX_SUGGESTIONS = 20
"""Of one document: a body of 64 KiB can hold thousands of unknown fields."""
LabelName = Annotated[str, Field(max_length=63), WITHOUT_NUL, AfterValidator(check_label_name)]
Priority = Annotated[int, Field(ge=-100, le=100)]

SIDE = 28
PIXELS = SIDE * SIDE


def bound_length(most: int, *, if_empty: str | None = None) -> BeforeValidator:
    """Refuse a list or object that is too long, or with `if_empty` (what to do) empty, before its items.

    Otherwise pydantic validates each item: a body of 64 KiB can hold 32,000 errors and take a second. And
    Field's min_length also complains of too few items where one is out of bounds.
    """

    def check(value: object) -> object:
        if isinstance(value, list | tuple | dict) and len(value) > most:
            kind = "Dictionary" if isinstance(value, dict) else "List"
            context = {"field_type": kind, "max_length": most, "actual_length": len(value)}
            raise PydanticKnownError("too_long", context)
        if if_empty and isinstance(value, list | tuple) and not value:
            raise PydanticCustomError("too_short", "{detail}", {"detail": if_empty})
        return value

    return BeforeValidator(check)


Labels = Annotated[dict[LabelName, Text200], Field(max_length=MAX_LABELS), bound_length(MAX_LABELS)]


def get_validation_errors(
    error: ValidationError, model: type[BaseModel] | None = None
) -> list[tuple[tuple[int | str, ...], str]]:
    """The errors of a validation by `model`, each as (location in the document, message).

    The message about an unknown field names the one that was probably meant.
    """
    errors = []
    for index, fault in enumerate(error.errors(include_url=False, include_input=False)):
        # pydantic appends "[key]" to the location where a key, not its value, is invalid. A model validator
        # has no location of its own; it passes the field's by `pointer`.
        location = [part for part in fault["loc"] if part != "[key]"]
        _, *further = str(fault.get("ctx", {}).get("pointer", "")).split("/")
        message = _format_message(fault, model if index < _MAX_SUGGESTIONS else None)
        errors.append(((*location, *further), message))
    return errors


def _format_message(fault: ErrorDetails, model: type[BaseModel] | None) -> str:
    if fault["type"] != "extra_forbidden":
        return fault["msg"]
    match fault["loc"]:
        case (*_, "model", str(name)) if name in Cnn.model_fields:
            return f"an mlp has no {name}; omit it (null in a variant's changes) or choose family cnn"
        case (str(name),) if name in JobSpec.model_fields and model is not JobSpec:
            return f"only a job has this field; in an experiment it is base.{name}"
    if model is not None and (suggestion := suggest_field(model, fault["loc"])):
        return f"there is no such field here; did you mean `{suggestion}`?"
    return "there is no such field here; check its spelling, or see /docs for all fields"


HiddenUnits = Annotated[
    tuple[Annotated[int, Field(ge=1, le=4096)], ...],
    Field(strict=False, max_length=8),
    bound_length(8),
]
Activation = Literal["relu", "tanh", "sigmoid", "gelu"]


class Mlp(SpecPart):
    """A fully connected network, before any regularization."""

    family: Literal["mlp"] = Field("mlp", description="`mlp`: fully connected layers only; the default")
    hidden_units: HiddenUnits = Field(
        (512, 512),
        description="Units of each hidden layer, 1 to 4096, in 0 to 8 layers; `[]`: a linear model "
        "(multinomial logistic regression)",
    )
    activation: Activation = Field("relu", description="Activation of every hidden layer")


class Cnn(SpecPart):
    """A convolutional network, before any regularization."""

    # Without a default: a document that names no family means an mlp.
    family: Literal["cnn"] = Field(
        description="`cnn`: convolutions, each with 2x2 max pooling, then fully connected layers"
    )
    filters: Annotated[
        tuple[Annotated[int, Field(ge=1, le=256)], ...],
        Field(strict=False, max_length=4, json_schema_extra={"minItems": 1}),
        bound_length(4, if_empty="give at least one convolution, or choose the family mlp"),
    ] = Field((32, 64), description="Filters of each convolution, 1 to 256, in 1 to 4 layers")
    kernel_size: Literal[3, 5] = Field(
        3, description="Height and width of every kernel, in pixels; the padding is `same`"
    )
    hidden_units: HiddenUnits = Field(
        (128,), description="Units of each fully connected layer after them, 1 to 4096, in 0 to 8 layers"
    )
    activation: Activation = Field("relu", description="Activation of every convolution and hidden layer")


def parse_model(document: object) -> object:
    """The model that a document describes, read by its own family's class.

    Not a union's discriminator, which would put the class into every fault's location.
    """
    if isinstance(document, Mlp | Cnn):
        return document
    if not isinstance(document, dict):
        raise PydanticCustomError("not_an_object", 'give an object, such as {"family": "mlp"}')
    match document.get("family", "mlp"):
        case "mlp":
            return Mlp.model_validate(document)
        case "cnn":
            return Cnn.model_validate(document)
        case unknown:
            fault = PydanticCustomError("unknown_family", "there is no such family; choose mlp or cnn")
            line = InitErrorDetails(type=fault, loc=("family",), input=unknown)
            raise ValidationError.from_exception_data("ModelSpec", [line])


ModelSpec = Annotated[Mlp | Cnn, BeforeValidator(parse_model)]


class OptimizerSpec(SpecPart):
    """How weights follow gradients. Everything else is as Keras sets it."""

    name: Literal["adam", "adamw", "rmsprop", "sgd"] = Field(
        "adam",
        description="`sgd` accepts `momentum`; `adamw` is `adam` with `weight_decay` under `/regularization`",
    )
    learning_rate: float = Field(0.001, gt=0, le=10, description="Step size")
    momentum: float = Field(0.0, ge=0, lt=1, description="Of SGD")


class TrainingSpec(SpecPart):
    """How long and with what the network is trained."""

    optimizer: OptimizerSpec = OptimizerSpec()
    batch_size: int = Field(32, ge=1, le=4096, description="Examples in a step")
    epochs: int = Field(10, ge=1, le=1000, description="Passes over the training examples")
    steps: int | None = Field(
        None,
        ge=1,
        le=10_000_000,
        # Specifications from before this field keep their hashes.
        exclude_if=lambda steps: steps is None,
        description="Optimizer steps in all, however many examples there are; the model is measured after "
        "every ceil(steps / epochs) of them, which count as an epoch; null: `epochs` passes",
    )
    max_seconds: float | None = Field(
        None,
        gt=0,
        le=604_800,
        description="Training stops after the epoch in which its time reaches this; the weights then depend "
        "on the machine's speed; null: no limit",
    )

    @property
    def steps_per_epoch(self) -> int | None:
        """With `steps`, after how many the model is measured; None: after each pass over the examples."""
        return None if self.steps is None else math.ceil(self.steps / self.epochs)

    @property
    def planned_epochs(self) -> int:
        """How often the model is measured: with few `steps` less than `epochs` times."""
        return math.ceil(self.steps / math.ceil(self.steps / self.epochs)) if self.steps else self.epochs


class JobSpec(SpecPart):
    """One training run, whole. Every field has a default: `{}` is the seed experiment's plain network."""

    name: Annotated[Text200, VISIBLE] | None = Field(
        None, description="For people; has no effect on training"
    )
    labels: Labels = Field(
        {}, description="For people and filters; no effect on training; no `=`, `.` or `,` in their names"
    )
    priority: Priority = Field(
        0,
        description="Of an owner's queued jobs the one with the highest priority is next; running jobs go on",
    )
    dataset: DatasetSpec = DatasetSpec()
    # A factory, because generators of clients refuse an object as the default of a union.
    model: ModelSpec = Field(default_factory=Mlp)
    regularization: Regularization = Regularization()
    training: TrainingSpec = TrainingSpec()
    evaluation: EvaluationSpec = Field(
        EvaluationSpec(),
        # Specifications that ask for nothing keep their documents and hashes.
        exclude_if=lambda evaluation: evaluation == EvaluationSpec(),
    )
    seed: Seed = Field(0, description="Seed of initial weights, batch order and random layers")

    @model_validator(mode="after")
    def check_consistency(self) -> Self:
        dataset, training, techniques = self.dataset, self.training, self.regularization
        active, optimizer = techniques.active, training.optimizer
        available = dataset.card.train_examples
        stopping, schedule = techniques.early_stopping, techniques.learning_rate_schedule
        unvalidated = not dataset.validation_examples
        averages_weights = "stochastic_weight_averaging" in active
        # Fields that are fine alone and not together: whether it is so here, JSON pointer, what is wrong.
        contradictions: list[tuple[object, str, str]] = [
            (
                (dataset.train_samples or 0) > available,
                "/dataset/train_samples",
                f"{dataset.name} has {available} training examples; ask for fewer",
            ),
            (
                self.evaluation.robustness and not self.evaluation.test,
                "/evaluation/robustness",
                "it needs the test images; omit it, or leave evaluation.test out",
            ),
            *(
                (is_wrong, "/evaluation/memorization", detail)
                for is_wrong, detail in self.evaluation.find_memorization_faults(dataset)
            ),
            (
                dataset.content and dataset.name in DATASETS,
                "/dataset/content",
                f"{dataset.name} is built in; omit its content",
            ),
            (
                dataset.part and has_too_small_parts(dataset.subset_rows, dataset.part.of, dataset.classes),
                "/dataset/part/of",
                f"parts of {dataset.rows} examples do not have two of each class; ask for fewer parts",
            ),
            (
                dataset.training_examples < training.batch_size,
                "/training/batch_size",
                f"larger than the {dataset.training_examples} training examples; choose a smaller batch",
            ),
            (
                training.batch_size == 1 and "mixup" in active,
                "/training/batch_size",
                "mixup mixes each example with another of its batch; choose at least 2, or omit mixup",
            ),
            (
                unvalidated and stopping,
                "/regularization/early_stopping",
                "early stopping monitors validation data; set dataset.validation_fraction above 0",
            ),
            (
                unvalidated and schedule and schedule.kind == "plateau",
                "/regularization/learning_rate_schedule/kind",
                (
                    "plateau monitors validation data; set dataset.validation_fraction above 0 or choose "
                    "another kind"
                ),
            ),
            (
                optimizer.name != "sgd" and optimizer.momentum,
                "/training/optimizer/momentum",
                "only sgd has a momentum; omit it or choose sgd",
            ),
            (
                # A factor of 0 is not missing: a sweep of factors may begin there.
                optimizer.name == "adamw" and techniques.weight_decay is None,
                "/training/optimizer/name",
                "adamw is adam with weight decay; give regularization.weight_decay, or choose adam",
            ),
            *(
                (
                    self.model.family not in technique.model_families,
                    f"/regularization/{name}",
                    technique.family_advice,
                )
                for name, technique in active.items()
            ),
            *(
                (
                    technique.strength
                    and not self.model.hidden_units
                    and self.model.family in technique.families_that_need_hidden_units,
                    "/".join(filter(None, ("/regularization", name, technique.strength_parameter))),
                    "it acts on hidden layers, and here are none; give model.hidden_units, or omit it",
                )
                for name, technique in active.items()
            ),
            (
                stopping and stopping.start_epoch > training.planned_epochs,
                "/regularization/early_stopping/start_epoch",
                f"training ends with epoch {training.planned_epochs}; begin no later, or omit early stopping",
            ),
            (
                averages_weights and "exponential_moving_average" in active,
                "/regularization/stochastic_weight_averaging",
                "only one average of the weights is possible; omit one of the two",
            ),
            (
                averages_weights and "batch_normalization" in active,
                "/regularization/stochastic_weight_averaging",
                (
                    "the mean of the weights would need its own batch statistics; use "
                    "exponential_moving_average"
                ),
            ),
        ]
        for is_wrong, pointer, detail in contradictions:
            if is_wrong:
                # A model's validator has no location of its own; the pointer travels in the context.
                raise PydanticCustomError("contradiction", "{detail}", {"pointer": pointer, "detail": detail})
        return self

    @property
    def spec_hash(self) -> str:
        """SHA-256 of all that can change the weights: equal hashes, equal weights (same data and engine)."""
        written = self.model_dump_json(exclude={"name", "labels", "priority"})
        # -0.0 equals 0.0: equal specifications must have equal hashes.
        document = json.loads(written, parse_float=lambda digits: float(digits) + 0.0)
        if self.training.max_seconds is None:
            # Specifications from before this field keep their hashes.
            del document["training"]["max_seconds"]
        if content := document["dataset"].pop("content", None):
            # The same name may stand for other images tomorrow.
            document["dataset"]["name"] = content["digest"]
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


class JobBatch(SpecPart):
    """Jobs to submit together."""

    jobs: Annotated[tuple[JobSpec, ...], Field(strict=False, min_length=1)]
