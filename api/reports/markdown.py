"""The report as Markdown that also reads well in a terminal."""

import re

from api.reports import words
from api.reports.schemas import Comparison

# An underscore within a word formats nothing.
_FORMATS = re.compile(r"[*`]|(?<!\w)_|_(?!\w)")
_OPENS_A_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def render(comparison: Comparison) -> str:
    """The whole report, ending with a newline."""
    sections = [
        f"# {_text(comparison.title)}",
        words.standing(comparison),
        # A hard break at each line's end keeps the lines apart when rendered.
        "  \n".join(_text(variant.line) for variant in comparison.variants if variant.line),
        _table(words.variant_rows(comparison)),
        *_differences(comparison),
        *_recommendation(comparison),
        *_particulars(comparison),
        "## The networks",
        _table(words.network_rows(comparison)),
        "## Reading this",
        _list([*comparison.notes, *_provenance(comparison)]),
        "## Doing it again",
        # Indented, because a fence could be closed by a name inside.
        f"    {comparison.repeat}",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _differences(comparison: Comparison) -> list[str]:
    if not comparison.contrasts:
        return []
    return [
        f"## Against {_text(comparison.baseline)}",
        _table(words.contrast_rows(comparison)),
        _list([f"{contrast.variant}: {contrast.verdict}" for contrast in comparison.contrasts]),
    ]


def _recommendation(comparison: Comparison) -> list[str]:
    if not comparison.recommendation:
        return []
    sections = ["## What this experiment advises"]
    for consideration in comparison.recommendation:
        lines = [advice.text for advice in consideration.advice]
        lines += [consideration.not_tested] if consideration.not_tested else []
        sections += [f"### {consideration.title}", _list(lines)]
    return sections


def _particulars(comparison: Comparison) -> list[str]:
    found = words.particulars(comparison)
    return ["## Particulars", _list(found)] if found else []


def _provenance(comparison: Comparison) -> list[str]:
    data = [
        f"Data: {each.name}" + (f", SHA-256 {', '.join(each.sha256)}" if each.sha256 else "")
        for each in comparison.datasets
    ]
    engines = [f"Engine: {each}" for each in comparison.engines]
    seeds = words.ranges(comparison.seeds)
    made = f"Regbench {comparison.version}, {comparison.generated_at:%Y-%m-%d %H:%M:%S} UTC; seeds {seeds}"
    return [*data, *engines, made]


def _table(rows: list[list[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right."""
    cells = [[_text(cell).replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    rule = ["-" * width if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    lines = [_row(cells[0], widths), _row(rule, widths), *(_row(row, widths) for row in cells[1:])]
    return "\n".join(lines)


def _row(cells: list[str], widths: list[int]) -> str:
    first, *others = (
        cell.ljust(width) if column == 0 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"| {' | '.join([first, *others])} |"


def _list(items: list[str]) -> str:
    return "\n".join(f"- {_text(item)}" for item in items)


def _text(text: str) -> str:
    """One line that a Markdown reader shows as it stands, without tags and links: names come from users."""
    line = _OPENS_A_TAG.sub("&lt;", " ".join(text.split()))
    return _FORMATS.sub(r"\\\g<0>", line).replace("](", "]\\(")
