"""Fair tuning: each variant's own best settings, at the same price for all, before anything is judged. Pure.

Every variant, the baseline included, tries as many settings with as many seeds. Validation loss chooses; the
jobs that try settings never see the test images. Then the chosen settings run with the experiment's seeds,
and only those runs are compared.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise, takewhile
from math import inf, isfinite, prod
from statistics import fmean
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from models.dataset_spec import Seed
from models.run_key import RunKey, format_point, parse_point
from models.spec import bound_length

MOST_TUNED, MOST_TRIALS, MOST_CHOICES = 8, 500, 50
TRIAL = "trial"
"""Key of the trial's number in the point of a run, beside the value of each tuned field."""


class Parameter(BaseModel):
    """What a tuned field may be: a range, or one of some values."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    low: float | None = Field(None, description="Smallest value of a range")
    high: float | None = Field(None, description="Largest value of a range")
    scale: Literal["linear", "log"] = Field("linear", description="How values are spread over the range")
    integer: bool = Field(False, description="Whether values of the range are rounded to whole numbers")
    points: int | None = Field(
        None, ge=2, le=MOST_CHOICES, description="How many evenly spread values of the range a grid has"
    )
    values: Annotated[tuple[JsonValue, ...], Field(strict=False), bound_length(MOST_CHOICES)] | None = Field(
        None, description="Instead of a range: the values to choose from"
    )

    @model_validator(mode="after")
    def check_consistency(self) -> Self:
        low, high, values = self.low, self.high, self.values
        checks: list[tuple[object, str, str]] = [
            (values is None and low is None, "/low", "give low and high, or values"),
            (values is None and high is None, "/high", "give low and high, or values"),
            (
                values is not None and self != Parameter.model_construct(values=values),
                "/values",
                "give a range (low and high) or values, not both",
            ),
            (values is not None and not values, "/values", "give at least one value"),
            (
                values is not None and any(value in values[:index] for index, value in enumerate(values)),
                "/values",
                "a value is listed twice",
            ),
            (
                low is not None and high is not None and low >= high,
                "/low",
                "it must be smaller than high; for a single value change the variant or the base",
            ),
            (
                low is not None and self.scale == "log" and low <= 0,
                "/low",
                "a range on a log scale begins above 0",
            ),
        ]
        for is_wrong, pointer, detail in checks:
            if is_wrong:
                raise build_error(pointer, detail)
        return self

    def scale_value(self, share: float) -> JsonValue:
        """The value at a share of the way, from 0 up to 1, through the range or the list of values."""
        if self.values is not None:
            return self.values[min(int(share * len(self.values)), len(self.values) - 1)]
        low, high = self.low or 0.0, self.high or 0.0
        return self.get_value(
            low * (high / low) ** share if self.scale == "log" else low + (high - low) * share
        )

    def get_value(self, position: float) -> JsonValue:
        """The value at a position: one in the range, or the index of one of the values."""
        if self.values is not None:
            return self.values[int(position)]
        # Six digits say as much as people set by hand, and make equal settings look equal.
        return round(position) if self.integer else float(f"{position:.6g}")

    def find_position(self, value: JsonValue) -> float:
        """The position of a value that was tried; rounding may have moved it out of the range."""
        if self.values is not None:
            return self.values.index(value)
        assert isinstance(value, int | float)  # noqa: S101 (of a range)
        return min(max(value, self.low or 0.0), self.high or 0.0)

    def list_grid(self) -> list[JsonValue]:
        """The values of this parameter in a grid."""
        if self.values is not None:
            return list(self.values)
        points = self.points or 0
        return list(dict.fromkeys(self.scale_value(index / (points - 1)) for index in range(points)))


Parameters = Annotated[dict[str, Parameter], bound_length(MOST_TUNED)]
Setting = dict[str, JsonValue]
"""The value of each tuned field, by its JSON pointer."""


class VariantTuning(BaseModel):
    """What one variant tunes besides what all do."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    parameters: Parameters = Field(description="As in `tune`, such as the strength of its own technique")


class Tuning(BaseModel):
    """How settings are looked for before the variants are judged."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    parameters: Parameters = Field(
        {}, description="Tuned in every variant: fields of the job specification by their JSON pointers"
    )
    trials: int = Field(8, ge=1, le=MOST_TRIALS, description="Settings that each variant tries")
    seeds_per_trial: int = Field(2, ge=1, le=20, description="Jobs of each setting; their mean loss chooses")
    method: Literal["random", "quasi_random", "grid", "halving", "tpe"] = Field(
        "random",
        description="`random`: independent settings; `quasi_random`: spread evenly (a scrambled Halton "
        "sequence); `grid`: combinations of `values` and `points`, in random order; `halving`: random "
        "settings, of which the best go on after a few epochs (successive halving); `tpe`: in rounds, each "
        "from what the earlier ones have shown (a tree-structured Parzen estimator)",
    )
    parallel: int = Field(4, ge=1, le=100, description="`tpe`: how many settings a round has")
    eta: int = Field(3, ge=2, le=10, description="`halving`: of how many trials one goes on")
    min_epochs: int = Field(
        1, ge=1, description="`halving`: after how many epochs the first trials end; times `eta` the next"
    )
    metric: Literal["validation_loss"] = Field("validation_loss", description="What chooses; lower is better")
    seed: Seed = Field(0, description="Of the settings drawn, and of the tuning jobs' own seeds")
    settings: dict[str, list[Setting]] = Field(
        {},
        description="The settings so far, by variant; filled in as it goes on, ignored in a request",
    )
    promoted: dict[str, list[list[int]]] = Field(
        {},
        description="The trials that `halving` has let go on, by variant, once for each rung; filled in like "
        "`settings`",
    )
    chosen: dict[str, int] = Field(
        {},
        description="The trial whose setting each variant is judged with; filled in like `settings`",
    )

    @property
    def seeds(self) -> list[int]:
        """The seeds of all tuning jobs, the same for all trials and variants."""
        digests = (
            hashlib.sha256(f"tuning seed {self.seed}.{index}".encode()).digest() for index in range(100)
        )
        candidates = dict.fromkeys(int.from_bytes(digest[:4]) % 2**31 for digest in digests)
        return list(candidates)[: self.seeds_per_trial]

    def list_rungs(self, epochs: int) -> list[int]:
        """The epochs after which successive halving compares trials; the last is their end."""
        ends: Iterator[int] = (self.min_epochs * self.eta**rung for rung in count())
        return [*takewhile(lambda end: self.method == "halving" and end < epochs, ends), epochs]

    def count_promoted(self, rung: int) -> int:
        """How many trials of a variant come to a rung, at most."""
        survivors: int = self.trials // self.eta**rung
        return max(1, survivors)

    def count_epochs(self, epochs: int) -> int:
        """The budget of each variant: the epochs of all its trials with all seeds, where none stops early."""
        rungs = enumerate(pairwise([0, *self.list_rungs(epochs)]))
        one_seed = sum(self.count_promoted(rung) * (end - begin) for rung, (begin, end) in rungs)
        return one_seed * self.seeds_per_trial

    def compute_share(self, epochs: int) -> float:
        """The budget as a share of what it would be if every trial were trained to its end."""
        return self.count_epochs(epochs) / (epochs * self.trials * self.seeds_per_trial)

    def get_rung(self, variant: str, trial: int) -> int:
        """The rung that a trial is on, or has ended on; 0 is the first."""
        return sum(trial in promoted for promoted in self.promoted.get(variant, ()))

    def is_running(self, variant: str, trial: int) -> bool:
        """Whether a trial may still be chosen."""
        return variant not in self.chosen and self.get_rung(variant, trial) == len(
            self.promoted.get(variant, ())
        )

    def get_chosen(self, variant: str) -> Setting:
        """The setting that a variant is judged with; empty before it is chosen."""
        number = self.chosen.get(variant)
        return {} if number is None else self.settings[variant][number]


@dataclass(frozen=True)
class Trial:
    """A setting of a variant, and how its jobs have ended."""

    variant: str
    number: int
    setting: Setting
    losses: tuple[float | None, ...]
    """Of each seed the validation loss, of a job that waits for other trials after its last epoch; None where
    the job came to no such point."""

    @property
    def score(self) -> float:
        """What chooses, lower is better: a trial that failed with one of its seeds is the worst."""
        finished = [loss for loss in self.losses if loss is not None]
        return fmean(finished) if finished and len(finished) == len(self.losses) else inf


def build_point(number: int, setting: Mapping[str, Any]) -> str:
    """The point of a tuning run, as its key has it."""
    return format_point({TRIAL: number, **setting})


def parse_trial(key: RunKey) -> tuple[int, Setting]:
    """The number and the setting of a tuning run's trial."""
    setting = parse_point(key.point) or {}
    return setting.pop(TRIAL), setting


def count_grid_points(parameters: Mapping[str, Parameter]) -> int:
    """How many combinations a grid over these parameters has."""
    return prod(len(parameter.list_grid()) for parameter in parameters.values())


def choose_trial(trials: Sequence[Trial]) -> int:
    """The number of the trial with the lowest mean validation loss; of equal ones the first."""
    return min(trials, key=lambda trial: (trial.score, trial.number)).number


def promote_trials(trials: Sequence[Trial], count: int) -> list[int]:
    """The numbers of the `count` best trials, lower mean losses first; none that failed."""
    finished = [trial for trial in trials if isfinite(trial.score)]
    best = sorted(finished, key=lambda trial: (trial.score, trial.number))
    return [trial.number for trial in best[:count]]


def build_error(pointer: str, detail: str) -> PydanticCustomError:
    """An error of a model's validator, which has no location of its own."""
    return PydanticCustomError("contradiction", "{detail}", {"pointer": pointer, "detail": detail})
