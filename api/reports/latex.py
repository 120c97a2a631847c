"""The report as LaTeX to be included in a paper: two tables (booktabs), and the methods as a paragraph."""

import re

from api.reports import formatting
from api.reports.gains import build_gain_rows
from api.reports.schemas import Comparison
from api.reports.sections import build_sections

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # As it is, it would be an argument of the line's end before it.
    "[": "{[}",
    "]": "{]}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    **{character: f"\\{character}" for character in "{}$&#_%"},
}
_MOST_COLUMNS = 6
"""As many fit into a page; the report's CSV has all numbers."""
# A number with its sign, which stands in a formula so that a minus is one and no hyphen.
_SIGNED = re.compile(r"(?<![\w.,+-])[+-]\d[\d.,]*(?!\w)")


def render(comparison: Comparison) -> str:
    """The whole document part, ending with a newline. Everything that came from a user is escaped."""
    name = re.sub(r"\W+", "-", comparison.experiment_id or "jobs")
    lines = [
        # A comment ends with its line, so that a title cannot leave it.
        f"% {' '.join(comparison.title.split())}",
        f"% {formatting.describe_progress(comparison)}",
        f"% Regbench {comparison.version}, {comparison.generated_at:%Y-%m-%d %H:%M:%S} UTC",
        r"% The preamble needs \usepackage{booktabs,textcomp} and \usepackage[T1]{fontenc}; names in other",
        "% letters than Latin ones need LuaLaTeX or XeLaTeX.",
        *_build_table(
            [row[:_MOST_COLUMNS] for row in formatting.build_variant_rows(comparison)],
            f"{comparison.title}. {comparison.headline} Mean ± half of the 95 % interval over seeds.",
            f"tab:{name}",
        ),
    ]
    if comparison.contrasts:
        lines += _build_table(
            [row[:_MOST_COLUMNS] for row in formatting.build_contrast_rows(comparison)],
            f"Differences from {comparison.baseline}, with intervals, within pairs that share a seed.",
            f"tab:{name}-differences",
        )
    if comparison.gains:
        lines += _build_table(
            build_gain_rows(comparison), "Gains over the baseline along the axes.", f"tab:{name}-axes"
        )
    for section in build_sections(comparison):
        lines += _build_table(
            [row[:_MOST_COLUMNS] for row in section.rows],
            section.caption or f"{section.title}.",
            f"tab:{name}-{section.name}",
        )
    lines += ["", r"\paragraph{Methods}", escape(comparison.methods)]
    return "\n".join(lines) + "\n"


def _build_table(rows: list[list[str]], caption: str, label: str) -> list[str]:
    head, *body = rows
    text = escape(caption)
    return [
        "",
        r"\begin{table}",
        r"  \centering\small",
        rf"  \caption{{{text}}}",
        rf"  \label{{{label}}}",
        rf"  \begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"    \toprule",
        _build_row(head),
        r"    \midrule",
        *map(_build_row, body),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]


def _build_row(cells: list[str]) -> str:
    return f"    {' & '.join(map(escape, cells))} \\\\"


def escape(text: str) -> str:
    """Text that LaTeX prints as it is; numbers with a sign are set as formulas."""
    parts, end = [], 0
    line = "".join(character if character.isprintable() else " " for character in " ".join(text.split()))
    for number in _SIGNED.finditer(line):
        parts += [_escape_characters(line[end : number.start()]), f"${number[0]}$"]
        end = number.end()
    return "".join([*parts, _escape_characters(line[end:])])


def _escape_characters(text: str) -> str:
    escaped = "".join(_ESCAPES.get(character, character) for character in text)
    # Two hyphens would be a dash.
    return re.sub("-(?=-)", "-{}", escaped)
