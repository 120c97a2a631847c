"""An experiment: one base specification, variants of it, and seeds; each variant runs once with each seed."""

import json
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from models.axes import Axes, apply_point, list_points
from models.dataset_spec import DatasetSpec, Seed
from models.documents import Document, merge_patch
from models.identifiers import ID_PATTERN
from models.metrics import METRICS
from models.parts import PartCount, has_too_small_parts
from models.run_key import NO_PART, Purpose, RunKey, format_point
from models.spec import STORED, VISIBLE, WITHOUT_NUL, JobSpec, bound_length
from models.stopping_rules import DecideRule, StoppingRule, WidthRule
from models.tuning import Parameters, Setting, Tuning, VariantTuning, build_error, build_point, parse_trial

MAX_VARIANT_NAME, MAX_EXPERIMENT_NAME = 100, 200
"""Letters."""


class Variant(BaseModel):
    """A named change to the base."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(min_length=1, max_length=MAX_VARIANT_NAME), WITHOUT_NUL, VISIBLE] = Field(
        description="Unique within the experiment"
    )
    changes: Document = Field(
        {},
        description="JSON merge patch (RFC 7396) on the base: null removes, "
        "objects merge, other values replace",
    )
    tune: VariantTuning | None = Field(
        None,
        # Variants that tune nothing are written as before there was tuning.
        exclude_if=lambda tune: tune is None,
        description="What this variant tunes besides `tune` of the experiment; null: nothing",
    )


MOST_VARIANTS = 100
MOST_SEEDS = 1000
FEWEST_PAIRS = 6
"""With n pairs the exact sign-flip test's smallest two-sided p is 2 / 2^n: 6 are the first below 5 %."""
Inference = Literal["fixed", "sequential"]
if TYPE_CHECKING:
    PrimaryMetric = str
else:
    PrimaryMetric = Literal[*(metric.name for metric in METRICS.values() if metric.compared == "tested")]


class Regime(StrEnum):
    """By which rule a report may call differences."""

    INTERIM = "interim"
    """A fixed plan is not complete: intervals hold at every look, and nothing is called."""
    FIXED = "fixed"
    """A fixed plan is complete and was never changed: one test of the whole family."""
    EXTENDED = "extended"
    """The plan was changed when there were results: as sequential, at a stricter level."""
    SEQUENTIAL = "sequential"
    """Planned to be looked at: intervals that hold at every look."""


class ExperimentSpec(BaseModel):
    """What `POST /v1/experiments` takes, once a preset is resolved."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(min_length=1, max_length=MAX_EXPERIMENT_NAME), WITHOUT_NUL, VISIBLE]
    base: JobSpec = JobSpec()
    variants: Annotated[
        tuple[Variant, ...],
        Field(strict=False, max_length=MOST_VARIANTS, json_schema_extra={"minItems": 1}),
        bound_length(MOST_VARIANTS),
    ]
    seeds: Annotated[
        tuple[Seed, ...],
        Field(
            strict=False,
            max_length=MOST_SEEDS,
            json_schema_extra={"minItems": 1},
            description="Each variant runs once with each seed",
        ),
        bound_length(MOST_SEEDS),
    ] = (0,)
    replicates: int | None = Field(
        None, ge=1, le=MOST_SEEDS, description="Instead of `seeds`: the seeds 0 to replicates - 1"
    )
    parts: PartCount = None
    axes: Axes = ()
    tune: Tuning | None = Field(
        None,
        exclude_if=lambda tune: tune is None,
        description="Choose each variant's settings by validation first, at the same price, and judge the "
        "chosen ones only; null: every variant is judged as it is",
    )
    baseline: str | None = Field(
        None, description="The variant that others are compared with; null: the first"
    )
    confirms: Annotated[str, Field(pattern=ID_PATTERN)] | None = Field(
        None,
        description="The experiment that this one follows up on seeds that it has not used: what is left "
        "out is as there, and `variants` may name some of its variants; null: none",
    )
    allow_confounders: bool = Field(
        False, description="Whether variants may differ from the baseline in more than regularization"
    )
    reuse: bool = Field(
        True,
        description="Whether a job that has succeeded before with the same specification, data and engine is "
        "reused instead of trained again",
    )
    split_per_seed: bool | None = Field(
        None,
        validate_default=True,
        description="Whether each seed draws its own split, subset and label noise, the same for all "
        "variants: `split_seed` is then the base's plus the seed; null: if the base has any of them to draw",
    )
    stopping_rule: StoppingRule | None = Field(
        None,
        description="Add seeds until every variant is decided (`decide`) or an interval is narrow enough "
        "(`width`, also without `kind`); null: only the listed ones",
    )
    inference: Inference = Field(
        "fixed",
        description="When differences may be called: `fixed`, once, when every planned run has ended; "
        "`sequential`, at every look, by wider intervals that allow for it",
    )
    primary: Annotated[tuple[PrimaryMetric, ...], Field(strict=False, json_schema_extra={"minItems": 1})] = (
        Field(
            ("test_accuracy", "test_loss"), description="What is tested; all other metrics are only described"
        )
    )
    margin_points: float = Field(
        0.2, gt=0, le=100, description="Accuracies that differ by less, in points, are practically equal"
    )
    margin_loss: float | None = Field(
        None, gt=0, le=100, description="The same of test losses, in nats; null: losses are not called equal"
    )

    @field_validator("split_per_seed")
    @classmethod
    def resolve_split_per_seed(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        base: JobSpec | None = info.data.get("base")
        if value is not None or base is None:
            return value
        # Experiments from before this field shared one split.
        return info.context is not STORED and bool(
            base.dataset.drawn_parts
            or info.data.get("parts")
            or any(axis.field.startswith("/dataset/") for axis in info.data.get("axes", ()))
        )

    @model_validator(mode="after")
    def check_consistency(self) -> Self:
        # Not Field's min_length, which also complains of too few where one is out of bounds.
        for field in ("variants", "seeds", "primary"):
            if not getattr(self, field):
                raise build_error(f"/{field}", f"give at least one {field.removesuffix('s')}")
        names = [variant.name for variant in self.variants]
        others, dataset = set(names) - {self.baseline_name}, self.base.dataset
        checks = (
            (_repeats(names), "/variants", "two variants have the same name; names must be unique"),
            (_repeats(self.seeds), "/seeds", "a seed is listed twice; equal seeds give equal weights"),
            (_repeats(self.primary), "/primary", "a metric is listed twice"),
            (
                self.replicates is not None and "seeds" in self.model_fields_set,
                "/replicates",
                "give seeds or replicates, not both",
            ),
            (
                self.parts and dataset.part,
                "/base/dataset/part",
                "the experiment sets it for each run; omit it",
            ),
            (
                self.parts and has_too_small_parts(dataset.rows, self.parts, dataset.classes),
                "/parts",
                f"{dataset.rows:,} examples are too few; each part needs two of each class",
            ),
            (
                self.base.evaluation.memorization and not self.split_per_seed,
                "/base/evaluation/memorization",
                "seeds share their training images; omit split_per_seed, and use train_samples or parts",
            ),
            (
                self.baseline_name not in names,
                "/baseline",
                f"no variant has this name; choose one of {', '.join(names)}",
            ),
            (
                isinstance(self.stopping_rule, WidthRule) and self.stopping_rule.variant not in others,
                "/stopping_rule/variant",
                "name one of the variants that is not the baseline",
            ),
            (
                isinstance(self.stopping_rule, WidthRule) and self.axes,
                "/stopping_rule/kind",
                "with axes there are several intervals; choose decide, or leave it out",
            ),
            (
                isinstance(self.stopping_rule, DecideRule) and not others,
                "/stopping_rule/kind",
                "there is one variant only, and nothing to decide",
            ),
            (
                not self.closed.keys() <= others,
                "/stopping_rule/closed",
                "name variants that are not the baseline, or leave it out",
            ),
        )
        for wrong, pointer, detail in checks:
            if wrong:
                raise build_error(pointer, detail)
        return self

    @property
    def run_seeds(self) -> list[int]:
        """The seeds that every variant runs with."""
        return list(range(self.replicates)) if self.replicates else list(self.seeds)

    @property
    def closed(self) -> Mapping[str, int]:
        """The variants that get no more seeds, with how many of the first ones each runs with."""
        return self.stopping_rule.closed if isinstance(self.stopping_rule, DecideRule) else {}

    @property
    def points(self) -> list[Document]:
        """The combinations of the axes' values, each value by its field; without axes an empty one."""
        return list_points([{"field": axis.field, "values": axis.values} for axis in self.axes])

    @property
    def planned_jobs(self) -> int:
        """How many runs there will be, those of tuning included."""
        tune = self.own_tuning
        tuning = tune.trials * tune.seeds_per_trial * len(self.variants) if tune else 0
        return self.judged_jobs + tuning

    @property
    def judged_jobs(self) -> int:
        """How many runs are compared."""
        seeds = len(self.run_seeds)
        runs = sum(min(seeds, self.closed.get(variant.name, seeds)) for variant in self.variants)
        return runs * (self.parts or 1) * len(self.points)

    @property
    def baseline_name(self) -> str:
        """The variant that the others are compared with."""
        return self.baseline or self.variants[0].name

    @property
    def inference_rule(self) -> Inference:
        """How differences are judged: who adds seeds by a rule has not fixed their number."""
        return "sequential" if self.stopping_rule else self.inference

    @property
    def own_tuning(self) -> Tuning | None:
        """The tuning that has trials here: a follow-up judges what its pilot has chosen."""
        return None if self.confirms else self.tune

    @property
    def is_tuned(self) -> bool:
        """Whether the setting of every variant is chosen, or none is tuned."""
        return not self.tune or all(variant.name in self.tune.chosen for variant in self.variants)

    @property
    def grows(self) -> bool:
        """Whether it adds runs by itself when those that it has have ended."""
        return self.stopping_rule is not None or not self.is_tuned

    def find_pause(self, key: RunKey, epochs: int) -> int | None:
        """The epoch after which a run of so many waits for the other trials of successive halving."""
        if self.tune is None or key.purpose != Purpose.TUNE or self.tune.method != "halving":
            return None
        trial, _ = parse_trial(key)
        rung = self.tune.get_rung(key.variant, trial)
        end = self.tune.list_rungs(epochs)[rung]
        return end if end < epochs and self.tune.is_running(key.variant, trial) else None

    def get_parameters(self, variant: Variant) -> Parameters:
        """What a variant tunes, by field: what all do, and its own."""
        return (self.tune.parameters if self.tune else {}) | (variant.tune.parameters if variant.tune else {})

    def forget_tuning(self) -> Self:
        """The same experiment as it was submitted: what its tuning has filled in is left out."""
        return self.model_copy(
            update={
                "tune": self.tune
                and self.tune.model_copy(update={"settings": {}, "promoted": {}, "chosen": {}})
            }
        )

    def resolve_seeds(self) -> Self:
        """The same experiment with its seeds spelt out."""
        return self.model_copy(update={"seeds": tuple(self.run_seeds), "replicates": None})

    def build_runs(self, existing: Collection[RunKey] = ()) -> list[tuple[RunKey, JobSpec]]:
        """Every run's key and specification, seed by seed, so that pairs finish together.

        With tuning only the trials' until every variant's setting is chosen. Those whose key is among
        `existing` are left out.

        Raises:
            pydantic.ValidationError: a change does not make a valid specification; see
                models/experiment_checks.py.
        """
        variants, tune = {variant.name: variant for variant in self.variants}, self.own_tuning
        tuning = [
            (key, self.build_trial_spec(variants[name], seed, number, setting))
            for name, settings in (tune.settings if tune else {}).items()
            for number, setting in enumerate(settings)
            for seed in (tune.seeds if tune else ())
            if name in variants
            and (key := RunKey(name, seed, build_point(number, setting), purpose=Purpose.TUNE))
            not in existing
        ]
        if not self.is_tuned:
            return tuning
        return tuning + [
            (key, self.build_run_spec(variant, seed, part, point))
            for index, seed in enumerate(self.run_seeds)
            for part in range(self.parts or 1)
            for point in self.points
            for variant in self.variants
            if index < self.closed.get(variant.name, MOST_SEEDS)
            and (key := self._build_key(variant, seed, part, point)) not in existing
        ]

    def build_run_spec(
        self,
        variant: Variant,
        seed: int,
        part: int = 0,
        point: Document | None = None,
        *,
        context: dict[str, bool] | None = STORED,
    ) -> JobSpec:
        """The specification of one run, of the first point unless one is given.

        models/experiment_checks.py refuses what may not be submitted.
        """
        document = merge_patch(self.base.model_dump(mode="json"), variant.changes)
        if self.tune:
            apply_point(document, self.tune.get_chosen(variant.name))
        point = self.points[0] if point is None else point
        apply_point(document, point)
        document |= {"seed": seed, "name": self._build_key(variant, seed, part, point).name}
        # A variant may have replaced all of it.
        dataset = document.setdefault("dataset", {})
        if isinstance(dataset, dict):
            if self.parts:
                dataset["part"] = {"of": self.parts, "index": part}
            if self.split_per_seed:
                dataset["split_seed"] = (self.base.dataset.split_seed + seed) % 2**31
        # Through JSON, so that a change is judged exactly as a posted job is.
        return JobSpec.model_validate_json(json.dumps(document), context=context)

    def build_trial_spec(
        self,
        variant: Variant,
        seed: int,
        number: int,
        setting: Setting,
        *,
        context: dict[str, bool] | None = STORED,
    ) -> JobSpec:
        """The specification of a tuning run, which never sees the test images."""
        document = self.build_run_spec(variant, seed).model_dump(mode="json")
        apply_point(document, setting)
        key = RunKey(variant.name, seed, build_point(number, setting), purpose=Purpose.TUNE)
        document |= {"name": key.name, "evaluation": {"test": False}}
        return JobSpec.model_validate_json(json.dumps(document), context=context)

    def _build_key(self, variant: Variant, seed: int, part: int, point: Document) -> RunKey:
        return RunKey(variant.name, seed, format_point(point), part if self.parts else NO_PART)


def find_datasets(document: Document) -> list[DatasetSpec]:
    """The datasets that an experiment's variants are trained on."""
    documents = [merge_patch(document["base"], variant["changes"]) for variant in document["variants"]]
    return [DatasetSpec.model_validate(variant["dataset"]) for variant in documents]


def _repeats(values: Sequence[object]) -> bool:
    return len(set(values)) < len(values)
