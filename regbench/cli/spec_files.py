"""Specifications of jobs and experiments: YAML or JSON files, `--set` and `--seeds`.

YAML is read as version 1.2, in which `1e-4` is a number; docs/decisions/0021-retries-and-yaml.md.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.experiments import MOST_SEEDS
from regbench.base import Document
from regbench.documents import to_pointer
from regbench.errors import ClientError

# What YAML reads as one word or number, and as text in single quotes.
_PLAIN = re.compile(r"[\w.+~-]+")
_QUOTED = re.compile(r"'(?:[^']|'')*'")
_SEEDS = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")


class InvalidSpecFile(ClientError):
    """The input cannot be read as a job or an experiment."""


def read_document(file: str) -> Document:
    """The document in a file, or on stdin if it is `-`, in any Unicode encoding, or InvalidSpecFile."""
    name = "stdin" if file == "-" else file
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        text = content.decode(json.detect_encoding(content))
        document = json.loads(text)
    except FileNotFoundError:
        raise InvalidSpecFile(
            f"There is no file {file}.", "Name a YAML or JSON file, or `-` to read stdin."
        ) from None
    except OSError as error:
        raise InvalidSpecFile(f"{file} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise InvalidSpecFile(f"{name} is not text in UTF-8 or UTF-16.") from None
    except RecursionError:
        raise InvalidSpecFile(f"{name} is nested too deeply for a job or an experiment.") from None
    except ValueError as error:
        if file.lower().endswith(".json"):
            raise InvalidSpecFile(f"{name} is not JSON: {error}.") from None
        document = _parse_yaml(name, text)
    if not isinstance(document, dict):
        raise InvalidSpecFile(f"{name} must contain an object with the fields of a job or an experiment.")
    return document


def apply_settings(document: Document, settings: Sequence[str]) -> Document:
    """The document with each `path.to.field=value` set, or InvalidSpecFile."""
    for setting in settings:
        path, equals, value = setting.partition("=")
        names = path.split(".")
        if "labels" in names:
            # Nothing lies below a label, so that the dots belong to its name.
            position = names.index("labels") + 1
            names[position:] = [".".join(names[position:])] if names[position:] else []
        if not equals or not all(names):
            raise InvalidSpecFile(
                f"--set expects path.to.field=value, such as training.epochs=5, not {setting}."
            )
        is_text = names[-1] == "name" or names[-2:-1] == ["labels"]
        document = _set_field(document, names, _parse_value(setting, value, is_text=is_text))
    return document


def _parse_value(setting: str, value: str, *, is_text: bool) -> Any:
    """JSON, or what YAML has for a number, a quoted text, a list or an object; anything else is text.

    YAML alone would drop what follows ` #`, and has other uses for `&`, `*`, `|`, `@` and `%`.
    """
    is_structure = not is_text and value.startswith(("[", "{"))
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        is_yaml = is_structure or (not is_text and ("\n" in value or _PLAIN.fullmatch(value)))
        if is_yaml or _QUOTED.fullmatch(value):
            parsed = _parse_yaml(f"the value of {setting}", value)
        else:
            parsed = value or None
        if is_structure and not value.rstrip().endswith(("]", "}")):
            raise InvalidSpecFile(f"the value of {setting} continues after its last bracket.") from None
    # A name or a label is text even if it looks like a number.
    return value if is_text and not isinstance(parsed, str | None) else parsed


def _set_field(document: Any, names: Sequence[str], value: Any) -> Any:
    """Not a merge patch, which would drop a null; in a preset's overrides a null has a meaning."""
    if not names:
        return value
    fields = document if isinstance(document, dict) else {}
    return fields | {names[0]: _set_field(fields.get(names[0]), names[1:], value)}


def parse_seeds(text: str) -> list[int]:
    """The seeds that `0-9` or `0,3,7-9` stands for; InvalidSpecFile if it is not of that form."""
    seeds: list[int] = []
    for part in text.split(","):
        match = _SEEDS.fullmatch(part.strip())
        if match is None:
            raise InvalidSpecFile(f"--seeds expects seeds such as 0-9 or 0,3,7, not {text}.")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first >= MOST_SEEDS:
            raise InvalidSpecFile(
                f"--seeds accepts up to {MOST_SEEDS:,} seeds from low to high, not {part.strip()}."
            )
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))


def parse_axes(options: Sequence[str]) -> list[Document]:
    """The axes that options such as `dataset.train_samples=250,1000` stand for, or InvalidSpecFile.

    The field is written with dots or as a JSON pointer, each value as in YAML.
    """
    axes = []
    for option in options:
        field, equals, values = option.partition("=")
        pointer = to_pointer(field)
        if not equals or not values.strip() or not all(pointer.split("/")[1:]):
            raise InvalidSpecFile(
                "--axis expects a field and its values, such as dataset.train_samples=250,1000, "
                f"not {option}."
            )
        axis_values = _parse_yaml(f"the list of values of --axis {option}", f"[{values}]")
        axes.append({"field": pointer, "values": axis_values})
    return axes


def _parse_yaml(name: str, text: str) -> Any:
    from ruamel.yaml import YAML  # noqa: PLC0415 (0.2 s, only where YAML is read)
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415 (the same)

    try:
        document = YAML(typ="safe", pure=True).load(text)
        json.dumps(document)
    except YAMLError as error:
        problem_mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        position = f"line {problem_mark.line + 1}, column {problem_mark.column + 1}: " if problem_mark else ""
        raise InvalidSpecFile(f"{name} is neither JSON nor YAML: {position}{problem}.") from None
    except RecursionError:
        raise InvalidSpecFile(f"{name} is nested too deeply for a job or an experiment.") from None
    except (TypeError, ValueError):
        raise InvalidSpecFile(
            f"{name} contains a value that JSON cannot represent, such as a date; put it in quotes."
        ) from None
    return document
