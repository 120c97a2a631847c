"""What the forms for new jobs and experiments ask for, from the very fields that check what is posted."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor, log10
from typing import Any, Literal

from pydantic import BaseModel

from models.experiments import ExperimentSpec, StoppingRule
from models.spec import Cnn, DatasetSpec, JobSpec, Mlp, OptimizerSpec, TrainingSpec
from models.techniques import CATALOGUE, TechniqueCard

Kind = Literal["number", "integer", "boolean", "choice", "numbers", "text"]
Scale = Literal["linear", "log"]

_LOG_FROM = 50
"""Where the largest value is so many times the usual one, even steps would crowd what matters at one end."""
_STEPS = 100
_LOG_DECADES = 3
"""How far below its default a logarithmic slider reaches where 0 is allowed."""
_RARE = {"/dataset/validation_split", "/dataset/split_seed", "/priority"}
_LABELS = {
    "/dataset/name": "Dataset",
    "/dataset/train_samples": "Training examples",
    "/dataset/validation_fraction": "Validation share",
    "/training/optimizer/name": "Optimizer",
}

_FAMILIES = {
    "noise": "Noise in the network",
    "inputs": "The images",
    "weights": "Weights and activations",
    "activity": "Weights and activations",
    "normalization": "Normalization",
    "targets": "The targets",
    "schedule": "The course of training",
    "averaging": "Averages of the weights",
}
"""What the techniques of each module of models/techniques take hold of."""


@dataclass(frozen=True)
class Control:
    """One field of a form."""

    pointer: str
    """Where its value lies in the specification (JSON pointer)."""
    label: str
    kind: Kind
    default: Any
    help: str
    least: float | None = None
    most: float | None = None
    choices: tuple[Any, ...] = ()
    optional: bool = False
    """Whether it may be left empty."""
    rare: bool = False
    """Whether hardly anybody needs it, so that it may be folded away."""

    @property
    def scale(self) -> Scale | None:
        """How a slider for it runs; None: it has none, because it lacks bounds or is open to 2**31."""
        if self.kind not in ("number", "integer") or self.least is None or self.most is None:
            return None
        if self.most >= 2**31 - 1:
            return None
        usual = self.default or self.least
        return "log" if self.least >= 0 and usual and self.most / usual >= _LOG_FROM else "linear"

    @property
    def slider_least(self) -> float | None:
        """Where its slider begins: a logarithmic one never reaches 0."""
        if self.scale != "log" or self.least is None or self.least > 0:
            return self.least
        return float(f"{self.default / 10**_LOG_DECADES:.0e}") if self.default else None

    @property
    def step(self) -> float:
        """Of a linear slider: a hundred steps or so from end to end, at round values."""
        if self.kind == "integer" or self.least is None or self.most is None:
            return 1
        finest = (self.most - self.least) / _STEPS
        power = 10.0 ** floor(log10(finest))
        return float(f"{next(power * item for item in (1, 2, 5, 10) if power * item >= finest):.0e}")

    @property
    def shown(self) -> str:
        """The default as a person would type it."""
        return shown(self.default)

    @property
    def bounds(self) -> str | None:
        """What a number may be, in words; None where that goes without saying."""
        return None if self.scale is None else f"{shown(self.least)} to {shown(self.most)}"


@dataclass(frozen=True)
class Group:
    """Fields that belong together, and when: only while another field has this value."""

    controls: tuple[Control, ...]
    when: tuple[str, str] | None = None
    """The pointer of that field, and its value."""
    at_first: bool = True
    """Whether that field has that value when the form opens."""


@dataclass(frozen=True)
class Section:
    """A heading of the form and its fields."""

    name: str
    title: str
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class TechniqueChoice:
    """A technique that can be switched on, its explanation and its fields."""

    name: str
    summary: str
    """What it does, in one short sentence."""
    about: TechniqueCard
    controls: tuple[Control, ...]


@dataclass(frozen=True)
class Family:
    """Techniques that take hold of the same thing."""

    title: str
    techniques: tuple[TechniqueChoice, ...]


def shown(value: Any) -> str:
    """A value of a specification as a person would type it."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def sections() -> tuple[Section, ...]:
    """Everything of a job but its techniques."""
    mlp = _controls(Mlp, "/model", leave_out=("family",))
    cnn = _controls(Cnn, "/model", leave_out=("family",))
    family = Control(
        "/model/family",
        "Network",
        "choice",
        "mlp",
        "`mlp`: fully connected layers alone; `cnn`: convolutions, each with 2x2 max pooling, before them",
        choices=("mlp", "cnn"),
    )
    optimizer = _controls(OptimizerSpec, "/training/optimizer", leave_out=("momentum",))
    momentum = _controls(OptimizerSpec, "/training/optimizer", leave_out=("name", "learning_rate"))
    return (
        Section("dataset", "Images", (Group(_controls(DatasetSpec, "/dataset")),)),
        Section(
            "model",
            "Network",
            (
                Group((family,)),
                Group(mlp, ("/model/family", "mlp")),
                Group(cnn, ("/model/family", "cnn"), at_first=False),
            ),
        ),
        Section(
            "training",
            "Training",
            (
                Group(_controls(TrainingSpec, "/training", leave_out=("optimizer",))),
                Group(optimizer),
                Group(momentum, ("/training/optimizer/name", "sgd"), at_first=False),
            ),
        ),
    )


def job() -> Section:
    """What a job has besides: its name, its seed, its priority."""
    nested = ("labels", "dataset", "model", "regularization", "training")
    return Section("job", "The job", (Group(_controls(JobSpec, "", leave_out=nested)),))


def experiment_rules() -> tuple[Control, ...]:
    """How an experiment is carried out: what it has besides its name, base, variants and seeds."""
    rules = {"allow_confounders", "reuse"}
    return _controls(ExperimentSpec, "", leave_out=tuple(set(ExperimentSpec.model_fields) - rules))


def stopping_rule_controls() -> tuple[Control, ...]:
    """When an experiment stops adding seeds by itself."""
    return _controls(StoppingRule, "/stopping_rule")


def families() -> tuple[Family, ...]:
    """Every technique of the catalogue, by what it takes hold of."""
    results: dict[str, list[TechniqueChoice]] = {}
    for name, technique in CATALOGUE.items():
        schema = technique.model_json_schema()
        choice = TechniqueChoice(
            name, schema["description"], technique.about, _controls(technique, f"/regularization/{name}")
        )
        results.setdefault(_FAMILIES[technique.__module__.rpartition(".")[2]], []).append(choice)
    return tuple(Family(title, tuple(choices)) for title, choices in results.items())


def _controls(model: type[BaseModel], under: str, *, leave_out: tuple[str, ...] = ()) -> tuple[Control, ...]:
    properties: Mapping[str, Mapping[str, Any]] = model.model_json_schema()["properties"]
    return tuple(
        _control(f"{under}/{name}", schema) for name, schema in properties.items() if name not in leave_out
    )


def _control(pointer: str, schema: Mapping[str, Any]) -> Control:
    alternatives = schema.get("anyOf", [schema])
    typed = next(alternative for alternative in alternatives if alternative.get("type") != "null")
    name = pointer.rpartition("/")[2]
    return Control(
        pointer=pointer,
        label=_LABELS.get(pointer, name.replace("_", " ").capitalize()),
        kind=_kind(typed),
        default=schema.get("default"),
        help=schema.get("description", ""),
        least=typed.get("minimum", typed.get("exclusiveMinimum")),
        most=typed.get("maximum", typed.get("exclusiveMaximum", typed.get("maxLength"))),
        choices=tuple(typed.get("enum", ())),
        optional=len(alternatives) > 1,
        rare=pointer in _RARE,
    )


def _kind(schema: Mapping[str, Any]) -> Kind:
    if "enum" in schema:
        return "choice"
    kinds: dict[str, Kind] = {
        "array": "numbers",
        "boolean": "boolean",
        "integer": "integer",
        "number": "number",
    }
    return kinds.get(schema["type"], "text")
