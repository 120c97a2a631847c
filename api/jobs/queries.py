"""Query parameters of lists of jobs: filters, sort order, fields, page."""

import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from api.http.pagination import NO_NUL, CursorQuery, FieldNames, LimitQuery, SortQuery
from models.dataset_cards import NAME_PATTERN
from models.errors import FieldError, InvalidSpec
from models.metrics import METRICS
from models.states import JobState
from models.store.job_search import JobFilter, MetricRange
from models.techniques import CATALOGUE

_RANGE = re.compile(
    r"(?P<metric>\w+)\s*(?P<operator>[<>]=?)\s*(?P<bound>[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?)", re.I | re.A
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
REPEATED = Field(max_length=50)


def require_date(value: str) -> str:
    # Pydantic would take a number for seconds since 1970; the OpenAPI document promises RFC 3339.
    if not _DATE.match(value):
        raise ValueError("should be a date and time such as 2026-01-31T12:00:00Z")
    return value


# Bounded, because converting the ends of the calendar to UTC would overflow.
Moment = Annotated[
    AwareDatetime,
    BeforeValidator(require_date),
    Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9999, 1, 1, tzinfo=UTC)),
    # JSON Schema has no bounds for dates.
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


Archived = Literal["false", "true", "all"]


def parse_archived(archived: Archived) -> bool | None:
    """Whether archived rows are listed, or others; None: both."""
    return None if archived == "all" else archived == "true"


class ListQuery(BaseModel):
    """What jobs and experiments are both filtered by."""

    model_config = ConfigDict(extra="forbid")

    technique: Annotated[list[str], REPEATED] = Field([], description="Those that use any of these")
    dataset: Annotated[list[Annotated[str, Field(pattern=NAME_PATTERN)]], REPEATED] = Field(
        [], description="Any of these"
    )
    label: Annotated[
        list[Annotated[str, Field(max_length=264, pattern=r"^[^\x00=]+=[^\x00]*$")]], REPEATED
    ] = Field([], description="`name=value`; those that have any of these")
    created_after: Moment | None = Field(None, description="Later than this, with a time zone (RFC 3339)")
    created_before: Moment | None = Field(None, description="Earlier than this")

    def parse_common(self) -> dict[str, Any]:
        """These fields as the store's filters name them.

        Raises:
            InvalidSpec: a technique is not in the catalogue.
        """
        unknown = [name for name in self.technique if name not in CATALOGUE]
        if unknown:
            choices = ", ".join(CATALOGUE)
            raise InvalidSpec([FieldError("?technique", f"no such technique; choose from {choices}")])
        labels = [label.partition("=") for label in dict.fromkeys(self.label)]
        return {
            "techniques": [*dict.fromkeys(self.technique)],
            "datasets": [*dict.fromkeys(self.dataset)],
            "labels": [(name, value) for name, _, value in labels],
            "created_after": self.created_after,
            "created_before": self.created_before,
        }


class JobFilterQuery(ListQuery):
    """Which jobs."""

    state: Annotated[list[JobState], REPEATED] = Field([], description="Any of these")
    experiment: Annotated[list[Annotated[str, Field(max_length=40, pattern=NO_NUL)]], REPEATED] = Field(
        [], description="Jobs of any of these"
    )
    metric: Annotated[list[Annotated[str, Field(max_length=100)]], REPEATED] = Field(
        [],
        description="A range of a metric of results, such as `test_accuracy>=0.98` (also `>`, `<=`, `<`); "
        "all of them must hold",
    )

    def filter(self) -> JobFilter:
        """The filter for the store.

        Raises:
            InvalidSpec: a technique or metric is not in its catalogue, or a range is not one.
        """
        return JobFilter(
            states=[*dict.fromkeys(self.state)],
            experiment_ids=[*dict.fromkeys(self.experiment)],
            ranges=[parse_range(text) for text in dict.fromkeys(self.metric)],
            **self.parse_common(),
        )


def parse_range(text: str) -> MetricRange:
    """Parse a range such as `test_accuracy>=0.98`.

    Raises:
        InvalidSpec: it is not one, or there is no such metric.
    """
    match = _RANGE.fullmatch(text)
    if match is None or not math.isfinite(float(match["bound"])):
        detail = "give a metric, one of >= > <= <, and a number: test_accuracy>=0.98"
        raise InvalidSpec([FieldError("?metric", detail)])
    if match["metric"] not in METRICS:
        raise InvalidSpec([FieldError("?metric", f"no such metric; choose from {', '.join(METRICS)}")])
    return MetricRange(match["metric"], match["operator"], float(match["bound"]))


class JobQuery(JobFilterQuery):
    """Which jobs, and which page of them."""

    def filter(self) -> JobFilter:
        """As without pages, and whether they are archived."""
        archived = self.archived or ("all" if self.experiment else "false")
        return replace(super().filter(), archived=parse_archived(archived), text=self.q)

    q: Annotated[str, Field(max_length=200, pattern=NO_NUL)] = Field(
        "",
        description="Words that must all occur in the job's name or its variant's, in upper or lower case",
    )
    archived: Archived | None = Field(
        None, description="Default: `false`, or `all` in a list of an experiment's jobs"
    )
    sort: SortQuery = "-created_at"
    fields: FieldNames = None
    limit: LimitQuery = 50
    cursor: CursorQuery = None
