"""Dividing the training images into equal parts, to measure bias and variance over training sets."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

MOST_PARTS = 1_000


class PartSpec(BaseModel):
    """One of several parts of the training images: stratified, disjoint, and together all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    of: int = Field(ge=2, le=MOST_PARTS, description="How many parts there are")
    index: int = Field(ge=0, lt=MOST_PARTS, description="Which one it is: 0 to of - 1")

    @model_validator(mode="after")
    def check_index(self) -> Self:
        if self.index >= self.of:
            detail = f"there are {self.of} parts, 0 to {self.of - 1}"
            raise PydanticCustomError("contradiction", "{detail}", {"pointer": "/index", "detail": detail})
        return self

    def count_rows(self, rows: int) -> int:
        """How many of `rows` examples the part has: sizes differ by at most one."""
        return rows // self.of + (self.index < rows % self.of)


# Specifications and experiments without parts are written, and hashed, as before there were any.
OptionalPart = Annotated[
    PartSpec | None,
    Field(
        exclude_if=lambda part: part is None,
        description="Only this part of the examples, divided after the subset is drawn; null: all of them",
    ),
]
PartCount = Annotated[
    Annotated[int, Field(ge=2, le=MOST_PARTS)] | None,
    Field(
        exclude_if=lambda parts: parts is None,
        description="Divide the training examples into so many parts and train each variant on each of them, "
        "with each seed; a difference is then the mean over a seed's parts",
    ),
]


def has_too_small_parts(rows: int, parts: int, classes: int) -> bool:
    """Whether so many parts lack two examples of each class: one to learn from, one to hold out."""
    return rows // parts < 2 * classes
