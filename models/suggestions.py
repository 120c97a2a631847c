"""Which field of a document was probably meant by one that does not exist. Pure."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher, get_close_matches
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

_ITEM = "*"
"""In a path, any position in a list."""
_MAX_NAME = 60
_TYPO, _SIMILAR = 0.8, 0.68
# What other libraries call these fields, and a comparison of letters would not find.
_SYNONYMS = {"lr": "learning_rate", "lambda": "factor", "p": "rate", "units": "hidden_units"}

Path = tuple[str, ...]


def suggest_field(model: type[BaseModel], location: Sequence[int | str]) -> str | None:
    """The path, with dots, of the field of `model` that an unknown one at `location` probably means."""
    *parents, last = location
    name = _SYNONYMS.get(str(last), str(last))
    if len(name) > _MAX_NAME:
        return None
    paths = list_field_paths(model)
    inside = tuple(_ITEM if isinstance(part, int) else part for part in parents)
    siblings = [path[-1] for path in paths if path[:-1] == inside]
    similar = get_close_matches(name, siblings, n=1, cutoff=_SIMILAR)
    if similar and SequenceMatcher(None, name, similar[0]).ratio() >= _TYPO:
        return _format([*parents, similar[0]])
    elsewhere = [path for path in paths if path[-1] == name]
    if elsewhere:
        return _format(max(elsewhere, key=lambda path: (_count_common(path, inside), -len(path))))
    if similar:
        return _format([*parents, similar[0]])
    for match in get_close_matches(name, sorted({path[-1] for path in paths}), n=1, cutoff=_TYPO):
        return _format(next(path for path in paths if path[-1] == match))
    return None


@cache
def list_field_paths(model: type[BaseModel]) -> list[Path]:
    """The path of every field of a model, and of the models in it."""
    return list(_walk(model, ()))


def _walk(model: type[BaseModel], prefix: Path) -> Iterator[Path]:
    for name, field in model.model_fields.items():
        path = (*prefix, name)
        yield path
        for nested, inside in _find_models(field.annotation, path):
            yield from _walk(nested, inside)


def _find_models(annotation: Any, path: Path) -> Iterator[tuple[type[BaseModel], Path]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, path
        return
    arguments = get_args(annotation)
    inside = (*path, _ITEM) if Ellipsis in arguments else path
    for argument in arguments:
        yield from _find_models(argument, inside)


def _count_common(path: Sequence[object], other: Sequence[object]) -> int:
    count = 0
    for mine, yours in zip(path, other, strict=False):
        if mine != yours:
            break
        count += 1
    return count


def _format(path: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in path if part != _ITEM)
