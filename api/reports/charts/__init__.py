"""The charts of a report, each drawn once by Matplotlib and written as SVG or PNG.

Importing this imports Matplotlib: do it where a chart is asked for, not where the API starts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure

from api.reports.charts import drawing, learning, networks, outcomes
from api.reports.schemas import Comparison

ImageFormat = Literal["svg", "png"]


@dataclass(frozen=True)
class Chart:
    """A chart that a report may hold."""

    name: str
    title: str
    caption: str
    """How to read it."""
    shows: Callable[[Comparison], int]
    """How many variants it would show; none: there is no such chart in this report."""
    of: Callable[[Comparison], int]
    """How many there are to show, so that it is known how many were left out."""
    absent: str
    """Why there is no such chart, where there are results."""
    draw: Callable[[Comparison], Figure]

    def explain_absence(self, comparison: Comparison) -> str:
        """Why this comparison has no such chart."""
        return self.absent if comparison.finished else _NO_RESULT

    def get_omitted(self, comparison: Comparison) -> int:
        """How many variants there was no room for."""
        return self.of(comparison) - self.shows(comparison)

    def render_svg(self, comparison: Comparison) -> str:
        """One `<svg>` element; the same comparison gives the same bytes."""
        return drawing.to_svg(lambda: self.draw(comparison), name=self.name, title=self.title)

    def render_png(self, comparison: Comparison) -> bytes:
        """The same picture, 200 pixels an inch."""
        return drawing.to_png(lambda: self.draw(comparison))


def render(comparison: Comparison, name: str, form: ImageFormat) -> bytes | None:
    """The chart of that name (a key of `CHARTS`) as a file; None where there is no data for it."""
    chart = CHARTS[name]
    if not chart.shows(comparison):
        return None
    return chart.render_svg(comparison).encode() if form == "svg" else chart.render_png(comparison)


def get_available(comparison: Comparison) -> list[Chart]:
    """The charts that there are data for."""
    return [chart for chart in CHARTS.values() if chart.shows(comparison)]


def _count_finished(comparison: Comparison) -> int:
    return len(outcomes.find_finished(comparison))


def _count_contrasted(comparison: Comparison) -> int:
    return len(outcomes.find_contrasted(comparison))


def _count_with_curves(comparison: Comparison) -> int:
    return len(learning.find_with_curves(comparison))


def _count_with_validation(comparison: Comparison) -> int:
    return len(learning.find_with_validation(comparison))


def _count_diagnosed(comparison: Comparison) -> int:
    return len(networks.get_diagnosed_models(comparison))


def _limit_variants(most: int, count: Callable[[Comparison], int]) -> Callable[[Comparison], int]:
    return lambda comparison: min(most, count(comparison))


_NO_RESULT = "no job of it has finished"
_NO_DIAGNOSTICS = "of none of its models the weights' picture was kept"

CHARTS: dict[str, Chart] = {
    chart.name: chart
    for chart in (
        Chart(
            "differences",
            "Difference from the baseline, with 95 % intervals",
            "A dot for the mean over pairs of equal seed, a line for its 95 % interval: one that crosses "
            "zero shows no difference. In the shaded zone accuracies are as good as equal.",
            _limit_variants(outcomes.MAX_ROWS, _count_contrasted),
            _count_contrasted,
            "no variant shares a finished seed with the baseline",
            outcomes.draw_differences,
        ),
        Chart(
            "accuracy-by-seed",
            "Test accuracy of each seed",
            "Lines join models of the same seed: above the baseline's, below the variant's. A line that "
            "leads to the right is a gain.",
            _limit_variants(outcomes.MAX_ROWS, _count_finished),
            _count_finished,
            _NO_RESULT,
            outcomes.draw_seeds,
        ),
        Chart(
            "learning-curves",
            "Loss by epoch",
            "Means over seeds; the band is one standard deviation to each side. Over many epochs the thin "
            "line is the mean itself, the thick one smoothed. A dotted upright marks where overfitting sets"
            " in.",
            _limit_variants(learning.MAX_PANELS, _count_with_curves),
            _count_with_curves,
            _NO_RESULT,
            learning.draw_loss,
        ),
        Chart(
            "accuracy-curves",
            "Accuracy by epoch",
            "As the chart of losses, for the share of images classified correctly.",
            _limit_variants(learning.MAX_PANELS, _count_with_curves),
            _count_with_curves,
            _NO_RESULT,
            learning.draw_accuracy,
        ),
        Chart(
            "gap",
            "Generalization gap by epoch",
            "Validation minus training loss, means over seeds; it grows with overfitting. A ring marks "
            "where overfitting sets in: from there on the validation loss itself rises.",
            _limit_variants(learning.MAX_PANELS, _count_with_validation),
            _count_with_validation,
            "no image was held out to validate on",
            learning.draw_gap,
        ),
        Chart(
            "cost",
            "Test accuracy against cost",
            "Up is more accurate, left is quicker. Upright lines are 95 % intervals over seeds.",
            _limit_variants(outcomes.MAX_ROWS, _count_finished),
            _count_finished,
            _NO_RESULT,
            outcomes.draw_cost,
        ),
        Chart(
            "weights",
            "How large the weights are",
            "One model of each variant, all to the same scale. Weights of exactly zero are left out, and "
            "counted above the plot. Upwards each mark is a tenfold.",
            _count_diagnosed,
            lambda comparison: sum(variant.metrics is not None for variant in comparison.variants),
            _NO_DIAGNOSTICS,
            networks.draw_weights,
        ),
        Chart(
            "first-layer",
            "What the first layer looks at",
            "The incoming weights of the strongest units, each as an image: red above zero, blue below "
            "(both dark without colour), pale at zero. A pixel that is pale in every image is hardly used.",
            lambda comparison: sum(
                bool(item.first_layer) for _, item in networks.get_diagnosed_models(comparison)
            ),
            lambda comparison: sum(variant.metrics is not None for variant in comparison.variants),
            _NO_DIAGNOSTICS,
            networks.draw_first_layer,
        ),
        Chart(
            "reliability",
            "How sure, and how often right",
            "Below the dashed diagonal a model is surer than it is right. As many test images in each dot; "
            "uprights are standard errors.",
            lambda comparison: sum(
                bool(item.calibration) for _, item in networks.get_diagnosed_models(comparison)
            ),
            lambda comparison: sum(variant.metrics is not None for variant in comparison.variants),
            _NO_DIAGNOSTICS,
            networks.draw_calibration,
        ),
        Chart(
            "confusion-difference",
            "What is confused more or less than by the baseline",
            "Of 1,000 test images of each true class, how many more (+) or fewer (-) get each answer. Good "
            "are + on the diagonal and - off it; less than one is left empty.",
            lambda comparison: len(networks.find_with_confusion(comparison)),
            lambda comparison: sum(
                bool(variant.confusion) and not variant.is_baseline for variant in comparison.variants
            ),
            "it takes a baseline and another variant with known mistakes",
            networks.draw_confusion,
        ),
    )
}
