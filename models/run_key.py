"""What tells an experiment's runs apart: (variant, point, part, seed, purpose); pairs share the last four."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import Any, Self

from models.stopping_rules import get_closed
from models.techniques import CATALOGUE

NO_PART = -1
MAX_RUN_NAME = 200
"""Letters."""
# What the values of these fields count, said after them; other fields are named before their values.
_UNITS = {"/dataset/train_samples": "training examples", "/training/epochs": "epochs"}


class Purpose(StrEnum):
    """What a run is trained for."""

    JUDGE = "judge"
    """Its test metrics are compared."""
    TUNE = "tune"
    """It only helps to choose settings."""


@dataclass(frozen=True)
class RunKey:
    """A run's place in its experiment, as the columns of the tables have it."""

    variant: str
    seed: int
    point: str = ""
    """The value of each axis by its field, as JSON; empty without axes."""
    part: int = NO_PART
    """The index of the part of the training data; NO_PART where it is not divided."""
    purpose: Purpose = Purpose.JUDGE

    @classmethod
    def from_row(cls, row: Any) -> Self:
        """The key in a row, or selected columns, of experiment runs."""
        return cls(row.variant, row.seed, row.point, row.part, Purpose(row.purpose))

    @property
    def name(self) -> str:
        """For people: `dropout, seed 3, 250 training examples, part 1`."""
        place = [describe_point(parse_point(self.point)), "" if self.part == NO_PART else f"part {self.part}"]
        return ", ".join(filter(None, [self.variant, f"seed {self.seed}", *place]))[:MAX_RUN_NAME]


def format_point(values: Mapping[str, Any]) -> str:
    """A point of the axes, the value of each by its field, as keys have it."""
    return json.dumps(values) if values else ""


def name_row(row: Any) -> str | None:
    """The name of a listed job: its own, or its run's in an experiment that uses a job of another one."""
    is_reused = row.name is None and row.variant is not None
    return RunKey.from_row(row).name if is_reused else row.name


def describe_point(point: Mapping[str, Any] | None) -> str:
    """A point in words, as `250 training examples, hidden units 64`; empty without axes."""
    values = (point or {}).items()
    return ", ".join(name_axis_value(field, format_axis_value(field, value)) for field, value in values)


def name_axis_value(field: str, value: str) -> str:
    """A value, or several, with what it is of: `250 and 500 training examples`, `L2 factor 0.001`."""
    if field not in _UNITS:
        return f"{name_axis(field)} {value}"
    return f"{value} {_UNITS[field].removesuffix('s') if value == '1' else _UNITS[field]}"


def name_variant(variant: str, point: Mapping[str, Any] | None) -> str:
    """A variant at a point, in words; the variant alone without axes."""
    return ", ".join(filter(None, [variant, describe_point(point)]))


def name_axis(field: str) -> str:
    """The field of an axis in words: `training examples`, `optimizer`, and with its technique `L2 factor`."""
    if field in _UNITS:
        return _UNITS[field]
    *path, name = field.removesuffix("/name").split("/")
    if "regularization" in path and path[-1] in CATALOGUE:
        name = f"{CATALOGUE[path[-1]].about.short_title} {name}"
    return name.replace("_", " ")


def format_axis_value(field: str, value: Any) -> str:
    """A value of an axis as people write it: `1,000`, text bare, layers `512-64`, null as what it means."""
    if isinstance(value, list):
        return "-".join(map(str, value)) or "none"
    if value is None:
        return "all" if field.endswith("_samples") else "none"
    if isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer():
        return f"{int(value):,}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def format_tuned_value(field: str, value: Any) -> str:
    """A value that tuning tries, for people: three significant digits at most, as `0.00123` or `1e-06`."""
    # An integer has as many digits as it takes, also where it is stored as a float.
    if isinstance(value, float) and not value.is_integer():
        rounded = float(f"{value:.3g}")
        # A momentum of 0.9998 is not 1.
        value = value if abs(value) < 1 == abs(rounded) else rounded
    return format_axis_value(field, value)


def count_runs(document: Mapping[str, Any]) -> int:
    """How many runs an experiment's document, its seeds spelt out, asks for so far."""
    # The trials of a follow-up are its pilot's.
    tune = None if document.get("confirms") else document.get("tune")
    tried: int = tune["seeds_per_trial"] * sum(map(len, tune["settings"].values())) if tune else 0
    return tried + count_judged_runs(document) * is_tuned(document)


def is_tuned(document: Mapping[str, Any]) -> bool:
    """Whether every variant of an experiment's document has its setting, or none is tuned."""
    tune = document.get("tune")
    return not tune or all(variant["name"] in tune["chosen"] for variant in document["variants"])


def count_later_runs(document: Mapping[str, Any]) -> int:
    """How many runs an experiment's document will ask for as its tuning goes on."""
    if is_tuned(document):
        return 0
    tune, names = document["tune"], [variant["name"] for variant in document["variants"]]
    trials: int = sum(max(0, tune["trials"] - len(tune["settings"].get(name, ()))) for name in names)
    seeds: int = tune["seeds_per_trial"]
    return trials * seeds + count_judged_runs(document)


def count_judged_runs(document: Mapping[str, Any]) -> int:
    """How many runs of an experiment's document, its seeds spelt out, are compared."""
    closed, seeds = get_closed(document), len(document["seeds"])
    runs = sum(min(seeds, closed.get(variant["name"], seeds)) for variant in document["variants"])
    points = prod(len(axis["values"]) for axis in document.get("axes", []))
    return runs * (document.get("parts") or 1) * points


def parse_point(point: str) -> dict[str, Any] | None:
    """The value of each axis by its field; None without axes."""
    values: dict[str, Any] | None = json.loads(point) if point else None
    return values


def parse_part(part: int) -> int | None:
    """The index of a part as people see it: None where the training data is not divided."""
    return None if part == NO_PART else part
