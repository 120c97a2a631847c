"""One small picture of each technique, drawn from its formula: no numbers of any experiment."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate

from markupsafe import Markup

Curve = Callable[[float], float]
_WIDTH, _HEIGHT, _STEPS = 120, 64, 60
_MASK = (1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0, 1)
"""One draw of twelve units, half of which stay."""
_JAGGED = tuple(0.9 * math.exp(-index / 8) + 0.2 * math.sin(5.3 * index) for index in range(30))
"""A weight that oscillates around where it is going."""


def _normal(mean: float, sd: float) -> Curve:
    return lambda x: math.exp(-(((x - mean) / sd) ** 2) / 2) / sd


_AVERAGED = tuple(accumulate(_JAGGED, lambda average, value: 0.85 * average + 0.15 * value))
_LAST = len(_JAGGED) - 1
# What the picture shows, from and to where, and curves: the plain case first where there are two.
_CURVES: dict[str, tuple[str, float, float, tuple[Curve, ...]]] = {
    "gaussian_dropout": (
        "Density of the factor n, at the rates 0.2 and 0.5",
        -2,
        4,
        (_normal(1, 0.5), _normal(1, 1)),
    ),
    "gaussian_noise": ("Density of what is added to a pixel", -3, 3, (_normal(0, 1),)),
    "mixup": (
        "Density of the share s, at alpha 0.5",
        0.02,
        0.98,
        (lambda s: 1 / math.sqrt(s * (1 - s)) / math.pi,),
    ),
    "l1": ("Penalty of a weight w: its absolute value", -1, 1, (abs,)),
    "l2": ("Penalty of a weight w: its square", -1, 1, (lambda w: w * w,)),
    "activity_l1": ("Penalty by a unit's input, after ReLU", -1, 1, (lambda x: max(0.0, x),)),
    "proximal_l1": (
        "A weight before and after the step: a small one becomes 0",
        -1,
        1,
        (lambda w: w, lambda w: math.copysign(max(abs(w) - 0.4, 0.0), w)),
    ),
    "group_l1": (
        "A pixel's norm before and after the step: small ones become zero",
        0,
        1,
        (lambda n: n, lambda n: max(0.0, n - 0.3)),
    ),
    "weight_decay": (
        "A weight by step, no gradient",
        0,
        5,
        (lambda _: 1.0, lambda t: math.exp(-t / 2)),
    ),
    "max_norm": ("A unit's norm before and after the step", 0, 2, (lambda n: n, lambda n: min(n, 1.0))),
    "batch_normalization": (
        "Inputs over a batch, before and after",
        -4,
        6,
        (_normal(3, 1.4), _normal(0, 1)),
    ),
    "layer_normalization": ("One example's units, before and after", -4, 6, (_normal(2, 2), _normal(0, 1))),
    "confidence_penalty": (
        "Entropy of an answer by its probability p, of two classes",
        0,
        1,
        (lambda p: -sum(share * math.log(share) for share in (p, 1 - p) if share > 0),),
    ),
    "gradient_clipping": ("A gradient's norm before and after", 0, 2, (lambda n: n, lambda n: min(n, 1.0))),
    "learning_rate_schedule": (
        "Learning rate by epoch, constant and cosine",
        0,
        1,
        (lambda _: 1.0, lambda t: (1 + math.cos(math.pi * t)) / 2),
    ),
    "exponential_moving_average": (
        "A weight by step, and its moving average",
        0,
        _LAST,
        (lambda t: _JAGGED[round(t)], lambda t: _AVERAGED[round(t)]),
    ),
    "stochastic_weight_averaging": (
        "A weight by step, and its mean over the last part",
        0,
        _LAST,
        (lambda t: _JAGGED[round(t)], lambda t: sum(_JAGGED[15:]) / 15 if t >= 15 else math.nan),
    ),
    "early_stopping": (
        "Sketch: training loss falls on, validation loss has its minimum earlier",
        0.15,
        3,
        (lambda t: math.exp(-t), lambda t: 0.25 + math.exp(-2 * t) + 0.08 * t * t),
    ),
}
_BARS: dict[str, tuple[str, Sequence[float], Sequence[float]]] = {
    "dropout": (
        "Twelve units in one step at rate 0.5: dropped, or doubled",
        [1] * 12,
        [2 * kept for kept in _MASK],
    ),
    "spatial_dropout": (
        "Four maps of three positions in one step at the rate 0.5: a map is dropped as a whole",
        [1] * 12,
        [2 * kept for kept in (1, 0, 0, 1) for _ in range(3)],
    ),
    "label_smoothing": (
        "Target of each of ten classes at alpha 0.3, the third being right",
        [float(index == 2) for index in range(10)],
        [0.7 * (index == 2) + 0.03 for index in range(10)],
    ),
}
_SQUARE = ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))


@cache
def draw_technique(name: str) -> Markup:
    """The picture as an SVG element, whose label says what it shows; thin and grey is the plain case."""
    if name in _BARS:
        label, *rows = _BARS[name]
        content = _draw_bars(*rows)
    elif name in _CURVES:
        label, low, high, curves = _CURVES[name]
        lines = [
            [(x, curve(x)) for x in (low + (high - low) * step / _STEPS for step in range(_STEPS + 1))]
            for curve in curves
        ]
        content = _draw_lines(lines)
    else:
        label, turn = "An image's frame before and after a shift and a rotation", 0.25
        turned = [
            (x * math.cos(turn) - y * math.sin(turn) + 0.35, x * math.sin(turn) + y * math.cos(turn) + 0.1)
            for x, y in _SQUARE
        ]
        content = _draw_lines([[(2 * x, y) for x, y in line] for line in (_SQUARE, turned)])
    return Markup(  # noqa: S704 (of this file's own texts and numbers)
        f'<svg class="picture" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">'
        f"<title>{label}</title>{content}</svg>"
    )


def _draw_lines(lines: Sequence[Sequence[tuple[float, float]]]) -> str:
    points = [point for line in lines for point in line if not math.isnan(point[1])]
    (left, right), (bottom, top) = ((min(ends), max(ends)) for ends in zip(*points, strict=True))
    drawn = []
    for index, line in enumerate(lines):
        path = " ".join(
            f"{4 + 112 * (x - left) / (right - left):.1f},{60 - 56 * (y - bottom) / (top - bottom):.1f}"
            for x, y in line
            if not math.isnan(y)
        )
        plain = ' class="plain"' if len(lines) > 1 and index == 0 else ""
        drawn.append(f'<polyline{plain} points="{path}"/>')
    return "".join(drawn)


def _draw_bars(before: Sequence[float], after: Sequence[float]) -> str:
    width, highest = 112 / len(before), max(*before, *after)
    bars = []
    for css, values, share in (("plain", before, 0.9), ("bar", after, 0.5)):
        bars += [
            f'<rect class="{css}" x="{4 + width * (index + (1 - share) / 2):.1f}" '
            f'y="{60 - height:.1f}" width="{width * share:.1f}" height="{height:.1f}"/>'
            for index, height in enumerate(56 * value / highest for value in values)
        ]
    return "".join(bars)
