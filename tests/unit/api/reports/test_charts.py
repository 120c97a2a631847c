"""The charts of a report, as files and inside a page."""

import io
import re
import struct
import xml.etree.ElementTree as ET
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from api.dashboard import static_files
from api.reports import html
from api.reports.charts import CHARTS, drawing, get_available, networks, outcomes, robustness
from api.reports.charts.learning import MAX_PANELS, smooth
from api.reports.points import remove_point
from api.reports.schemas import Comparison
from tests import comparisons

SVG = "{http://www.w3.org/2000/svg}"
HARD_NAMES = (
    '<script>alert("x")</script> & ]]>',
    "_begins with an underscore",
    "$x$ and $\\frac{1}{2}$ cost",
    "two\nlines\x07",
    "العربية",
    "漢字" * 20,
    "W" * 100,
    "l2 factor=0.0001 and much else besides, so that it is long, seed by seed, until the end of it: A",
    "l2 factor=0.0001 and much else besides, so that it is long, seed by seed, until the end of it: B",
)


def compare_for(name: str, seeds: int = 8) -> Comparison:
    """A comparison that has the chart."""
    if name == "bias-variance":
        return comparisons.on_parts()
    if name in ("expected-best", "tuned-parameters", "trials"):
        return comparisons.tuned()
    if CHARTS[name].axes:
        return comparisons.along_axes(CHARTS[name].axes)
    return comparisons.full(seeds=seeds)


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()).strip() for element in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314 (our own)


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_has_a_name_and_accessible_text(name: str) -> None:
    comparison = compare_for(name)
    svg = CHARTS[name].render_svg(comparison)
    root = ET.fromstring(svg)  # noqa: S314 (our own)
    assert (root.tag, root.get("role"), root.get("aria-label")) == (f"{SVG}svg", "img", CHARTS[name].title)
    assert root.findtext(f"{SVG}title") == CHARTS[name].title
    _, _, *size = map(float, root.attrib["viewBox"].split())
    assert size == pytest.approx([72 * drawing.WIDTH, 72 * CHARTS[name].measure_height(comparison)])
    names = [
        remove_point(variant.name, variant.point)
        for variant in comparison.variants
        if not variant.is_baseline
    ]
    assert all(any(variant in text for text in texts(svg)) for variant in names)
    assert "nan" not in re.sub(r'"data:[^"]*"', "", svg).lower()


def test_a_linked_chart_has_the_room_that_it_will_take() -> None:
    comparison = comparisons.full()
    page = html.render(comparison, link_figure="/{}.svg".format)
    sizes = re.findall(r'<img class="chart" src="/(.+?)\.svg" [^>]* width="460" height="(\d+)"', page)
    assert {name: int(height) for name, height in sizes} == {
        chart.name: pytest.approx(100 * chart.measure_height(comparison), abs=1)
        for chart in get_available(comparison)
        if chart.name != "differences"
    }


def test_trials_are_drawn_by_each_tuned_field_and_budgets_as_lines() -> None:
    tuned = comparisons.tuned()
    lines = CHARTS["expected-best"].draw(tuned).axes[0].lines
    # A trial that failed in one seed leaves the smallest budgets without an expectation.
    assert [min(line.get_xdata()) for line in lines] == [2, 2, 2]
    rate, optimizer, factor = CHARTS["tuned-parameters"].draw(tuned).axes
    assert (rate.get_xscale(), factor.get_xscale(), optimizer.get_xscale()) == ("log", "log", "linear")
    assert [label.get_text() for label in optimizer.get_xticklabels()] == ["adam", "sgd"]
    rows = {3: 9, 4: 2 * 9, 2: 4}
    parallel = CHARTS["trials"].draw(tuned).axes[0]
    assert Counter(len(line.get_xdata()) for line in parallel.lines) == rows, "none has no strength"
    thick = [line for line in parallel.lines if line.get_linewidth() > 2]
    assert [list(line.get_ydata()) for line in thick] == [[0, 1, 3], [0, 1, 2, 3], [0, 1, 2, 3]]
    assert thick[0].get_xdata()[1] == 0, "the first optimizer"
    assert CHARTS["expected-best"].find(comparisons.full()) == []
    page = html.render(tuned)
    assert "9 of 10" in page
    assert "lowest validation loss" in page


def test_bias_and_variance_add_up_in_bars_or_follow_an_axis() -> None:
    bars = comparisons.on_parts(names=("none", "dropout"))
    assert bars.bias_variance
    assert bars.bias_variance.items
    losses = [item.cross_entropy for item in bars.bias_variance.items if item.cross_entropy]
    drawn = " ".join(texts(CHARTS["bias-variance"].render_svg(bars)))
    for loss in losses:
        total = f"{loss.bias.value:.3f} + {loss.variance.value:.3f} = {loss.mean_loss.value:.3f}"
        assert total in drawn
        assert loss.bias.value + loss.variance.value == pytest.approx(loss.mean_loss.value, abs=1e-12)
    lines = comparisons.on_parts(axes=1)
    panels = CHARTS["bias-variance"].draw(lines).axes
    assert [len(panel.lines) for panel in panels] == [3, 3, 3]
    # An interval of two seeds is wide, and must not flatten the lines.
    means = [value for line in panels[1].lines for value in line.get_ydata()]
    assert panels[1].get_ylim()[1] < 2 * max(means)
    assert CHARTS["bias-variance"].find(comparisons.full()) == []


@pytest.mark.parametrize("name", CHARTS)
def test_the_same_comparison_gives_the_same_bytes(name: str) -> None:
    chart = CHARTS[name]
    comparison = compare_for(name, seeds=2)
    assert chart.render_svg(comparison) == chart.render_svg(comparison)
    assert chart.render_png(comparison) == chart.render_png(comparison)


def test_charts_can_be_drawn_concurrently() -> None:
    comparison = comparisons.full()
    charts = get_available(comparison)
    alone = [chart.render_svg(comparison) for chart in charts]
    with ThreadPoolExecutor(len(charts)) as threads:
        together = list(threads.map(lambda chart: chart.render_svg(comparison), charts))
    assert alone == together


@pytest.mark.parametrize("width", [3.3, 6.9])
@pytest.mark.parametrize("name", ["differences", "learning-curves", "reliability"])
def test_a_pdf_has_the_width_of_a_column_and_its_text_as_text(name: str, width: float) -> None:
    comparison = comparisons.full(("none", "dropout", "a name that is long enough to be cut"))
    pdf = CHARTS[name].render_pdf(comparison, width)
    assert pdf == CHARTS[name].render_pdf(comparison, width)
    (box,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) [\d.]+ \]", pdf)
    assert float(box) == pytest.approx(72 * width, abs=0.1)
    assert b"/FontType 42" in pdf or b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf
    # The default width is in force again.
    assert CHARTS[name].render_svg(comparison) == CHARTS[name].render_svg(comparison, drawing.WIDTH)


def test_a_png_is_200_pixels_an_inch() -> None:
    png = CHARTS["accuracy-by-seed"].render_png(comparisons.full())
    assert png.startswith(b"\x89PNG\r\n")
    width, height = struct.unpack(">II", png[16:24])
    assert width == round(200 * drawing.WIDTH)
    assert height > 200


def test_ids_on_a_page_are_unique_and_every_reference_resolves() -> None:
    page = html.render(comparisons.full())
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    references = re.findall(r'(?:href="#|url\(#)([^")]*)', page)
    assert references
    assert set(references) <= set(ids)


def test_difficult_names_are_drawn_unchanged() -> None:
    comparison = comparisons.full(HARD_NAMES, seeds=1, epochs=30)
    for chart in get_available(comparison):
        assert chart.render_png(comparison)
        svg = chart.render_svg(comparison)
        ET.fromstring(svg)  # noqa: S314 (our own)
        assert "<script" not in svg
    drawn = texts(CHARTS["cost"].render_svg(comparison))
    assert "2 _begins with an underscore" in drawn
    assert "3 $x$ and $\\frac{1}{2}$ cost" in drawn
    assert "4 two lines" in drawn
    long = [text for text in drawn if text.endswith((": A", ": B"))]
    assert len(long) == 2
    assert all("…" in text for text in long)


def test_without_results_there_is_no_chart_but_a_reason() -> None:
    assert get_available(comparisons.empty()) == []
    assert all(chart.absent for chart in CHARTS.values())


def test_without_validation_images_there_is_a_training_curve_but_no_gap() -> None:
    document = comparisons.full().model_dump()
    for variant in document["variants"]:
        variant["overfitting_onset_epoch"] = None
        for point in variant["curve"]:
            point.update(dict.fromkeys(name for name in point if name.startswith(("validation", "gap"))))
    names = [chart.name for chart in get_available(Comparison.model_validate(document))]
    assert "gap" not in names
    assert "learning-curves" in names
    assert CHARTS["learning-curves"].render_svg(Comparison.model_validate(document))


def test_fields_missing_from_old_results_omit_only_their_charts() -> None:
    document = comparisons.full().model_dump()
    for variant in document["variants"]:
        variant |= {"diagnostics": None, "confusion": None}
    names = {chart.name for chart in get_available(Comparison.model_validate(document))}
    available = {chart.name for chart in get_available(comparisons.full())}
    assert available - names == {"weights", "first-layer", "reliability", "confusion-difference"}


def test_omitted_fields_are_not_called_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = replace(CHARTS["tuned-parameters"], limit=1)
    monkeypatch.setitem(CHARTS, narrow.name, narrow)
    assert "this leaves out 2 of the tuned fields" in " ".join(html.render(comparisons.tuned()).split())


def test_many_variants_are_small_and_omissions_are_stated() -> None:
    names = [f"dropout rate={number / 100:.2f}" for number in range(40)]
    comparison = comparisons.full(names, seeds=2, epochs=4)
    left_out = {chart.name: chart.count_omitted(comparison) for chart in get_available(comparison)}
    assert left_out == {
        "differences": 39 - outcomes.MAX_ROWS,
        "accuracy-by-seed": 40 - outcomes.MAX_ROWS,
        "cost": 40 - outcomes.MAX_ROWS,
        "learning-curves": 40 - MAX_PANELS,
        "accuracy-curves": 40 - MAX_PANELS,
        "gap": 40 - MAX_PANELS,
        "weights": 40 - networks.MAX_PANELS,
        "first-layer": 40 - networks.MAX_PANELS,
        "reliability": 40 - networks.MAX_PANELS,
        "confusion-difference": 39 - networks.MAX_PANELS,
        "robustness": 39 - robustness.MAX_PANELS,
        "ensembles": 40 - drawing.MAX_LINES,
    }
    assert names[MAX_PANELS - 1] in " ".join(texts(CHARTS["gap"].render_svg(comparison)))
    assert "this leaves out 16 of the variants" in " ".join(html.render(comparison).split())


def test_lines_are_distinguishable_without_colour() -> None:
    assert len(set(map(str, drawing.DASHES))) == len(set(drawing.MARKERS)) == drawing.MAX_LINES
    figure = CHARTS["gap"].draw(comparisons.full([f"variant {number}" for number in range(8)]))
    lines = [line for line in figure.axes[0].lines if line.get_markevery() is not None]
    assert len({line.get_marker() for line in lines}) == len(lines) == 8


def test_lines_have_the_colours_of_the_pages_lines_which_are_not_faint() -> None:
    styles = (Path(static_files.__file__).parent / "static" / "charts.css").read_text()
    colours = dict(re.findall(r"\.series-(\w+) { color: (light-dark\(.*?\));", styles))
    light, dark = zip(
        *(re.findall("#[0-9a-f]{6}", colours[name]) for name in ["baseline", *"0123456"]), strict=True
    )
    assert light == tuple(map(str.lower, drawing.COLOURS))
    for background, lines_on_it in (("#ffffff", light), ("#1a1e23", dark)):
        assert min(_compute_contrast(background, colour) for colour in lines_on_it) > 3, background
    # The baseline has no gain.
    gains = CHARTS["gain"].draw(comparisons.along_axes()).axes[0]
    assert {line.get_color() for line in gains.lines} & {*drawing.COLOURS} == {*drawing.COLOURS[1:3]}


def _compute_contrast(*colours: str) -> float:
    """The contrast of two colours by WCAG 2.2, from 1 to 21."""
    levels = []
    for colour in colours:
        channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
        levels.append(0.05 + np.dot(linear, (0.2126, 0.7152, 0.0722)))
    return float(max(levels) / min(levels))


def test_a_sparse_layer_is_drawn_as_sparse() -> None:
    panels = CHARTS["first-layer"].draw(comparisons.full()).axes
    empty = [(panel.images[0].get_array() == 0).mean() for panel in panels]
    assert empty[2] > 0.5 > empty[0]


def test_a_network_without_any_weight_is_drawn() -> None:
    document = comparisons.full().model_dump()
    diagnostics = document["variants"][1]["diagnostics"]
    diagnostics |= {"weight_counts": [0] * len(diagnostics["weight_counts"]), "first_layer_scale": 0.0}
    comparison = Comparison.model_validate(document)
    assert "100.0 % exactly zero" not in " ".join(texts(CHARTS["weights"].render_svg(comparison)))
    diagnostics["weight_zeros"] = 7
    assert "100.0 % exactly zero" in " ".join(
        texts(CHARTS["weights"].render_svg(Comparison.model_validate(document)))
    )


def test_smoothing_keeps_the_ends_without_lag() -> None:
    straight = smooth(np.arange(40.0))
    assert straight.tolist() == list(range(40))
    assert smooth(np.array([0.0, 3.0, 0.0])).tolist() == [0.0, 1.0, 0.0]


def test_labels_do_not_overlap_and_stay_inside() -> None:
    moved = drawing.resolve_overlaps([100.0, 99.0, 101.0, 10.0], 0, 110, 13)
    assert moved[3] == 10.0
    assert sorted(moved) == [10.0, 84.0, 97.0, 110.0]
    assert moved[1] < moved[0] < moved[2]


def test_a_long_name_keeps_both_ends() -> None:
    assert drawing.truncate_label("short") == "short"
    assert drawing.truncate_label("a" * 50 + "b" * 50, 21) == "a" * 12 + "…" + "b" * 8
    assert len(drawing.truncate_label("漢" * 50, 21)) == 10


def test_the_users_matplotlib_style_is_not_changed() -> None:
    CHARTS["cost"].render_svg(comparisons.full())
    # As without the charts' style: formulas are parsed, and text becomes shapes.
    figure = Figure()
    figure.text(0, 0, "$x$")
    text = io.StringIO()
    figure.savefig(text, format="svg")
    assert "<text" not in text.getvalue()


def lines(figure: Figure, plot: int = 0) -> list[list[tuple[float, float]]]:
    """The points of every line of a plot, first to last."""
    drawn = figure.axes[plot].get_lines()
    return [
        list(zip(map(float, line.get_xdata()), map(float, line.get_ydata()), strict=True)) for line in drawn
    ]


def test_a_learning_curve_has_a_mean_a_smoothed_line_and_a_band_of_one_deviation() -> None:
    comparison = comparisons.full(epochs=30)
    points = comparison.variants[0].curve
    figure = CHARTS["learning-curves"].draw(comparison)
    raw, smoothed, *_ = lines(figure)
    assert raw == [(point.epoch, pytest.approx(point.train_loss)) for point in points]
    assert [y for _, y in smoothed] == pytest.approx(smooth(np.array([point.train_loss for point in points])))
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    edges = {
        round(point.train_loss + sign * (point.train_loss_sd or 0), 6) for point in points for sign in (1, -1)
    }
    assert edges <= {round(float(y), 6) for _, y in band}


def test_the_onset_of_overfitting_is_marked_on_curves_and_on_the_gap() -> None:
    comparison = comparisons.full()
    onset = comparison.variants[0].overfitting_onset_epoch
    assert onset is not None
    curves = CHARTS["learning-curves"].draw(comparison)
    assert [(onset, 0.0), (onset, 1.0)] in lines(curves, 0)
    assert all((onset, 1.0) not in line for line in lines(curves, 1)), "the second variant does not overfit"
    there = next(point.gap_loss for point in comparison.variants[0].curve if point.epoch == onset)
    assert [(onset, pytest.approx(there))] in lines(CHARTS["gap"].draw(comparison))


@pytest.mark.parametrize("in_parts", [False, True])
def test_a_models_line_leads_from_the_baselines_accuracy_to_the_variants(*, in_parts: bool) -> None:
    comparison = comparisons.full(seeds=3)
    base, variant, _ = (
        {run.seed: 100 * run.result.test_accuracy for run in compared.seeds}
        for compared in comparison.variants
    )
    if in_parts:
        variants = [
            compared.model_copy(
                update={
                    "seeds": [run.model_copy(update={"seed": 0, "part": run.seed}) for run in compared.seeds]
                }
            )
            for compared in comparison.variants
        ]
        comparison = comparison.model_copy(update={"variants": variants})
    [axes] = CHARTS["accuracy-by-seed"].draw(comparison).axes
    joined = [line for collection in axes.collections for line in collection.get_segments()]
    drawn = [[float(x) for x, _ in line] for line in joined]
    for seed in range(3):
        assert [pytest.approx(base[seed]), pytest.approx(variant[seed])] in drawn


def test_cost_is_on_the_horizontal_axis_and_accuracy_on_the_vertical_one() -> None:
    comparison = comparisons.full()
    drawn = [line for line in lines(CHARTS["cost"].draw(comparison)) if len(line) == 1]
    for variant in comparison.variants:
        assert variant.metrics is not None
        seconds, accuracy = variant.metrics.training_seconds.mean, 100 * variant.metrics.test_accuracy.mean
        assert [(pytest.approx(seconds), pytest.approx(accuracy))] in drawn


def test_cost_has_an_interval_in_either_direction() -> None:
    comparison = comparisons.full()
    drawn = lines(CHARTS["cost"].draw(comparison))
    for variant in comparison.variants:
        assert variant.metrics is not None
        seconds, accuracy = variant.metrics.training_seconds, variant.metrics.test_accuracy
        x, y = pytest.approx(seconds.mean), pytest.approx(100 * accuracy.mean)
        assert [(pytest.approx(seconds.low), y), (pytest.approx(seconds.high), y)] in drawn
        ends = [(x, pytest.approx(100 * (end or 0))) for end in (accuracy.low, accuracy.high)]
        assert ends in drawn


def test_equal_accuracies_do_not_hide_each_other() -> None:
    comparison = comparisons.full(seeds=6)
    variants = [
        variant.model_copy(
            update={
                "seeds": [
                    seed.model_copy(update={"result": seed.result.model_copy(update={"test_accuracy": 0.9})})
                    for seed in variant.seeds
                ]
            }
        )
        for variant in comparison.variants
    ]
    drawn = lines(CHARTS["accuracy-by-seed"].draw(comparison.model_copy(update={"variants": variants})))
    dots = [line for line in drawn if len(line) == 6]
    assert dots
    assert all(len(set(line)) == 6 for line in dots)


def test_every_gap_is_drawn_beside_the_baselines() -> None:
    names = [f"v{number}" for number in range(30)]
    comparison = comparisons.full(names)
    last = [
        variant.model_copy(update={"is_baseline": variant.name == "v29"}) for variant in comparison.variants
    ]
    figure = CHARTS["gap"].draw(comparison.model_copy(update={"variants": last, "baseline": "v29"}))
    assert all(len(lines(figure, plot)) >= 3 for plot in range(MAX_PANELS)), "its own, the baseline's, zero"


def test_a_gain_has_its_band_and_what_is_not_called_is_hollow() -> None:
    comparison = comparisons.along_axes()
    gain = next(gain for gain in comparison.gains if gain.metric == "test_loss")
    figure = CHARTS["gain"].draw(comparison)
    drawn = lines(figure, 1)
    sizes = [100, 400, 1000, 4000]
    assert [(size, point.mean) for size, point in zip(sizes, gain.points, strict=True)] in drawn
    band = figure.axes[1].collections[0].get_paths()[0].vertices
    ends = {round(end, 9) for point in gain.points for end in (point.low, point.high) if end is not None}
    assert ends <= {round(float(y), 9) for _, y in band}
    assert figure.axes[1].get_xscale() == "log"


def test_a_map_frames_what_is_called() -> None:
    comparison = comparisons.along_axes(2)
    called = sum(point.call is not None for point in comparison.gains[0].points)
    assert len(CHARTS["gain-map"].draw(comparison).axes[0].patches) == called > 0


def test_a_confusion_matrix_names_the_classes() -> None:
    names = ["T-shirt", *map(str, range(1, 9)), "Ankle boot"]
    comparison = comparisons.full()
    dataset = comparison.datasets[0].model_copy(update={"class_names": names})
    figure = networks.draw_confusion(comparison.model_copy(update={"datasets": [dataset]}))
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        labels = [label.get_text() for label in axis.get_ticklabels()]
        assert (labels[0], labels[-1]) == ("T-shirt", "Ankle b…")
