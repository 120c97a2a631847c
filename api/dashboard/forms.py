"""The forms for new jobs and experiments, derived from the models that validate what is posted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import floor, log10
from statistics import fmean
from typing import Any, Literal

from pydantic import BaseModel

from api.experiments.presets import PRESETS
from models.cost import estimate_cost
from models.dataset_cards import DATASETS
from models.dataset_spec import DatasetSpec
from models.evaluation_spec import EvaluationSpec
from models.experiments import ExperimentSpec
from models.spec import Cnn, JobSpec, Mlp, OptimizerSpec, TrainingSpec
from models.stopping_rules import STOPPING_RULES, WidthRule
from models.techniques import CATALOGUE, TechniqueCard

Kind = Literal["number", "integer", "boolean", "choice", "numbers", "text"]
Scale = Literal["linear", "log"]

_LOG_RATIO = 50
"""A slider is logarithmic if its largest value is at least this many times the default."""
_KINDS: dict[str, Kind] = {"array": "numbers", "boolean": "boolean", "integer": "integer", "number": "number"}
_STEPS = 100
_LOG_DECADES = 3
"""How far below its default a logarithmic slider begins if the minimum is 0."""
_SUGGESTED_VALUES = {
    "/dataset/train_samples": "250, 1000, 4000",
    "/model/hidden_units": "16, 64, 256",
    "/model/filters": "8-16, 16-32, 32-64",
    "/dataset/label_noise": "0, 0.2, 0.4",
}
_ADVANCED = {"/dataset/validation_split", "/dataset/split_seed", "/priority"}
_LABELS = {
    "/dataset/name": "Dataset",
    "/dataset/train_samples": "Training examples",
    "/dataset/validation_fraction": "Validation share",
    "/training/optimizer/name": "Optimizer",
}


@dataclass(frozen=True)
class Control:
    """One field of a form."""

    pointer: str
    """To its value in the specification (JSON pointer)."""
    label: str
    kind: Kind
    default: Any
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] = ()
    optional: bool = False
    """Whether it may be empty."""
    advanced: bool = False
    """Whether it is folded away because few users need it."""

    @property
    def scale(self) -> Scale | None:
        """Of its slider; None: it has none, because it is unbounded or goes up to 2**31."""
        if self.kind not in ("number", "integer") or self.minimum is None or self.maximum is None:
            return None
        if self.maximum >= 2**31 - 1:
            return None
        typical = self.default or self.minimum
        return "log" if self.minimum >= 0 and typical and self.maximum / typical >= _LOG_RATIO else "linear"

    @property
    def slider_minimum(self) -> float | None:
        """The start of its slider: a logarithmic one never reaches 0."""
        if self.scale != "log" or self.minimum is None or self.minimum > 0:
            return self.minimum
        return float(f"{self.default / 10**_LOG_DECADES:.0e}") if self.default else None

    @property
    def step(self) -> float:
        """Of a linear slider: a round value that gives about a hundred steps."""
        if self.kind == "integer" or self.minimum is None or self.maximum is None:
            return 1
        finest = (self.maximum - self.minimum) / _STEPS
        power = 10.0 ** floor(log10(finest))
        return float(f"{next(power * n for n in (1, 2, 5, 10) if power * n >= finest):.0e}")

    @property
    def default_text(self) -> str:
        """The default as a user would type it."""
        return format_value(self.default)

    @property
    def suggested_values(self) -> str:
        """Values of an axis to begin with: a sixteenfold range about the default, within the bounds."""
        if self.pointer in _SUGGESTED_VALUES:
            return _SUGGESTED_VALUES[self.pointer]
        if not isinstance(self.default, int | float) or not self.default:
            return self.default_text
        low, high = self.minimum or 0, self.maximum or float("inf")
        values = [type(self.default)(self.default * factor) for factor in (1 / 4, 1, 4)]
        return ", ".join(format_value(value) for value in values if low <= value <= high)

    @property
    def bounds(self) -> str | None:
        """The range of its slider as text."""
        return None if self.scale is None else f"{format_value(self.minimum)} to {format_value(self.maximum)}"


@dataclass(frozen=True)
class Group:
    """Fields that are visible together, perhaps only while another field has a certain value."""

    controls: tuple[Control, ...]
    when: tuple[str, str] | None = None
    """The pointer of that field, and the value."""
    initially_visible: bool = True


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
    card: TechniqueCard
    controls: tuple[Control, ...]


def format_value(value: Any) -> str:
    """A value of a specification as a user would type it."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(format_value, value))
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def build_sections(datasets: Sequence[str] = tuple(DATASETS)) -> tuple[Section, ...]:
    """The fields of a job except its techniques; `datasets` may be chosen from."""
    name = _build_controls(DatasetSpec, "/dataset", exclude=tuple({*DatasetSpec.model_fields} - {"name"}))
    images = _build_controls(DatasetSpec, "/dataset", exclude=("name", "content", "part"))
    dataset = replace(name[0], kind="choice", choices=tuple(datasets))
    mlp = _build_controls(Mlp, "/model", exclude=("family",))
    cnn = _build_controls(Cnn, "/model", exclude=("family",))
    family = Control(
        "/model/family",
        "Network",
        "choice",
        "mlp",
        "`mlp`: fully connected layers only; `cnn`: convolutions, each with 2x2 max pooling, before them",
        choices=("mlp", "cnn"),
    )
    optimizer = _build_controls(OptimizerSpec, "/training/optimizer", exclude=("momentum",))
    momentum = _build_controls(OptimizerSpec, "/training/optimizer", exclude=("name", "learning_rate"))
    return (
        Section("dataset", "Images", (Group((dataset, *images)),)),
        Section(
            "model",
            "Network",
            (
                Group((family,)),
                Group(mlp, ("/model/family", "mlp")),
                Group(cnn, ("/model/family", "cnn"), initially_visible=False),
            ),
        ),
        Section(
            "training",
            "Training",
            (
                Group(_build_controls(TrainingSpec, "/training", exclude=("optimizer",))),
                Group(optimizer),
                Group(momentum, ("/training/optimizer/name", "sgd"), initially_visible=False),
                Group(_build_controls(EvaluationSpec, "/evaluation")),
            ),
        ),
    )


def build_job_section() -> Section:
    """The other fields of a job: its name, its seed, its priority."""
    nested = ("labels", "dataset", "model", "regularization", "training", "evaluation")
    return Section("job", "The job", (Group(_build_controls(JobSpec, "", exclude=nested)),))


def build_experiment_rules() -> tuple[Control, ...]:
    """The fields of an experiment other than its name, base, variants, seeds and stopping rule."""
    others = set(ExperimentSpec.model_fields) - {"allow_confounders", "reuse", "split_per_seed", "parts"}
    rules = _build_controls(ExperimentSpec, "", exclude=tuple(others))
    # A switch has no third position for null, which stands for true unless that would change nothing.
    return tuple(
        replace(control, default=control.default is not False) if control.kind == "boolean" else control
        for control in rules
    )


def build_stopping_rule() -> Section:
    """The kind of an experiment's stopping rule, and its fields."""
    controls = {control.pointer: control for control in _build_controls(WidthRule, "/stopping_rule")}
    kind = replace(controls.pop("/stopping_rule/kind"), kind="choice", choices=tuple(STOPPING_RULES))
    shared = controls.pop("/stopping_rule/max_jobs")
    of_width = Group(tuple(controls.values()), (kind.pointer, "width"))
    return Section("stopping_rule", "Add seeds automatically", (Group((kind,)), of_width, Group((shared,))))


def build_families() -> dict[str, list[TechniqueChoice]]:
    """All techniques, by the part of training that they act on."""
    families: dict[str, list[TechniqueChoice]] = {}
    for name, technique in CATALOGUE.items():
        summary = technique.model_json_schema()["description"]
        controls = _build_controls(technique, f"/regularization/{name}")
        choice = TechniqueChoice(name, summary, technique.about, controls)
        families.setdefault(technique.group, []).append(choice)
    return families


def build_axis_choices() -> dict[str, list[Control]]:
    """The numeric fields that an axis may vary, by what they belong to."""
    controls = {
        section.title: [control for group in section.groups for control in group.controls]
        for section in build_sections()
    } | {choice.card.title: [*choice.controls] for family in build_families().values() for choice in family}
    choices = {}
    for title, candidates in controls.items():
        # Both kinds of network have hidden units.
        numeric = {item.pointer: item for item in candidates if item.kind in ("number", "integer", "numbers")}
        if numeric:
            choices[title] = [*numeric.values()]
    return choices


def _build_controls(
    model: type[BaseModel], under: str, *, exclude: tuple[str, ...] = ()
) -> tuple[Control, ...]:
    properties: Mapping[str, Mapping[str, Any]] = model.model_json_schema()["properties"]
    controls = []
    for name, schema in properties.items():
        if name in exclude:
            continue
        pointer, alternatives = f"{under}/{name}", schema.get("anyOf", [schema])
        typed = next(schema for schema in alternatives if schema.get("type") != "null")
        kind = "choice" if "enum" in typed else _KINDS.get(typed["type"], "text")
        # What is null in a document is an empty field here, and no position of a switch.
        text, of_null, meaning = schema.get("description", "").partition("; null: ")
        control = Control(
            pointer=pointer,
            label=_LABELS.get(pointer, name.replace("_", " ").capitalize()),
            kind=kind,
            default=schema.get("default"),
            help=f"{text}; empty: {meaning}" if of_null and kind != "boolean" else text,
            minimum=typed.get("minimum", typed.get("exclusiveMinimum")),
            maximum=typed.get("maximum", typed.get("exclusiveMaximum", typed.get("maxLength"))),
            choices=tuple(typed.get("enum", ())),
            optional=len(alternatives) > 1,
            advanced=pointer in _ADVANCED,
        )
        controls.append(control)
    return tuple(controls)


@cache
def price_preset(name: str) -> tuple[int, float, int]:
    """How many jobs a preset has, their operations in total, and how many programs they compile."""
    spec = PRESETS[name].spec
    runs = [
        spec.build_run_spec(variant, spec.run_seeds[0], point=point)
        for variant in spec.variants
        for point in spec.points
    ]
    # What a preset trains for tuning is as large as what it judges.
    operations = fmean(estimate_cost(run).total_flops for run in runs)
    return spec.planned_jobs, operations * spec.planned_jobs, len(runs)
