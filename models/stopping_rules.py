"""When an experiment gets no more seeds: the rules that its specification may name. Pure."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from models.metrics import CONTRASTED

if TYPE_CHECKING:
    StoppingMetric = str
else:
    StoppingMetric = Literal[*(metric.name for metric in CONTRASTED)]

MaxJobs = Annotated[
    int, Field(ge=1, description="No seed is added that would lead the experiment beyond so many jobs")
]


class WidthRule(BaseModel):
    """Add seeds to all variants until one difference is known closely enough, or a budget is spent."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["width"] = Field(
        "width",
        description="`width`: until one interval is narrow enough; `decide`: until every variant is shown to "
        "differ from the baseline or to lie within the margin in each tested metric",
    )
    variant: str = Field(description="The variant whose difference from the baseline is estimated")
    metric: StoppingMetric = "test_accuracy"
    half_width: float = Field(
        gt=0,
        le=100,
        description="Target half-width of the 95 % interval: points for an accuracy, nats for a loss",
    )
    max_jobs: MaxJobs


class DecideRule(BaseModel):
    """Add seeds to each variant until it is decided, or a budget is spent; the baseline goes on with them.

    A variant is decided when, for each primary metric, the simultaneous interval of its difference from the
    baseline excludes 0 or lies within the margin.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["decide"]
    max_jobs: MaxJobs
    closed: dict[str, Annotated[int, Field(ge=1)]] = Field(
        {},
        description="Variants that get no more seeds, each with how many of the first `seeds` it runs with; "
        "filled in as the experiment goes on",
    )


STOPPING_RULES: dict[str, type[WidthRule] | type[DecideRule]] = {"width": WidthRule, "decide": DecideRule}


def parse_stopping_rule(document: object) -> object:
    """The rule that a document describes, read by its own kind's class; without a kind, `width`.

    Not a union's discriminator, which would put the class into every error's location.
    """
    if not isinstance(document, dict):
        return document
    kind = document.get("kind", "width")
    if not isinstance(kind, str) or kind not in STOPPING_RULES:
        error = PydanticCustomError("unknown_kind", "there is no such kind; choose width or decide")
        line = InitErrorDetails(type=error, loc=("kind",), input=kind)
        raise ValidationError.from_exception_data("StoppingRule", [line])
    return STOPPING_RULES[kind].model_validate(document)


StoppingRule = Annotated[WidthRule | DecideRule, BeforeValidator(parse_stopping_rule)]


def get_closed(document: Mapping[str, Any]) -> Mapping[str, int]:
    """Of an experiment's document: the variants that get no more seeds, with how many each runs with."""
    closed: Mapping[str, int] = (document.get("stopping_rule") or {}).get("closed", {})
    return closed


def get_common_seeds(document: Mapping[str, Any]) -> list[int]:
    """The seeds that every variant of an experiment's document runs with: its first ones."""
    seeds: list[int] = document["seeds"]
    return seeds[: min(get_closed(document).values(), default=len(seeds))]
