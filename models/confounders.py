"""In what two specifications differ besides their regularization. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from models.documents import Document


@dataclass(frozen=True)
class Confounder:
    """Something besides its regularization in which a variant's specification differs from the baseline's."""

    field: str
    """JSON pointer into the specification."""
    baseline: Any
    variant: Any


# Metadata, what a pair has in common, and what is measured when training has ended.
_NOT_COMPARED = ("regularization", "name", "labels", "priority", "seed", "evaluation")


def find_confounders(baseline: Document, variant: Document) -> list[Confounder]:
    """In what two specifications, written as JSON, differ besides their regularization.

    A field that one of them lacks is None there. An optimizer that a technique asks for is named too: it
    acts by itself.
    """
    compared = (
        {field: value for field, value in document.items() if field not in _NOT_COMPARED}
        for document in (baseline, variant)
    )
    return [*_find_differences("", *compared)]


def _find_differences(pointer: str, baseline: Any, variant: Any) -> Iterator[Confounder]:
    if isinstance(baseline, dict) and isinstance(variant, dict):
        for key in dict.fromkeys([*baseline, *variant]):
            yield from _find_differences(f"{pointer}/{key}", baseline.get(key), variant.get(key))
    elif baseline != variant:
        yield Confounder(pointer, baseline, variant)
