"""The report as Markdown that also reads well in a terminal."""

import re

from rich.cells import cell_len

from api.reports import formatting
from api.reports.gains import (
    build_choice_rows,
    build_error_rows,
    build_gain_rows,
    explain_error_curves,
    list_charts,
)
from api.reports.schemas import Comparison
from api.reports.sections import build_sections

# Markdown's syntax within a line; an underscore between letters is none.
_SYNTAX = re.compile(
    r"""\\(?=[!-/:-@\[-`{-~])        # a backslash before punctuation
    | [*`~\[$] | (?<=\])\(          # a dollar sign begins a formula on GitHub
    | (?<![^\W_])_ | _(?![^\W_])
    | &(?=\#?\w+;)                   # an entity
    | \#(?=\s*$)                     # the end of a heading
    | (?<=\bwww)\.                   # a link on GitHub, whose address would keep the backslashes
    """,
    re.VERBOSE,
)
# A link as it is: GitHub would make one of a bare address, with the backslashes in it.
_ADDRESS = re.compile(r"""(https?://[^\s<>]*[^\s<>.,:;!?'")\]])""", re.IGNORECASE)
# GitHub looks for mentions, issues and emoji in rendered text, where a backslash does not help.
_GITHUB_REFERENCE = re.compile(r"(?<!\w)@(?=\w)|#(?=\d)|\bGH-(?=\d)|:(?=(?:[a-z+-][\w+-]*|100|1234):)")
_ZERO_WIDTH_SPACE = "&#8203;"
# The beginning of a heading, a quotation or a list.
_BEGINS_A_BLOCK = re.compile(r"^(\d+(?=[.)])|(?=[#>+-]))")
_OPENS_A_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def render(comparison: Comparison) -> str:
    """The whole report, ending with a newline."""
    considerations = [
        f"### {item.title}\n\n"
        + _list([advice.text for advice in item.advice] + ([item.not_tested] if item.not_tested else []))
        for item in comparison.recommendation
    ]
    differences = formatting.build_contrast_rows(comparison) if comparison.contrasts else []
    all_numbers = [
        _render_table(rows)
        for rows in (
            formatting.build_metric_rows(comparison),
            formatting.build_test_rows(comparison),
            formatting.build_seed_rows(comparison),
        )
        if len(rows) > 1
    ]
    sections = [
        f"# {_escape_text(comparison.title)}",
        _escape_text(comparison.headline),
        formatting.describe_progress(comparison),
        # A hard break at each line's end keeps the lines apart when rendered.
        "  \n".join(_escape_text(variant.line) for variant in comparison.variants if variant.line),
        *_render_section(
            "Verdicts", [f"{contrast.variant}: {contrast.verdict}" for contrast in comparison.contrasts]
        ),
        *(["## What to choose", *considerations] if considerations else []),
        "## The variants",
        _render_table(formatting.build_variant_rows(comparison)),
        _list(formatting.describe_confounders(comparison)),
        *(
            [f"## Differences from {_escape_text(comparison.baseline)}", _render_table(differences)]
            if differences
            else []
        ),
        *(
            [
                "## Along the axes",
                _render_table(build_gain_rows(comparison)),
                *([_render_table(build_choice_rows(comparison))] if comparison.points else []),
                *([_render_table(errors)] if (errors := build_error_rows(comparison)) else []),
                _list(explain_error_curves(comparison) + list_charts(comparison)),
            ]
            if comparison.gains
            else []
        ),
        *(
            [
                "## Damaged test images",
                formatting.DAMAGED_IMAGES,
                *map(_render_table, formatting.build_robustness_tables(comparison)),
            ]
            if comparison.robustness
            else []
        ),
        *(
            text
            for section in build_sections(comparison)
            for text in (
                f"## {section.title}",
                _list(section.answers),
                _render_table(section.rows),
                _list(section.notes),
            )
        ),
        "## The networks",
        _render_table(formatting.build_network_rows(comparison)),
        *(["## All numbers", *all_numbers] if all_numbers else []),
        *_render_section("Missing", formatting.describe_missing(comparison)),
        *_render_section(
            "Reused and restored",
            formatting.describe_reused(comparison) + formatting.describe_restored(comparison),
        ),
        *_render_section("How to read this report", comparison.notes),
        f"## Methods\n\n{_render_item(comparison.methods)}",
        *_render_section("Provenance", formatting.describe_provenance(comparison)),
        "## Reproduce",
        # Indented, because a fence could be closed by a name inside.
        f"    {comparison.repeat}",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _render_section(title: str, items: list[str]) -> list[str]:
    return [f"## {title}", _list(items)] if items else []


def _render_table(rows: list[list[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right."""
    cells = [[_escape_text(cell).replace("|", "\\|") for cell in row] for row in rows]
    # Two at least: a colon alone is no delimiter.
    widths = [max(2, *map(cell_len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * width if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    lines = [
        _render_row(cells[0], widths),
        _render_row(rule, widths),
        *(_render_row(row, widths) for row in cells[1:]),
    ]
    return "\n".join(lines)


def _render_row(cells: list[str], widths: list[int]) -> str:
    padding = [" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
    numbers = [space + cell for space, cell in zip(padding[1:], cells[1:], strict=True)]
    return f"| {' | '.join([cells[0] + padding[0], *numbers])} |"


def _list(items: list[str]) -> str:
    return "\n".join(f"- {_render_item(item)}" for item in items)


def _render_item(text: str) -> str:
    return _BEGINS_A_BLOCK.sub(r"\1\\", _escape_text(text))


def _escape_text(line: str) -> str:
    """One line that a Markdown reader shows unchanged: names come from users."""
    parts = _ADDRESS.split(" ".join(line.split()))
    # Every second part is an address, in which nothing is syntax.
    for index in range(0, len(parts), 2):
        text = _OPENS_A_TAG.sub("&lt;", _SYNTAX.sub(r"\\\g<0>", parts[index]))
        parts[index] = _GITHUB_REFERENCE.sub(rf"\g<0>{_ZERO_WIDTH_SPACE}", text)
    parts[1::2] = [f"<{address}>" for address in parts[1::2]]
    return "".join(parts)
