"""What may be changed of a stored job or experiment: how people name, sort and queue it, not what it trains.

A JSON merge patch (RFC 7396): a field that is left out stays, null resets it.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from models.documents import merge_patch
from models.errors import FieldError, InvalidSpec
from models.experiments import MAX_EXPERIMENT_NAME
from models.spec import MAX_LABELS, VISIBLE, WITHOUT_NUL, LabelName, Labels, Priority, Text200, bound_length

_LABELS: TypeAdapter[dict[str, str]] = TypeAdapter(Labels)
MAX_NOTES = 20_000
"""Letters."""


class Edit(BaseModel):
    """What jobs and experiments have in common; `model_fields_set` says what to change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    labels: (
        Annotated[
            dict[LabelName, Text200 | None], Field(max_length=2 * MAX_LABELS), bound_length(2 * MAX_LABELS)
        ]
        | None
    ) = Field(None, description="Labels to set; null removes a label, or all of them")
    notes: Annotated[str, Field(max_length=MAX_NOTES), WITHOUT_NUL] | None = Field(
        None, description="Text for people; null removes it"
    )
    priority: Priority | None = Field(
        None, description="Of an owner's queued jobs the one with the highest priority is next; null: 0"
    )
    archived: bool | None = Field(
        None, description="Whether lists leave it out unless they are asked for archived ones; null: false"
    )

    def apply_to_labels(self, labels: dict[str, str]) -> dict[str, str]:
        """The labels after this change.

        Raises:
            InvalidSpec: they are too many.
        """
        merged: dict[str, str] = merge_patch(labels, self.labels) or {}
        try:
            return _LABELS.validate_python(merged, context={"stored": True})
        except ValidationError:
            detail = f"{len(merged)} labels in all; at most {MAX_LABELS} are possible"
            raise InvalidSpec([FieldError("/labels", detail)]) from None


class JobEdit(Edit):
    """What `PATCH /v1/jobs/{id}` takes."""

    name: Annotated[Text200, VISIBLE] | None = Field(None, description="null: no name")


class ExperimentEdit(Edit):
    """What `PATCH /v1/experiments/{id}` takes."""

    name: Annotated[str, Field(min_length=1, max_length=MAX_EXPERIMENT_NAME), WITHOUT_NUL, VISIBLE] = Field(
        "", description="It cannot be removed"
    )
