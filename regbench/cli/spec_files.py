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
from regbench.errors import ClientError
from regbench.resources import Document

_SEEDS = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")


class InvalidSpecFile(ClientError):
    """The input cannot be read as a job or an experiment."""


def read_document(file: str) -> Document:
    """The document in a file, or on stdin if it is `-`.

    Raises:
        InvalidSpecFile: it cannot be read, or is neither.
    """
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidSpecFile(
            f"There is no file {file}.", "Name a YAML or JSON file, or `-` to read stdin."
        ) from None
    except OSError as error:
        raise InvalidSpecFile(f"{file} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise InvalidSpecFile(f"{file if file != '-' else 'stdin'} is no text in UTF-8.") from None
    name = "stdin" if file == "-" else file
    try:
        document = json.loads(text)
    except RecursionError:
        raise InvalidSpecFile(f"{name} is nested too deeply for a job or an experiment") from None
    except json.JSONDecodeError as error:
        if file.endswith(".json"):
            raise InvalidSpecFile(f"{name} is not JSON: {error}") from None
        document = _parse_yaml(name, text)
    if not isinstance(document, dict):
        raise InvalidSpecFile(f"{name} holds no object with fields, which a job or an experiment is")
    return document


def apply_settings(document: Document, settings: Sequence[str]) -> Document:
    """The document with each `path.to.field=value` set; a value is JSON or YAML.

    Raises:
        InvalidSpecFile: one of them is not of that form.
    """
    for setting in settings:
        path, equals, value = setting.partition("=")
        names = path.split(".")
        if not equals or not all(names):
            raise InvalidSpecFile(
                f"--set takes path.to.field=value, such as training.epochs=5, not {setting}"
            )
        try:
            parsed = json.loads(value)
        except (json.JSONDecodeError, RecursionError):
            parsed = _parse_yaml(f"the value of {setting}", value)
        document = _set_field(document, names, parsed)
    return document


def _set_field(document: Any, names: Sequence[str], value: Any) -> Any:
    """Not a merge patch, which would drop a null; in a preset's overrides a null has a meaning."""
    if not names:
        return value
    fields = document if isinstance(document, dict) else {}
    return fields | {names[0]: _set_field(fields.get(names[0]), names[1:], value)}


def parse_seeds(text: str) -> list[int]:
    """The seeds that `0-9` or `0,3,7-9` stands for.

    Raises:
        InvalidSpecFile: it names none, or too many.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = _SEEDS.fullmatch(part.strip())
        if match is None:
            raise InvalidSpecFile(f"--seeds takes seeds such as 0-9 or 0,3,7, not {text}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first >= MOST_SEEDS:
            raise InvalidSpecFile(
                f"--seeds takes up to {MOST_SEEDS:,} seeds from low to high, not {part.strip()}"
            )
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))


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
        raise InvalidSpecFile(f"{name} is neither JSON nor YAML: {position}{problem}") from None
    except RecursionError:
        raise InvalidSpecFile(f"{name} is nested too deeply for a job or an experiment") from None
    except (TypeError, ValueError):
        raise InvalidSpecFile(
            f"{name} contains a value that JSON cannot represent, such as a date; put it into quotes"
        ) from None
    return document
