"""The report as Markdown that also reads well in a terminal."""

import re

from api.reports import formatting
from api.reports.schemas import Comparison, Consideration

# What Markdown would take for its own, also inside a line; an underscore between letters means nothing.
_MEANS_SOMETHING = re.compile(
    r"""\\(?=[!-/:-@\[-`{-~])        # a backslash before punctuation
    | [*`~\[] | (?<=\])\(
    | (?<![^\W_])_ | _(?![^\W_])
    | &(?=\#?\w+;)                   # an entity
    """,
    re.VERBOSE,
)
# What would begin a heading, a quotation or a list.
_BEGINS_A_BLOCK = re.compile(r"^(\d+(?=[.)])|(?=[#>+-]))")
_OPENS_A_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def render(comparison: Comparison) -> str:
    """The whole report, ending with a newline."""
    sections = [
        f"# {_text(comparison.title)}",
        formatting.standing(comparison),
        # A hard break at each line's end keeps the lines apart when rendered.
        "  \n".join(_text(variant.line) for variant in comparison.variants if variant.line),
        *_section(
            "What it says", [f"{contrast.variant}: {contrast.verdict}" for contrast in comparison.contrasts]
        ),
        *_recommendation(comparison),
        "## The variants",
        _table(formatting.variant_rows(comparison)),
        _list(formatting.confounders(comparison)),
        *_differences(comparison),
        "## The networks",
        _table(formatting.network_rows(comparison)),
        *_every_number(comparison),
        *_section("Missing", formatting.missing(comparison)),
        *_section("Reused and restored", formatting.reused(comparison) + formatting.restored(comparison)),
        *_section("Reading this", comparison.notes),
        *_section("Where it comes from", formatting.provenance(comparison)),
        "## Doing it again",
        # Indented, because a fence could be closed by a name inside.
        f"    {comparison.repeat}",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _recommendation(comparison: Comparison) -> list[str]:
    if not comparison.recommendation:
        return []
    return ["## What to choose", *(_consideration(each) for each in comparison.recommendation)]


def _consideration(consideration: Consideration) -> str:
    lines = [f"- {_item(advice.text)}" for advice in consideration.advice]
    if consideration.not_tested:
        lines.append(f"- {_item(consideration.not_tested)}")
    return f"### {consideration.title}\n\n" + "\n".join(lines)


def _every_number(comparison: Comparison) -> list[str]:
    tables = [
        formatting.metric_rows(comparison),
        formatting.test_rows(comparison),
        formatting.seed_rows(comparison),
    ]
    filled = [_table(rows) for rows in tables if len(rows) > 1]
    return ["## Every number", *filled] if filled else []


def _differences(comparison: Comparison) -> list[str]:
    if not comparison.contrasts:
        return []
    return [f"## Against {_text(comparison.baseline)}", _table(formatting.contrast_rows(comparison))]


def _section(title: str, items: list[str]) -> list[str]:
    return [f"## {title}", _list(items)] if items else []


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
    return "\n".join(f"- {_item(item)}" for item in items)


def _item(text: str) -> str:
    return _BEGINS_A_BLOCK.sub(r"\1\\", _text(text))


def _text(text: str) -> str:
    """One line that a Markdown reader shows as it stands: names come from users."""
    line = _MEANS_SOMETHING.sub(r"\\\g<0>", " ".join(text.split()))
    return _OPENS_A_TAG.sub("&lt;", line)
