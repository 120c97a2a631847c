"""Damaged test images: what each variant gains or loses by kind of damage."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from api.reports.charts import drawing
from api.reports.robustness_schemas import RobustnessReport
from api.reports.schemas import Comparison
from models.records import CORRUPTIONS

MAX_PANELS = 6
_ROW_HEIGHT = 0.19


def find_compared(comparison: Comparison) -> list[RobustnessReport]:
    """The variants that have a difference to show."""
    return [report for report in comparison.robustness if report.difference]


def draw_robustness(comparison: Comparison) -> Figure:
    """A panel a variant: differences in accuracy from the baseline, in points, with 95 % intervals."""
    reports = find_compared(comparison)[:MAX_PANELS]
    names = ["all kinds", *CORRUPTIONS.values()]
    columns = 2 if len(reports) > 1 else 1
    figure, panels = drawing.create_panels(
        [drawing.format_heading(report.variant, columns=columns) for report in reports],
        _ROW_HEIGHT * len(names),
        columns=columns,
        labels=("variant minus baseline, points", ""),
        left=1.2,
        share=True,
    )
    for axes, report in zip(panels, reports, strict=False):
        rows = [report.difference, *(report.kind_differences[kind] for kind in CORRUPTIONS)]
        for row, difference in enumerate(rows):
            if difference is None:
                continue
            colour = drawing.BLUE if row == 0 else "black"
            if difference.low is not None and difference.high is not None:
                axes.plot([difference.low, difference.high], [row, row], color=colour, linewidth=1.2)
            axes.plot([difference.mean], [row], marker="o", color=colour, markersize=4, linestyle="")
        axes.axvline(0, color="#444444", linewidth=0.9)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(axis="x")
        axes.xaxis.set_major_locator(MaxNLocator(4))
    return figure
