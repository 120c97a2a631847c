"""Documents that are sent: of models, of arrays, of plain values."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from regbench.base import Document
from regbench.errors import ClientError

Axes = Mapping[str, Sequence[Any]]
"""Values by field, a JSON pointer or with dots: `{"dataset.train_samples": [250, 1000]}`."""


def add_axes(spec: BaseModel | Document, axes: Axes | None) -> Document:
    """An experiment that trains every variant at every combination of these values; as it is without any."""
    document = to_document(spec)
    if axes is None:
        return document
    return document | {
        "axes": [{"field": to_pointer(field), "values": list(values)} for field, values in axes.items()]
    }


def to_pointer(field: str) -> str:
    """The JSON pointer of a field of the job specification that is written with dots, or is a pointer."""
    return "/" + "/".join(re.split(r"[./]", field.strip().removeprefix("/").removeprefix("base.")))


def is_experiment(document: Document) -> bool:
    """Whether a document that can be submitted is an experiment, and no job."""
    source = document.get("from")
    return bool({"preset", "confirms", "variants"} & document.keys()) or str(source).startswith("exp_")


def to_document(spec: BaseModel | Document) -> Document:
    """A model as a document with the fields that were set; a document as it is."""
    return spec.model_dump(mode="json", exclude_unset=True) if isinstance(spec, BaseModel) else spec


def to_body(spec: BaseModel | Document) -> dict[str, Any]:
    """Content and headers of a request.

    Raises:
        ClientError: a value has no JSON.
    """
    try:
        # Not httpx's own JSON, which cannot write a NaN: the service refuses it, and says at which field.
        content = json.dumps(to_document(spec), default=_to_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise ClientError(f"The document cannot be written as JSON: {error}.") from None
    return {"content": content, "headers": {"Content-Type": "application/json"}}


def _to_plain(value: Any) -> Any:
    """What JSON has for numbers and arrays of numpy, or of what resembles it, and for pydantic's models."""
    if isinstance(value, BaseModel):
        return to_document(value)
    if hasattr(value, "tolist") and not isinstance(value, memoryview):
        return value.tolist()
    raise TypeError(f"{value!r} is of type {type(value).__name__}")
