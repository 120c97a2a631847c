"""Charts as inline SVG, without script: told apart by dashes and labels, so that they work without colour."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from api.reports.schemas import Comparison, CurvePoint, VariantReport

# Okabe and Ito's colours, which most kinds of colour blindness tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7A7A7A")
DASHES = ("", "7 4", "2 3", "9 3 2 3", "12 4", "4 4", "1 3", "6 2 2 2")
MOST_LINES = len(COLOURS)
_LABEL_HEIGHT = 13
_AXIS_TICKS = 5


@dataclass(frozen=True)
class Line:
    """One line of a chart; points are (x, y)."""

    label: str
    points: Sequence[tuple[float, float]]
    colour: str
    dash: str


@dataclass(frozen=True)
class Frame:
    """The drawing area inside a chart, and what it maps to it."""

    width: float
    height: float
    left: float
    right: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    top: float = 12
    bottom: float = 34

    def x(self, value: float) -> float:
        """Where `value` stands from the left."""
        return _scaled(value, self.x_range, self.left, self.width - self.right)

    def y(self, value: float) -> float:
        """Where `value` stands from the top."""
        return _scaled(value, self.y_range, self.height - self.bottom, self.top)


def loss_panels(comparison: Comparison) -> list[tuple[str, str]]:
    """For each variant with a history its name and a chart of training against validation loss."""
    shown = [variant for variant in comparison.variants if variant.curve]
    values = [value for variant in shown for point in variant.curve for value in _losses(point)]
    last = max((variant.curve[-1].epoch for variant in shown), default=1)
    return [(variant.name, _loss_panel(variant, last, _padded(values))) for variant in shown]


def gap_chart(comparison: Comparison) -> str | None:
    """Validation minus training loss by epoch, a line for each of the first variants; None without any."""
    lines = [
        Line(variant.name, points, COLOURS[number], DASHES[number])
        for number, variant in enumerate(comparison.variants[:MOST_LINES])
        if (points := _points(variant.curve, lambda point: point.gap_loss))
    ]
    if not lines:
        return None
    values = [y for line in lines for _, y in line.points] + [0.0]
    last = max(line.points[-1][0] for line in lines)
    frame = Frame(480, 270, 52, 140, (1, max(last, 2)), _padded(values))
    return _svg(
        frame, "Gap between validation and training loss by epoch", _line_chart(frame, lines, "epoch")
    )


def seed_chart(comparison: Comparison) -> str | None:
    """Test accuracy of each seed, a row for each variant, with the mean as a bar; None without a result."""
    shown = [variant for variant in comparison.variants if variant.n]
    if not shown:
        return None
    values = [100 * each.result.test_accuracy for variant in shown for each in variant.seeds]
    height = 50 + 26 * len(shown)
    frame = Frame(480, height, 150, 14, _padded(values), (len(shown) - 0.5, -0.5))
    body = [_x_axis(frame, "test accuracy, %")]
    for row, variant in enumerate(shown):
        body.append(_seed_row(frame, row, variant))
    return _svg(frame, "Test accuracy of each seed", "".join(body))


def _seed_row(frame: Frame, row: int, variant: VariantReport) -> str:
    y = frame.y(row)
    assert variant.measures is not None  # noqa: S101 (a variant with a seed has measures)
    mean = frame.x(100 * variant.measures.test_accuracy.mean)
    dots = "".join(
        f'<circle cx="{frame.x(100 * each.result.test_accuracy):.1f}" cy="{y:.1f}" r="4" class="dot">'
        f"<title>seed {each.seed}: {each.result.test_accuracy:.2%}</title></circle>"
        for each in variant.seeds
    )
    return (
        _label(variant.name, frame.left - 10, y + 4, anchor="end", most=22)
        + _grid_line(frame.left, frame.width - frame.right, y, y)
        + dots
        + f'<line x1="{mean:.1f}" x2="{mean:.1f}" y1="{y - 9:.1f}" y2="{y + 9:.1f}" class="mean"/>'
    )


def _loss_panel(variant: VariantReport, last: int, y_range: tuple[float, float]) -> str:
    lines = [
        Line(label, points, colour, dash)
        for label, points, colour, dash in (
            ("training", _points(variant.curve, lambda point: point.train_loss), COLOURS[0], ""),
            ("validation", _points(variant.curve, lambda point: point.validation_loss), COLOURS[1], "7 4"),
        )
        if points
    ]
    frame = Frame(400, 250, 52, 72, (1, max(last, 2)), y_range)
    title = f"{variant.name}: training and validation loss by epoch"
    return _svg(frame, title, _line_chart(frame, lines, "epoch"))


def _line_chart(frame: Frame, lines: Sequence[Line], x_label: str) -> str:
    ends = spread([frame.y(line.points[-1][1]) for line in lines], frame.top, frame.height - frame.bottom)
    drawn = [_line(frame, line, end) for line, end in zip(lines, ends, strict=True)]
    return _y_axis(frame) + _x_axis(frame, x_label, whole=True) + "".join(drawn)


def _line(frame: Frame, line: Line, label_y: float) -> str:
    places = [(frame.x(x), frame.y(y)) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    end_x, end_y = places[-1]
    edge = frame.width - frame.right
    return (
        f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="2" '
        f'stroke-dasharray="{line.dash}"/>'
        f'<circle cx="{end_x:.1f}" cy="{end_y:.1f}" r="2.5" fill="{line.colour}"/>'
        f'<line x1="{end_x + 3:.1f}" y1="{end_y:.1f}" x2="{edge + 8:.1f}" y2="{label_y:.1f}" class="leader"/>'
        + _label(line.label, edge + 10, label_y + 4, most=20)
    )


def _x_axis(frame: Frame, label: str, *, whole: bool = False) -> str:
    bottom = frame.height - frame.bottom
    marks = "".join(
        _grid_line(frame.x(tick), frame.x(tick), frame.top, bottom)
        + _label(_tick_text(tick), frame.x(tick), bottom + 14, anchor="middle")
        for tick in ticks(*frame.x_range, whole=whole)
    )
    middle = (frame.left + frame.width - frame.right) / 2
    return marks + _label(label, middle, bottom + 29, anchor="middle")


def _y_axis(frame: Frame) -> str:
    right = frame.width - frame.right
    return "".join(
        _grid_line(frame.left, right, frame.y(tick), frame.y(tick))
        + _label(_tick_text(tick), frame.left - 6, frame.y(tick) + 4, anchor="end")
        for tick in ticks(*frame.y_range)
    )


def _grid_line(x1: float, x2: float, y1: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" class="grid"/>'


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Round numbers between `low` and `high`, about five of them; integers where `whole`."""
    rough = (high - low) / _AXIS_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    if whole:
        step = max(1.0, float(round(step)))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _tick_text(value: float) -> str:
    return f"{value + 0.0:.10g}"


def _label(text: str, x: float, y: float, *, anchor: str = "start", most: int = 200) -> str:
    shown = text if len(text) <= most else text[: most - 1] + "…"
    title = f"<title>{escape(text)}</title>" if shown != text else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(shown)}{title}</text>'


def _svg(frame: Frame, title: str, body: str) -> str:
    return (
        f'<svg viewBox="0 0 {frame.width:.0f} {frame.height:.0f}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>{body}</svg>'
    )


def spread(places: Sequence[float], top: float, bottom: float) -> list[float]:
    """`places`, moved so that labels there do not overlap, within `top` and `bottom` if they fit."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = list(places)
    free_from = top
    for index in order:
        moved[index] = max(moved[index], free_from)
        free_from = moved[index] + _LABEL_HEIGHT
    free_until = max(bottom, top + _LABEL_HEIGHT * (len(places) - 1))
    for index in reversed(order):
        moved[index] = min(moved[index], free_until)
        free_until = moved[index] - _LABEL_HEIGHT
    return moved


def _points(
    curve: Sequence[CurvePoint], value: Callable[[CurvePoint], float | None]
) -> list[tuple[float, float]]:
    return [(float(point.epoch), known) for point in curve if (known := value(point)) is not None]


def _losses(point: CurvePoint) -> list[float]:
    return [value for value in (point.train_loss, point.validation_loss) if value is not None]


def _padded(values: Sequence[float]) -> tuple[float, float]:
    """A range a little wider than `values`, and never empty."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _scaled(value: float, domain: tuple[float, float], start: float, end: float) -> float:
    low, high = domain
    return start + (value - low) / (high - low) * (end - start)
