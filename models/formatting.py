"""Values as people read them, on pages, in reports and in a terminal."""

from collections.abc import Mapping
from typing import Any

from models.run_key import format_axis_value
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
    """What a model is regularized with, in words: `Dropout 0.5, input rate 0.2 + L2 0.0001`, or `none`."""
    return " + ".join(list_techniques(regularization)) or "none"


def list_techniques(regularization: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Each technique with its parameters in words; the main one is not named, as in `L2 0.0001`.

    Different regularization has different names: a word, a switch or a 0 is left out where it is the default.
    """
    names = []
    for name, parameters in regularization.items():
        technique = CATALOGUE.get(name)
        defaults = technique() if technique else None
        values = []
        for key, value in parameters.items():
            is_strength = isinstance(value, int | float) and not isinstance(value, bool) and value != 0
            if is_strength or value != getattr(defaults, key, None):
                is_main = technique is not None and key == technique.strength_parameter
                text = format_axis_value(key, value)
                values.append(f"{'' if is_main else key} {text}".replace("_", " ").strip())
        title = technique.about.short_title if technique else name.replace("_", " ")
        names.append(f"{title} {', '.join(values)}".strip())
    return names
