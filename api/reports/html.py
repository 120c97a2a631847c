"""The report as one HTML page that needs nothing else: inline style, inline SVG, no script."""

from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from api.reports import charts, formatting, gains, sections
from api.reports.schemas import Comparison


def render(comparison: Comparison) -> str:
    """The page. Everything that came from a user is escaped."""
    return _get_template().render(
        comparison=comparison,
        formatting=formatting,
        gains=gains,
        sections=sections.build_sections(comparison),
        # Matplotlib escapes each text that it draws, so its SVG is safe as it is.
        svg={
            chart.name: Markup(chart.render_svg(comparison))  # noqa: S704 (as above)
            for chart in charts.get_available(comparison)
        },
        charts=charts.CHARTS,
    )


@lru_cache(maxsize=1)
def _get_template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def put_interval_below(cell: str) -> Markup:
        """A cell with its interval, `±...` or `(... to ...)`, on its own line, to keep tables narrow."""
        mean, sign, interval = cell.partition(" ±")
        if not sign:
            mean, sign, interval = cell.partition(" (")
        below = Markup("<small>{}</small>").format(sign.strip() + interval) if sign else ""
        return escape(mean) + below

    environment.filters["interval_below"] = put_interval_below
    return environment.get_template("report.html.jinja")
