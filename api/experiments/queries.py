"""Query parameters of the list of experiments."""

from typing import Annotated

from pydantic import AfterValidator, Field

from api.http.pagination import (
    EXPERIMENT_SORTS,
    NO_NUL,
    CursorQuery,
    FieldNames,
    LimitQuery,
    make_sort_validator,
)
from api.jobs.queries import REPEATED, Archived, ListQuery, parse_archived
from models.store.experiment_search import ExperimentFilter


class ExperimentQuery(ListQuery):
    """Which experiments, and which page of them."""

    q: Annotated[str, Field(max_length=200, pattern=NO_NUL)] = Field(
        "",
        description="Words that must all occur in the name, notes, preset or the name of a variant, in upper "
        "or lower case",
    )
    finished: bool | None = Field(
        None, description="Whether every job has ended and no seed will be added; default: both"
    )
    preset: Annotated[list[Annotated[str, Field(max_length=63, pattern=NO_NUL)]], REPEATED] = Field(
        [], description="Any of these"
    )
    archived: Archived = Field("false", description="Whether archived ones are listed")
    sort: Annotated[
        str,
        AfterValidator(make_sort_validator(EXPERIMENT_SORTS)),
        Field(json_schema_extra={"enum": EXPERIMENT_SORTS}, description="`-`: newest, or last name, first"),
    ] = "-created_at"
    fields: FieldNames = None
    limit: LimitQuery = 50
    cursor: CursorQuery = None

    def filter(self) -> ExperimentFilter:
        """The filter for the store.

        Raises:
            InvalidSpec: a technique is not in the catalogue.
        """
        return ExperimentFilter(
            text=self.q,
            finished=self.finished,
            presets=[*dict.fromkeys(self.preset)],
            archived=parse_archived(self.archived),
            **self.parse_common(),
        )
