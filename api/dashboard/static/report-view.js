// A report (GET /v1/experiments/{id}/report) as elements: differences, verdicts, recommendations.

import { h, s } from "./elements.js";
import { saveCsv } from "./export.js";
import { buildAlongAxes } from "./along-axes.js";
import { describePoint, formatAxisValue, getPointCells, getPointHeads, nameAxis } from "./points.js";

// The catalogue of models/metrics.py, as far as reports summarize it.
export const METRICS = JSON.parse(document.getElementById("report-view").dataset.metrics);
const COMPARED = METRICS.filter((metric) => metric.compared).map(({ name, contrast, contrast_unit: unit, title, format, direction }) =>
  ({ field: name, scale: format.scale, name: contrast, title, unit, digits: format.digits, better: direction, limit: unit === "points" ? 100 : Infinity }));
export const formatLabel = ({ title, format }) => (format.unit ? `${title}, ${format.unit}` : title);

const getMetric = (name) => COMPARED.find((metric) => metric.name === name) ?? COMPARED[0];

// The section along the report's axes, and what draws its charts; null without axes.
export const buildAxesView = (report, selected) => (report.contrasts.length
  ? buildAlongAxes(report, getMetric(selected), { chooseInterval, formatSigned, getOutcome }) : null);

export function buildReportView(report, metric, select) {
  const parts = [];
  if (report.contrasts.length) parts.push(buildDifferences(report, metric, select));
  if (report.bias_variance) parts.push(buildBiasVariance(report));
  if (report.recommendation.length) parts.push(buildRecommendation(report));
  if (report.variants.some((variant) => variant.metrics)) parts.push(buildTable(report));
  if (report.mistakes.length) parts.push(buildMistakes(report.mistakes));
  if (report.robustness.length) parts.push(buildRobustness(report.robustness));
  if (report.notes.length) parts.push(buildNotes(report));
  return parts;
}

// ---- differences from the baseline: a forest plot whose rows are rows of a table

const formatSigned = (value, digits) => (value > 0 ? "+" : value < 0 ? "\u2212" : "") + Math.abs(value).toFixed(digits);

// `fewest` digits after the point, or two significant ones of the largest value if those would show none.
function chooseDigits(values, fewest) {
  const largest = Math.max(0, ...values.map((value) => Math.abs(value ?? 0)));
  const first = largest ? -Math.floor(Math.log10(largest)) : 0;
  return first <= fewest ? fewest : first + 1;
}

function buildDifferences(report, selected, select) {
  const metric = getMetric(selected);
  const differences = report.contrasts.map((contrast) => chooseInterval(contrast.differences?.[metric.name]));
  const reach = computeReach(differences.filter(Boolean), metric);
  return h("section", { "aria-labelledby": "differences-title" },
    h("h2", { id: "differences-title" }, "Differences from ", h("q", {}, report.baseline)),
    h("div", { class: "tabs", role: "group", "aria-label": "Metric" },
      COMPARED.map((item) => h("button", {
        type: "button", id: `metric-${item.name}`, "aria-pressed": String(item === metric),
        onclick: () => select(item.name),
      }, item.title))),
    h("div", { class: "scroll", role: "group", "aria-labelledby": "differences-title", tabindex: 0 },
      h("table", { class: "forest" },
        h("thead", {}, h("tr", {},
          h("th", { scope: "col" }, "Variant"),
          getPointHeads(report).map((title) => h("th", { scope: "col", class: "number" }, title)),
          h("th", { scope: "col", class: "number" }, `Difference, ${metric.unit}`),
          h("th", { scope: "col", class: "forest-head" }, buildAxis(reach, metric)),
          h("th", { scope: "col", class: "number" }, "Pairs"))),
        h("tbody", {}, report.contrasts.map((contrast, index) => buildRow(contrast, differences[index], reach, metric))))),
    h("p", { class: "help" },
      `Mean difference over the seeds that both have finished; ${metric.better} is better. `,
      differences.some((difference) => difference?.tested)
        ? "Intervals hold for all tests of this report together. Filled: called higher or lower. Hollow: not called. "
        : "95 % intervals, each for itself; this metric is described, not tested. ",
      "Arrow: the interval extends beyond the chart."),
    buildSaveButton("save-differences", () => saveCsv(`differences-${metric.name}.csv`, formatDifferences(report, metric))),
    h("h3", {}, "In words"),
    h("dl", { class: "verdicts" }, report.contrasts.flatMap((contrast) =>
      [h("dt", {}, [contrast.variant, describePoint(contrast.point)].filter(Boolean).join(", ")), h("dd", {}, contrast.verdict)])));
}

// Of a tested metric the interval that agrees with what is called.
function chooseInterval(difference) {
  if (!difference) return null;
  const { tested, low, high, simultaneous_low, simultaneous_high } = difference;
  return { ...difference, low: tested ? simultaneous_low : low, high: tested ? simultaneous_high : high };
}

const buildSaveButton = (id, save) => h("p", {}, h("button", { type: "button", id, onclick: save }, "Save as CSV"));

function formatDifferences(report, { name, unit, digits }) {
  const lines = [["variant", ...getPointHeads(report), `difference, ${unit}`, "low", "high", "verdict", "pairs"]];
  for (const { variant, point, differences } of report.contrasts) {
    const { mean = null, low = null, high = null, call = null, n = 0 } = chooseInterval(differences?.[name]) ?? {};
    const places = chooseDigits([mean, low, high], digits);
    const numbers = [mean, low, high].map((value) => (value === null ? "" : value.toFixed(places)));
    lines.push([variant, ...getPointCells(point), ...numbers, call ?? "not called", String(n)]);
  }
  return lines;
}

const REACH_IN_MEANS = 2;

// The end of the axis on each side of 0: it contains every mean and half of the intervals completely, but a very wide
// interval of two seeds does not flatten the others.
function computeReach(differences, { limit }) {
  if (!differences.length) return 1;
  const ends = differences.map(({ mean, low, high }) => Math.max(Math.abs(low ?? mean), Math.abs(high ?? mean)))
    .sort((one, other) => one - other);
  const median = ends[Math.floor((ends.length - 1) / 2)];
  const means = differences.map(({ mean }) => REACH_IN_MEANS * Math.abs(mean));
  return Math.min(1.1 * Math.min(ends.at(-1), Math.max(median, ...means)) || 1, limit);
}

const WIDTH = 280;
const toX = (value, reach) => WIDTH / 2 + (value / reach) * (WIDTH / 2 - 6);

function buildAxis(reach, metric) {
  const left = metric.better === "lower" ? "better" : "worse";
  const right = metric.better === "lower" ? "worse" : "better";
  return s("svg", { class: "forest-axis", viewBox: `0 0 ${WIDTH} 30`, role: "img",
    "aria-label": `From ${formatSigned(-reach, metric.digits)} to ${formatSigned(reach, metric.digits)}; ${left} to the left` },
    s("text", { x: 0, y: 12 }, `\u2190 ${left}`),
    s("text", { x: WIDTH, y: 12, "text-anchor": "end" }, `${right} \u2192`),
    s("text", { x: 0, y: 27, class: "tick" }, formatSigned(-reach, metric.digits)),
    s("text", { x: WIDTH / 2, y: 27, class: "tick", "text-anchor": "middle" }, "0"),
    s("text", { x: WIDTH, y: 27, class: "tick", "text-anchor": "end" }, formatSigned(reach, metric.digits)));
}

function buildRow(contrast, difference, reach, metric) {
  const digits = difference && chooseDigits([difference.mean, difference.low, difference.high], metric.digits);
  return h("tr", {},
    h("th", { scope: "row" }, contrast.variant),
    Object.entries(contrast.point ?? {}).map(([field, value]) =>
      h("td", { class: "number", "data-label": nameAxis(field) }, formatAxisValue(field, value))),
    h("td", { class: "number" }, difference ? [
      h("b", {}, formatSigned(difference.mean, digits)),
      difference.low === null ? null
        : h("small", {}, `${formatSigned(difference.low, digits)} to ${formatSigned(difference.high, digits)}`),
    ] : "no pair"),
    h("td", {}, difference ? [buildInterval(difference, reach, metric), buildCutNote(difference, reach)] : null),
    h("td", { class: "number", "data-label": "Pairs" }, difference ? String(difference.n) : "0"));
}

// The verdict's call: that an interval excludes 0 is not enough.
function getOutcome({ call }, metric) {
  if (call === null) return "open";
  return call === metric.better ? "better" : "worse";
}

function buildInterval(difference, reach, metric) {
  const x = toX(difference.mean, reach);
  const [low, high] = [difference.low, difference.high].map((value) => toX(clamp(value, reach), reach));
  const whiskers = difference.low === null ? [] : [
    s("line", { x1: low, x2: high, y1: 14, y2: 14 }),
    buildEnd(low, difference.low < -reach ? 6 : 0),
    buildEnd(high, difference.high > reach ? -6 : 0),
  ];
  return s("svg", { class: `forest-row ${getOutcome(difference, metric)}`, viewBox: `0 0 ${WIDTH} 28`, "aria-hidden": "true" },
    s("line", { class: "zero", x1: WIDTH / 2, x2: WIDTH / 2, y1: 0, y2: 28 }),
    whiskers,
    s("rect", { x: x - 4.5, y: 9.5, width: 9, height: 9 }));
}

const clamp = (value, reach) => Math.min(Math.max(value, -reach), reach);

// The end of an interval, drawn as an arrow of length `barb` if the interval extends beyond the chart.
const buildEnd = (x, barb) => s("polyline", { points: `${x + barb},9 ${x},14 ${x + barb},19`, class: barb ? "cut" : "end" });

function buildCutNote({ low, high }, reach) {
  const sides = [low < -reach && "left", high > reach && "right"].filter(Boolean);
  return sides.length > 0 && h("span", { class: "visually-hidden" }, `The interval extends beyond the chart to the ${sides.join(" and the ")}.`);
}

// ---- the other parts

function buildRecommendation(report) {
  return h("section", { "aria-labelledby": "advice-title" },
    h("h2", { id: "advice-title" }, "What to choose"),
    h("div", { class: "advice" }, report.recommendation.map((item) => h("article", { class: "card" },
      h("h3", {}, item.title),
      item.advice.length ? h("ul", {}, item.advice.map((advice) => h("li", {}, advice.text))) : null,
      item.not_tested ? h("p", { class: "help" }, item.not_tested) : null))));
}

// ---- bias and variance

const MAX_OPEN_ROWS = 8;
const PARTS = { bias: "Bias", variance: "Variance", mean_loss: "Their sum" };

function buildBiasVariance({ bias_variance: { items, differences, answers, intervals }, ...report }) {
  const key = ({ variant, point }) => JSON.stringify([variant, point]);
  const changes = new Map(differences.map((one) => [key(one), one.cross_entropy]));
  const rows = items.filter((item) => item.cross_entropy);
  if (!rows.length) return null;
  // The fragment makes it another image once more jobs have finished.
  const address = `${location.pathname.replace("/experiments/", "/v1/experiments/")}/charts/bias-variance?format=svg#${report.finished}`;
  const table = h("div", { class: "scroll", role: "group", "aria-labelledby": "bias-variance-title", tabindex: 0 }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Variant"),
      [...Object.values(PARTS), "Bias minus baseline", "Variance minus baseline", "Seeds"].map((text) =>
        h("th", { scope: "col", class: "number" }, text)))),
    h("tbody", {}, rows.map((item) => h("tr", {},
      h("th", { scope: "row" }, [item.variant, ...formatPoint(item.point)].join(", ")),
      Object.keys(PARTS).map((part) => buildMeasured(item.cross_entropy[part], (value, digits) => value.toFixed(digits))),
      ["bias", "variance"].map((part) => buildMeasured(changes.get(key(item))?.[part], formatSigned)),
      h("td", { class: "number" }, String(item.seeds)))))));
  return h("section", { "aria-labelledby": "bias-variance-title" },
    h("h2", { id: "bias-variance-title" }, "Bias and variance"),
    answers.length > 0 && h("ul", {}, answers.map((answer) => h("li", {}, answer))),
    h("img", { class: "report-chart", src: address, alt: "Bias, variance and their sum; the table below has the numbers" }),
    rows.length > MAX_OPEN_ROWS ? h("details", {}, h("summary", {}, "Bias and variance in numbers"), table) : table,
    h("p", { class: "help" }, "Each variant was trained on disjoint parts of the training examples. Bias is the test loss of the average of its "
      + "models\u2019 predictions: what averaging over training sets does not remove. Variance is how far the models lie from that average: "
      + "what another training set of this size would change. The two add up to the mean test loss, in nats. ", intervals));
}

const formatPoint = (point) => Object.entries(point ?? {}).map(([field, value]) =>
  `${field.split("/").at(-1).replaceAll("_", " ")} ${Array.isArray(value) ? value.join("-") || "none" : value}`);

function buildMeasured(measured, format) {
  if (!measured) return h("td", { class: "number" });
  const digits = chooseDigits([measured.value], 3);
  const ends = [measured.low, measured.high].map((value) => value !== null && format(value, digits));
  return h("td", { class: "number" }, format(measured.value, digits), measured.low !== null && h("small", {}, ends.join(" to ")));
}

// The mean and half of its interval, which is empty for a single seed; means of counts may have a fraction.
function formatMean(summary, { digits, scale }) {
  if (!summary) return ["", ""];
  const places = Number.isInteger(summary.mean) ? digits : Math.max(digits, 1);
  return [
    (scale * summary.mean).toFixed(places),
    summary.low === null ? "" : ((scale * (summary.high - summary.low)) / 2).toFixed(places),
  ];
}

const buildMeanCell = ([mean, half]) => (half ? [mean, h("small", {}, `\u00b1${half}`)] : [mean]);

const COLUMNS = METRICS.filter((metric) => metric.table === "variants");

function buildTable(report) {
  const variants = report.variants.filter((variant) => variant.metrics);
  return h("section", { "aria-labelledby": "variants-title" },
    h("h2", { id: "variants-title" }, "Means of the variants"),
    h("p", { class: "help sideways" }, "Scroll sideways to see all columns \u2192"),
    h("div", { class: "scroll", role: "group", "aria-labelledby": "variants-title", tabindex: 0 },
      h("table", {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Variant"),
          getPointHeads(report).map((title) => h("th", { scope: "col", class: "number" }, title)), h("th", { scope: "col", class: "number" }, "Seeds"),
          COLUMNS.map((metric) => h("th", { scope: "col", class: "number" }, formatLabel(metric))))),
        h("tbody", {}, variants.map((variant) => h("tr", {},
          h("th", { scope: "row" }, variant.name, variant.is_baseline ? h("span", { class: "tag" }, "baseline") : null),
          getPointCells(variant.point).map((text) => h("td", { class: "number" }, text)),
          h("td", { class: "number" }, String(variant.n)),
          COLUMNS.map(({ name, format }) =>
            h("td", { class: "number" }, buildMeanCell(formatMean(variant.metrics[name], format))))))))),
    h("p", { class: "help" }, "Mean \u00b1 half-width of the 95 % confidence interval over seeds (two or more)."),
    buildSaveButton("save-variants", () => saveCsv("variants.csv", formatVariants(variants, getPointHeads(report)))));
}

function formatVariants(variants, heads) {
  const lines = [["variant", ...heads, "seeds", ...COLUMNS.map(formatLabel).flatMap((label) => [label, `${label}, \u00b1`])]];
  for (const { name, point, n, metrics } of variants) {
    lines.push([name, ...getPointCells(point), String(n), ...COLUMNS.flatMap((column) => formatMean(metrics[column.name], column.format))]);
  }
  return lines;
}

// ---- test images that a variant gets right and the baseline not

function buildMistakes(items) {
  return h("section", { "aria-labelledby": "mistakes-title", id: "mistakes" },
    h("h2", { id: "mistakes-title" }, "Mistakes that a variant does not make"),
    h("p", { class: "help" }, "Test images that a variant gets right and the baseline not, by mean log-probabilities over their seeds; the nearest mistakes first."),
    items.map(({ variant, baseline, only_variant: gained, only_baseline: lost, images }) => h("div", {},
      h("h3", {}, variant),
      h("p", {}, `Images that only ${variant} gets right: ${gained}; that only ${baseline} gets right: ${lost}.`),
      h("div", { class: "mistakes" }, images.map(({ index, label, answer, picture }) => h("figure", {},
        picture ? h("img", { src: picture, width: 56, height: 56, alt: `Test image ${index}` }) : null,
        h("figcaption", {}, `${label}, not ${answer}`)))))));
}

// ---- damaged test images: accuracies of baselines, differences of the others

function buildRobustness(reports) {
  const kinds = ["", ...Object.keys(reports[0].kinds)];
  return h("section", { "aria-labelledby": "robustness-title" },
    h("h2", { id: "robustness-title" }, "Damaged test images"),
    h("div", { class: "scroll", role: "group", "aria-labelledby": "robustness-title", tabindex: 0 },
      h("table", { id: "robustness" },
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Damage"),
          reports.map(({ variant }) => h("th", { scope: "col", class: "number" }, variant)))),
        h("tbody", {}, kinds.map((kind) => h("tr", {},
          h("th", { scope: "row" }, kind.replaceAll("_", " ") || "all kinds"),
          reports.map((report) => h("td", { class: "number" }, buildRobustnessCell(report, kind)))))))),
    h("p", { class: "help" }, "Means over five severities: the baseline's accuracy, and the others' difference from it in points with its 95 % interval by itself. Described, not tested; nothing is chosen by it."));
}

function buildRobustnessCell({ accuracy, kinds, difference, kind_differences: differences }, kind) {
  const compared = kind ? differences[kind] : difference;
  if (!compared) return `${(100 * (kind ? kinds[kind] : accuracy).mean).toFixed(1)} %`;
  const { mean, low, high } = compared;
  return [formatSigned(mean, 1), low === null ? null : h("small", {}, `${formatSigned(low, 1)} to ${formatSigned(high, 1)}`)];
}

function buildNotes(report) {
  return h("details", {}, h("summary", {}, "How to read these numbers"),
    h("ul", {}, report.notes.map((note) => h("li", {}, note))),
    h("h3", {}, "Methods"), h("p", {}, report.methods));
}
