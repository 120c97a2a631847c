"""Values as people read them, on pages, in reports and in a terminal."""

from collections.abc import Mapping
from typing import Any

from models.techniques import CATALOGUE


def format_duration(seconds: float) -> str:
    """A span of time as a person says it: `1 min 12 s`."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(whole / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def format_count(count: int, noun: str) -> str:
    """A count with its noun, in the plural unless it is one: `1 job`, `1,200 jobs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_techniques(regularization: Mapping[str, Mapping[str, Any]]) -> str:
    """What a variant is regularized with: a name such as `dropout rate=0.5 + l2 factor=0.0001`, or `none`.

    Different regularization has different names: a word, a switch or a 0 is left out where it is the default.
    """
    parts = []
    for name, parameters in regularization.items():
        defaults = CATALOGUE[name]() if name in CATALOGUE else None
        parts.append(name)
        for key, value in parameters.items():
            is_strength = isinstance(value, int | float) and not isinstance(value, bool) and value != 0
            if is_strength or value != getattr(defaults, key, None):
                parts[-1] += f" {key}={str(value).lower()}"
    return " + ".join(parts) or "none"
