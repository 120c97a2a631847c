"""The charts of a report, each drawn once by Matplotlib and written as SVG, PNG or PDF.

Importing this imports Matplotlib, so do it only where a chart is requested.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure

from api.reports.charts import (
    along_axes,
    decomposition,
    drawing,
    ensembles,
    learning,
    networks,
    outcomes,
    robustness,
    tuning,
)
from api.reports.schemas import Comparison

ImageFormat = Literal["svg", "png", "pdf"]


@dataclass(frozen=True)
class Chart:
    """A chart that a report may contain."""

    name: str
    title: str
    caption: str
    """How to read it."""
    find: Callable[[Comparison], Sequence[object]]
    """What it would show, a row, line or panel each; nothing: this report has no such chart."""
    limit: int
    """How many of them it shows."""
    absent: str
    """Why there is no such chart, where there are results."""
    draw: Callable[[Comparison], Figure]
    find_expected: Callable[[Comparison], Sequence[object]] | None = None
    """What it would show if nothing were missing; by default all that `find` returns."""

    axes: int = 0
    """How many axes an experiment with this chart has; 0: any number."""
    items: str = "variants"
    """What `find` returns, in words."""

    def explain_absence(self, comparison: Comparison) -> str:
        """Why this comparison has no such chart."""
        return self.absent if comparison.finished else _NO_RESULT

    def count_omitted(self, comparison: Comparison) -> int:
        """How many of its items are left out for lack of space."""
        expected = (self.find_expected or self.find)(comparison)
        return len(expected) - min(len(self.find(comparison)), self.limit)

    def measure_height(self, comparison: Comparison) -> float:
        """Its height in inches at the usual width, known before it is drawn."""
        return drawing.measure_height(lambda: self.draw(comparison))

    def render_svg(self, comparison: Comparison, width: float = drawing.WIDTH) -> str:
        """One `<svg>` element; the same comparison gives the same bytes."""
        return drawing.to_svg(lambda: self.draw(comparison), name=self.name, title=self.title, width=width)

    def render_png(self, comparison: Comparison, width: float = drawing.WIDTH) -> bytes:
        """The same image, at 200 pixels per inch."""
        return drawing.to_png(lambda: self.draw(comparison), width=width)

    def render_pdf(self, comparison: Comparison, width: float = drawing.WIDTH) -> bytes:
        """The same as a PDF page of its size."""
        return drawing.to_pdf(lambda: self.draw(comparison), width=width)


def render(
    comparison: Comparison, name: str, image_format: ImageFormat, width: float = drawing.WIDTH
) -> bytes | None:
    """The chart of that name (a key of `CHARTS`) as a file; None if there is no data for it."""
    chart = CHARTS[name]
    if not chart.find(comparison):
        return None
    if image_format == "svg":
        return chart.render_svg(comparison, width).encode()
    return (chart.render_png if image_format == "png" else chart.render_pdf)(comparison, width)


def get_available(comparison: Comparison) -> list[Chart]:
    """The charts for which there is data."""
    return [chart for chart in CHARTS.values() if chart.find(comparison)]


_NO_RESULT = "no job of it has finished"
_NO_AXIS = "it takes one axis, and a baseline and another variant on it"
_NO_DIAGNOSTICS = "of none of its models the weights' picture was kept"

CHARTS: dict[str, Chart] = {
    chart.name: chart
    for chart in (
        Chart(
            "differences",
            "Difference from the baseline, with intervals",
            "A dot for the mean over pairs of equal seed, filled where it is called higher or lower; a line "
            "for its interval. Intervals of a metric that is tested hold for all tests of the report "
            "together, of another each for itself. Shaded: what counts as practically equal.",
            outcomes.find_contrasted,
            outcomes.MAX_ROWS,
            "no variant shares a finished seed with the baseline",
            outcomes.draw_differences,
        ),
        Chart(
            "expected-best",
            "Validation loss that so many trials find",
            "Lines: the mean of the lowest validation loss among so many trials; bands hold it in 80 % of "
            "their choices. Of methods whose trials depend on each other: the lowest so far.",
            tuning.find_budgets,
            drawing.MAX_LINES,
            "it takes `tune`, and trials that have succeeded",
            tuning.draw_budgets,
        ),
        Chart(
            "tuned-parameters",
            "Validation loss of each trial by its settings",
            "A marker a trial: the mean over its seeds, with a standard deviation to each side; those chosen "
            "are filled.",
            tuning.find_fields,
            tuning.MAX_PANELS,
            "it takes `tune`, and trials that have succeeded",
            tuning.draw_parameters,
            items="tuned fields",
        ),
        Chart(
            "trials",
            "Settings and validation loss of each trial",
            "A line a trial, down the tuned fields to the mean validation loss over its seeds; thick: those "
            "chosen. Where a line has no marker, its variant does not tune that field. Of each variant at "
            f"most the {tuning.MAX_TRIALS} trials with the lowest losses.",
            tuning.find_tried,
            drawing.MAX_LINES,
            "it takes `tune`, and trials that have succeeded",
            tuning.draw_parallel_coordinates,
        ),
        Chart(
            "along-axis",
            "Test accuracy and loss along the axis",
            "Means over seeds; bands are their 95 % intervals.",
            along_axes.find_lines,
            drawing.MAX_LINES,
            _NO_AXIS,
            along_axes.draw_metrics,
            axes=1,
        ),
        Chart(
            "gain",
            "Gain over the baseline along the axis",
            "Above zero the variant is better. The band holds for all tests of the report together; "
            "a filled marker is a difference that is called. A thick line on zero is the 95 % interval of "
            "where the mean gain crosses it.",
            along_axes.find_gains,
            drawing.MAX_LINES,
            _NO_AXIS,
            along_axes.draw_gains,
            axes=1,
        ),
        Chart(
            "error-curve",
            "Test error by the size of the training set",
            "Markers are means over seeds, lines the fitted a + b n^-c, bands its 95 % intervals.",
            along_axes.find_error_curves,
            drawing.MAX_LINES,
            "it takes the size of the training set as the only axis, four sizes or more, and errors that lie "
            "on such a curve",
            along_axes.draw_error_curves,
            axes=1,
        ),
        Chart(
            "gain-map",
            "Gain over the baseline at each combination of the axes",
            "Blue: the variant is better; red: worse. A frame marks what is called a gain or a loss.",
            along_axes.find_maps,
            along_axes.MAX_PANELS,
            "it takes two axes",
            along_axes.draw_maps,
            axes=2,
        ),
        Chart(
            "bias-variance",
            "Bias and variance over training sets",
            "Means over seeds with their 95 % intervals, which may reach beyond the plot: bias is what the "
            "average of the models still gets wrong, variance how far the models lie from that average.",
            decomposition.find_rows,
            decomposition.MAX_ROWS,
            "it takes `parts`, two or more, and a seed that has finished on all of them",
            decomposition.draw,
        ),
        Chart(
            "ensembles",
            "Ensembles of a variant's seeds",
            "Means over ensembles of so many seeds, whose models' probabilities are averaged; one member: "
            "the mean of the single models.",
            ensembles.find_items,
            drawing.MAX_LINES,
            "it takes stored test predictions of two seeds of a variant, and neither axes nor parts",
            ensembles.draw,
        ),
        Chart(
            "accuracy-by-seed",
            "Test accuracy of each seed",
            "Lines join models of the same seed: above the baseline's, below the variant's. A line that "
            "leads to the right is a gain.",
            outcomes.find_finished,
            outcomes.MAX_ROWS,
            _NO_RESULT,
            outcomes.draw_seeds,
        ),
        Chart(
            "learning-curves",
            "Loss by epoch",
            "Means over seeds; the band is one standard deviation to each side. Over many epochs the thin "
            "line is the mean itself, the thick one smoothed. A dotted upright marks where overfitting "
            "begins: from there on the validation loss and its distance from the training loss rise, in "
            "both halves of the seeds.",
            learning.find_with_curves,
            learning.MAX_PANELS,
            _NO_RESULT,
            learning.draw_loss,
        ),
        Chart(
            "accuracy-curves",
            "Accuracy by epoch",
            "As the chart of losses, for the share of images classified correctly.",
            learning.find_with_curves,
            learning.MAX_PANELS,
            _NO_RESULT,
            learning.draw_accuracy,
        ),
        Chart(
            "gap",
            "Generalization gap by epoch",
            "Validation minus training loss, means over seeds; it grows with overfitting. A ring marks "
            "where overfitting begins: from there on the validation loss rises as well, in both halves of "
            "the seeds.",
            learning.find_with_validation,
            learning.MAX_PANELS,
            "no image was held out to validate on",
            learning.draw_gap,
        ),
        Chart(
            "robustness",
            "Accuracy on damaged test images, relative to the baseline",
            "Dots are mean differences over severities 1 to 5, in percentage points; lines are 95 % "
            "intervals over pairs of equal seed, each for itself. Right of zero is better than the baseline.",
            robustness.find_compared,
            robustness.MAX_PANELS,
            "no pair of models was measured on damaged test images (`evaluation.robustness`)",
            robustness.draw_robustness,
        ),
        Chart(
            "cost",
            "Test accuracy against cost",
            "Up is more accurate, left is faster. Lines are 95 % intervals over seeds.",
            outcomes.find_finished,
            outcomes.MAX_ROWS,
            _NO_RESULT,
            outcomes.draw_cost,
        ),
        Chart(
            "weights",
            "How large the weights are",
            "One model of each variant, all to the same scale. Weights of exactly zero are "
            "omitted, and counted above the plot. Log scale.",
            networks.find_diagnosed,
            networks.MAX_PANELS,
            _NO_DIAGNOSTICS,
            networks.draw_weights,
            find_expected=outcomes.find_finished,
        ),
        Chart(
            "first-layer",
            "What the first layer looks at",
            "The incoming weights of the strongest units, each as an image: red above zero, blue below "
            "(both dark without colour), pale at zero. A pixel that is pale in every image is hardly used.",
            networks.find_with_first_layer,
            networks.MAX_PANELS,
            _NO_DIAGNOSTICS,
            networks.draw_first_layer,
            find_expected=outcomes.find_finished,
        ),
        Chart(
            "reliability",
            "How sure, and how often right",
            "Below the dashed diagonal a model is overconfident. Each dot holds the same number "
            "of test images; bars are standard errors.",
            networks.find_with_calibration,
            networks.MAX_PANELS,
            _NO_DIAGNOSTICS,
            networks.draw_calibration,
            find_expected=outcomes.find_finished,
        ),
        Chart(
            "confusion-difference",
            "What is confused more or less than by the baseline",
            "Of 1,000 test images of each true class, how many more (+) or fewer (-) get each answer. Good "
            "are + on the diagonal and - off it; less than one is left empty.",
            networks.find_with_confusion,
            networks.MAX_PANELS,
            "it takes a baseline and another variant with known mistakes",
            networks.draw_confusion,
        ),
    )
}
