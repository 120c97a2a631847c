"""The report as one HTML page that needs nothing else: inline style, inline SVG, no script."""

from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from api.reports import charts, words
from api.reports.schemas import Comparison


def render(comparison: Comparison) -> str:
    """The page. Everything that came from a user is escaped."""
    gap = charts.gap_chart(comparison)
    seeds = charts.seed_chart(comparison)
    return _template().render(
        comparison=comparison,
        standing=words.standing(comparison),
        variant_rows=words.variant_rows(comparison),
        contrast_rows=words.contrast_rows(comparison) if comparison.contrasts else None,
        network_rows=words.network_rows(comparison),
        # charts escapes each text that it draws, so its SVG is safe as it stands.
        panels=[(name, Markup(svg)) for name, svg in charts.loss_panels(comparison)],  # noqa: S704
        gap_chart=Markup(gap) if gap else None,  # noqa: S704
        gap_left_out=max(0, len(comparison.variants) - charts.MOST_LINES),
        seed_chart=Markup(seeds) if seeds else None,  # noqa: S704
    )


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
