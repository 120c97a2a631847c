"""The report as one HTML page that needs nothing else: inline style, inline SVG, no script."""

from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from api.reports import charts, words
from api.reports.schemas import Comparison


def render(comparison: Comparison) -> str:
    """The page. Everything that came from a user is escaped."""
    return _template().render(
        comparison=comparison,
        standing=words.standing(comparison),
        variant_rows=words.variant_rows(comparison),
        contrast_rows=words.contrast_rows(comparison) if comparison.contrasts else None,
        network_rows=words.network_rows(comparison),
        particulars=words.particulars(comparison),
        seeds=words.ranges(comparison.seeds),
        place_of=_place_of,
        charts=[
            # matplotlib escapes each text that it draws, so its SVG is safe as it stands.
            (name, chart, Markup(svg))  # noqa: S704
            for name, chart in charts.CHARTS.items()
            if (svg := charts.inline(comparison, name))
        ],
        left_out=max(0, len(comparison.variants) - charts.MOST_VARIANTS),
    )


def _place_of(pointer: str) -> str:
    """The id of the part of the page that shows what a JSON pointer into the comparison names."""
    _, part, *_ = pointer.split("/")
    if part == "contrasts":
        return "against"
    shown_below = ("parameters", "weight_norm", "zero_weight_fraction")
    return "networks" if pointer.endswith(shown_below) else "variants"


def _interval_below(cell: str) -> Markup:
    """A cell with its interval, `±...` or `(... to ...)`, on its own line, to keep tables narrow."""
    mean, sign, interval = cell.partition(" ±")
    if not sign:
        mean, sign, interval = cell.partition(" (")
    return (
        escape(mean) + Markup("<small>{}</small>").format(sign.strip() + interval) if sign else escape(cell)
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["interval_below"] = _interval_below
    return environment.get_template("report.html.jinja")
