"""The shapes of what the API answers. Each field is always there, null if unknown.

Losses are in nats per example, accuracies and shares are fractions, times are in seconds.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict

MODEL = "x-model"
"""Name of the model whose documents a field holds: the OpenAPI document refers to it instead."""


class ResponseModel(BaseModel):
    """Of every answer: frozen, and built from rows as well as from values.

    Pydantic also takes the fields of a second base, such as a record of models/records.py.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True)


class PartialPage(ResponseModel):
    """A page of those fields that were asked for."""

    items: list[dict[str, Any]]
    next_cursor: str | None


class Index(ResponseModel):
    """Where to go from here."""

    name: str
    version: str
    links: dict[str, str]
