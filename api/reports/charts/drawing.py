"""Matplotlib as the charts use it: one style, SVG that may be inlined, PNG. Never pyplot: it keeps state."""

import io
import math
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from html import escape
from threading import Lock
from typing import Any
from unicodedata import east_asian_width

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox, TransformedBbox

# Those of the dashboard's charts.css: the baseline's, which is usually listed first, then Okabe and Ito's,
# which most kinds of colour blindness tell apart, with darker ones for those that are faint on white. Dashes
# and markers do without any.
COLOURS = ("#1C2024", "#0072B2", "#D55E00", "#009E73", "#A8487D", "#9A6A00", "#6A51A3", "#6B6B6B")
BLUE, ORANGE = COLOURS[1:3]
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 2)),
    (0, (1, 1.2)),
    (0, (6, 2, 1, 2)),
    (0, (9, 2)),
    (0, (3, 3)),
    (0, (6, 2, 1, 2, 1, 2)),
    (0, (1, 3)),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MAX_LINES = len(COLOURS)
GREY = "#666666"

WIDTH = 4.6
"""Inches. Narrow, so that the text is still read where a page of 360 pixels shrinks it."""
_WIDTH: ContextVar[float] = ContextVar("width", default=WIDTH)
"""Of the figure that is being drawn."""
_ONLY_MEASURES: ContextVar[bool] = ContextVar("only_measures", default=False)
_PNG_DPI = 200
_RIGHT = 0.16
_BELOW = 0.48
_LINE = 0.145
_KEY_ROW = 0.17
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    # Where a heading stands is reckoned; to find it, Matplotlib would measure every tick's text.
    "axes.titley": 1.0,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    # What one plot writes across to the next is seen there.
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    # Names come from users: a dollar begins no formula.
    "text.parse_math": False,
    "svg.fonttype": "none",
    # TrueType, so that text in a PDF can be searched and edited; publishers refuse Type 3.
    "pdf.fonttype": 42,
}

# Letters in a line, and lines, of a heading above one of so many columns.
_HEADINGS = {1: (58, 2), 2: (27, 3), 3: (17, 3)}

# Matplotlib keeps its settings for the whole process, and not all of it may be used by two threads at once.
_LOCK = Lock()


def to_svg(draw: Callable[[], Figure], *, name: str, title: str, width: float = WIDTH) -> str:
    """The drawing as one `<svg>` element, for a page or a file; the same drawing gives the same bytes.

    Args:
        draw: makes the figure; called with the charts' style in force.
        name: the chart's, which keeps its ids apart from those of other charts on the page.
        title: what a screen reader says.
        width: in inches.
    """
    with _apply_style(name, width):
        figure = draw()
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    # Without what a file of its own needs, and with what a screen reader needs.
    document = text.getvalue()
    body = document[document.index("<svg") :].strip()
    # These rules would apply to the whole page; on the root they are inherited by the chart alone.
    body = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    # Ids that nothing refers to: of groups the same in every chart, of images the same for equal ones.
    body = re.sub(r'(<g|<image[^>]*?) id="[^"]*"', r"\1", body)
    box = re.search(r'viewBox="([^"]*)"', body)
    assert box is not None  # noqa: S101 (Matplotlib always writes it)
    root = (
        f'<svg viewBox="{box[1]}" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" role="img" aria-label="{escape(title)}" '
        f'style="stroke-linejoin: round; stroke-linecap: butt"><title>{escape(title)}</title>'
    )
    return root + body[body.index(">") + 1 :]


def to_pdf(draw: Callable[[], Figure], *, width: float = WIDTH) -> bytes:
    """The drawing as a PDF for a paper, of that width in inches; its text stays text."""
    with _apply_style("", width):
        document = io.BytesIO()
        draw().savefig(document, format="pdf", metadata={"CreationDate": None, "Producer": None})
        return document.getvalue()


def to_png(draw: Callable[[], Figure], *, width: float = WIDTH) -> bytes:
    """The drawing as a PNG, for slides and documents."""
    with _apply_style("", width):
        image = io.BytesIO()
        draw().savefig(image, format="png", dpi=_PNG_DPI, metadata={"Software": None})
        return image.getvalue()


class _Measured(Exception):
    """Ends a drawing whose height is known: no error."""

    def __init__(self, height: float) -> None:
        self.height = height


def measure_height(draw: Callable[[], Figure]) -> float:
    """The height in inches of what `draw` would draw in the usual width, which it need not draw for that."""
    token = _ONLY_MEASURES.set(True)
    try:
        return float(draw().get_size_inches()[1])
    except _Measured as measured:
        return measured.height
    finally:
        _ONLY_MEASURES.reset(token)


@contextmanager
def _apply_style(salt: str, width: float) -> Iterator[None]:
    with _LOCK, rc_context(_STYLE | {"svg.hashsalt": f"regbench {salt}"}), warnings.catch_warnings():
        # The browser has fonts for what DejaVu lacks; a PNG or PDF shows a box there.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        token = _WIDTH.set(width)
        try:
            yield
        finally:
            _WIDTH.reset(token)


def create_figure(
    height: float, *, left: float = 0.72, right: float = _RIGHT, above: float = 0.1, keys: int = 0
) -> tuple[Figure, Axes]:
    """A figure with one plot of that height, and room for `keys` rows of legend below it; all in inches.

    Places are reckoned and not asked of Matplotlib, whose layout engine takes longer than all the drawing.
    """
    below = _BELOW + _KEY_ROW * keys
    total = _WIDTH.get()
    figure = _start_figure(above + height + below)
    return figure, _place_panel(figure, left, below, total - left - right, height)


def create_panels(
    headings: Sequence[str],
    height: float,
    *,
    columns: int,
    labels: tuple[str, str],
    keys: int = 0,
    left: float = 0.62,
    share: bool = True,
) -> tuple[Figure, list[Axes]]:
    """A figure of plots of that height, each below its heading, with common labels of both axes.

    Args:
        labels: of the x and the y axis.
        share: whether all plots have the same scale, which is then written at the edges only.
    """
    rows = math.ceil(len(headings) / columns)
    heading = 0.1 + _LINE * max(text.count("\n") + 1 for text in headings)
    ticks = 0.08 if share else 0.22
    across = 0.12 if share else 0.3
    below = (_BELOW if labels[0] else 0.05) + _KEY_ROW * keys
    total = rows * (heading + height) + (rows - 1) * ticks + below
    width = (_WIDTH.get() - left - _RIGHT - across * (columns - 1)) / columns
    figure = _start_figure(total)
    axes_list: list[Axes] = []
    for index, text in enumerate(headings):
        row, column = divmod(index, columns)
        top = total - heading - row * (heading + height + ticks)
        first = axes_list[0] if share and axes_list else None
        axes = _place_panel(figure, left + column * (width + across), top - height, width, height, like=first)
        title = axes.set_title(text, loc="left", pad=4)
        # A name of wide letters ends at the next plot's.
        inches = Bbox.from_bounds(left + column * (width + across), top, width + across, heading)
        title.set_clip_box(TransformedBbox(inches, figure.dpi_scale_trans))
        if share:
            axes.tick_params(labelleft=column == 0, labelbottom=index + columns >= len(headings))
        axes_list.append(axes)
    _draw_label(figure, (left + _WIDTH.get()) / 2, _KEY_ROW * keys + 0.1, labels[0], rotation=0)
    _draw_label(figure, 0.1, (total + below) / 2, labels[1], rotation=90)
    return figure, axes_list


def _start_figure(height: float) -> Figure:
    if _ONLY_MEASURES.get():
        raise _Measured(height)
    return Figure(figsize=(_WIDTH.get(), height))


def _place_panel(
    figure: Figure, left: float, bottom: float, width: float, height: float, *, like: Axes | None = None
) -> Axes:
    across, up = figure.get_size_inches()
    area = (left / across, bottom / up, width / across, height / up)
    return figure.add_axes(area, sharex=like, sharey=like)


def _draw_label(figure: Figure, x: float, y: float, text: str, *, rotation: float) -> None:
    across, up = figure.get_size_inches()
    figure.text(x / across, y / up, text, ha="center", va="center", rotation=rotation)


def format_heading(name: str, *, columns: int = 2, note: str = "") -> str:
    """A variant's name to stand above its plot, on as few lines as it needs, with a note below it."""
    width, lines = _HEADINGS[columns]
    width = int(width * _WIDTH.get() / WIDTH)
    # Breaking at words leaves some of each line empty.
    line = truncate_label(name, (width - 2) * lines)
    text = textwrap.wrap(line, int(width * _measure_narrowness(line)), max_lines=lines, placeholder="…")
    return "\n".join([*text, *([note] if note else [])])


def set_epoch_axis(axes: Axes, last: int) -> None:
    """An x axis of epochs 1 to `last`."""
    axes.set_xlim(1 - 0.02 * last, max(last, 2) + 0.02 * last)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))


def draw_legend(figure: Figure, entries: Sequence[tuple[Artist, str]], *, columns: int = 1) -> None:
    """What each line or marker means, in the room below the plots, where it can cover nothing."""
    # Matplotlib leaves out names that begin with an underscore, so the texts are set afterwards.
    legend = figure.legend(
        [handle for handle, _ in entries],
        ["x"] * len(entries),
        loc="lower left",
        bbox_to_anchor=(0, 0),
        ncols=columns,
        borderaxespad=0,
        borderpad=0.3,
        labelspacing=(72 * _KEY_ROW - 8) / 8,
    )
    for text, (_, name) in zip(legend.get_texts(), entries, strict=True):
        text.set_text(truncate_label(name, int(48 * _WIDTH.get() / WIDTH)))


def truncate_label(name: str, most: int = 48) -> str:
    """`name` on one line; of a long one both ends, because variants often differ in their ends only.

    `most` is of ordinary letters; wide ones take the room of two.
    """
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())
    fitting = int(most * _measure_narrowness(line))
    if len(line) <= fitting:
        return line
    head = math.ceil((fitting - 1) * 0.6)
    return f"{line[:head].rstrip()}…{line[-(fitting - 1 - head) :].lstrip()}"


def _measure_narrowness(line: str) -> float:
    """The share of its length in ordinary letters that a line's own letters may have."""
    wide = sum(letter in "MW@" or east_asian_width(letter) in "WF" for letter in line)
    return len(line) / (len(line) + wide) if line else 1.0


def resolve_overlaps(places: Sequence[float], low: float, high: float, apart: float) -> list[float]:
    """`places`, moved to lie at least `apart` from each other, between `low` and `high` if they fit."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = list(places)
    free_from = low
    for index in order:
        moved[index] = max(moved[index], free_from)
        free_from = moved[index] + apart
    free_until = max(high, low + apart * (len(places) - 1))
    for index in reversed(order):
        moved[index] = min(moved[index], free_until)
        free_until = moved[index] - apart
    return moved
