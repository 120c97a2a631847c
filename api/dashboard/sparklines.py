"""A line of a job's loss, small enough for a row of a table."""

import math
from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT = 84, 18
_MARGIN = 1.5
"""Half of a line's width at the least, or the edges would cut it."""


def draw_sparkline(curve: Sequence[tuple[int, float, bool]]) -> Markup:
    """The losses of some epochs as SVG, from the lowest to the highest of this curve, and in words.

    `curve` is as `load_loss_curves` gives it. Empty where there are fewer than two finite losses.
    """
    points = [(epoch, loss) for epoch, loss, _ in curve if math.isfinite(loss)]
    if len(points) < 2:
        return Markup()
    (first, last), (low, high) = ((min(ends), max(ends)) for ends in zip(*points, strict=True))
    height = (HEIGHT - 2 * _MARGIN) / (high - low or 1)
    width = (WIDTH - 2 * _MARGIN) / (last - first)
    path = " ".join(
        f"{_MARGIN + width * (epoch - first):.1f},{HEIGHT - _MARGIN - height * (loss - low):.1f}"
        for epoch, loss in points
    )
    name = "Validation loss" if all(is_validation for *_, is_validation in curve) else "Training loss"
    words = ", ".join(f"{loss:.4f} after epoch {epoch}" for epoch, loss in (points[0], points[-1]))
    return Markup(  # noqa: S704 (of this file's own words and numbers)
        f'<svg class="sparkline" width="{WIDTH}" height="{HEIGHT}" role="img"><title>{name}: {words}</title>'
        f'<polyline points="{path}"/></svg>'
    )
