"""Ensembles of a variant's seeds: accuracy and loss by the number of members."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from api.reports.charts import drawing
from api.reports.charts.along_axes import build_handle
from api.reports.ensemble_schemas import EnsembleItem
from api.reports.schemas import Comparison

_SCALES = {"loss": 1, "accuracy": 100}


def find_items(comparison: Comparison) -> list[EnsembleItem]:
    """A line of the chart each."""
    return comparison.ensembles


def draw(comparison: Comparison) -> Figure:
    """A panel for the loss and one for the accuracy, a line a variant in each."""
    items = comparison.ensembles[: drawing.MAX_LINES]
    headings = ["test loss, nats", "test accuracy, %"]
    figure, panels = drawing.create_panels(
        headings, 1.4, columns=1, labels=("members", ""), keys=len(items), share=False
    )
    for axes, (score, scale) in zip(panels, _SCALES.items(), strict=True):
        for index, item in enumerate(items):
            axes.plot(
                [size.members for size in item.sizes],
                [scale * getattr(size, score) for size in item.sizes],
                color=drawing.COLOURS[index],
                linestyle=drawing.DASHES[index],
                marker=drawing.MARKERS[index],
            )
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    names = [item.variant for item in items]
    drawing.draw_legend(figure, list(zip(map(build_handle, range(len(names))), names, strict=True)))
    return figure
