"""The report as one HTML page: inline style, no script, and figures inline or, where it is read, linked."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from api.glossary import TERMS, link_terms
from api.reports import charts, formatting, gains, sections
from api.reports.schemas import Comparison

_FIRST_FIGURE = "differences"
"""It is inline in each page: in a first view nothing should move when an image arrives."""
_PIXELS_PER_INCH = 100


def render(
    comparison: Comparison, *, link_figure: Callable[[str], str] | None = None, download: str | None = None
) -> str:
    """The page. Everything that came from a user is escaped.

    Args:
        link_figure: the address of the SVG of a figure, which is then loaded only where it is scrolled to:
            drawing all of them takes seconds. Without it the page needs nothing else.
        download: the address of the page with every figure inline.
    """

    def render_figure(chart: charts.Chart) -> Markup:
        if link_figure is None or chart.name == _FIRST_FIGURE:
            return Markup(chart.render_svg(comparison))  # noqa: S704 (Matplotlib escapes the texts that it draws)
        # The size reserves the room that the image will have, so that nothing moves when it arrives.
        return Markup('<img class="chart" src="{}" alt="{}" width="{}" height="{}" loading="lazy">').format(
            link_figure(chart.name),
            chart.title,
            round(_PIXELS_PER_INCH * charts.drawing.WIDTH),
            round(_PIXELS_PER_INCH * chart.measure_height(comparison)),
        )

    page = _get_template().render(
        comparison=comparison,
        formatting=formatting,
        gains=gains,
        sections=sections.build_sections(comparison),
        figures={chart.name: render_figure(chart) for chart in charts.get_available(comparison)},
        charts=charts.CHARTS,
        download=download,
        terms=TERMS,
    )
    # A file that leaves the service has its own glossary.
    return link_terms(page, "#term-")


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
