// An experiment with axes: a metric and the differences from the baseline along one axis, or a table over two.

import { showAlongAxis } from "./charts.js";
import { h } from "./elements.js";
import { formatAxisValue } from "./points.js";

const equal = (one, other) => JSON.stringify(one) === JSON.stringify(other);

// `metric`: one of report-view.js's; `chooseInterval` and `formatSigned` likewise. Returns the section and what
// draws its charts once it is in the page; null without axes.
export function buildAlongAxes(report, metric, { chooseInterval, formatSigned, getOutcome }) {
  const [axis, second] = report.axes;
  if (!axis) return null;
  if (second) return { section: buildSection(axis.title, second.title, buildGrids(report, metric, { chooseInterval, formatSigned, getOutcome })), draw: () => {} };
  const means = h("div", { class: "chart", id: "along-axis", role: "group", "aria-label": `${metric.title} along ${axis.title}, with 95 % intervals` });
  const differences = h("div", { class: "chart", id: "gain", role: "group", "aria-label": `Difference from ${report.baseline} in ${metric.title} along ${axis.title}, with its band` });
  return {
    section: buildSection(axis.title, null, [
      h("div", { class: "pair" }, means, differences),
      h("p", { class: "help" }, `Left: means over seeds with their 95 % intervals. Right: differences from the baseline; ${metric.better} is better. `,
        "A filled marker is called higher or lower, a hollow one is not. The numbers are in the tables below."),
    ]),
    draw() {
      const { scale } = metric;
      const ofMeans = collectLines(report.variants, axis, (variant) => {
        const summary = variant.metrics?.[metric.field];
        return summary && { mean: scale * summary.mean, low: summary.low === null ? null : scale * summary.low, high: summary.high === null ? null : scale * summary.high, filled: true };
      });
      const ofDifferences = collectLines(report.contrasts, axis, (contrast) => {
        const difference = chooseInterval(contrast.differences?.[metric.name]);
        return difference && { ...difference, filled: difference.call !== null };
      });
      const names = [...new Set(report.variants.map(({ name }) => name))];
      const unit = metric.unit === "points" ? "%" : metric.unit;
      showAlongAxis(means, ofMeans, names, { axis, title: `${metric.title}, ${unit}`, digits: metric.digits });
      showAlongAxis(differences, ofDifferences, names, { axis, title: `Difference from ${report.baseline}, ${metric.unit}`, digits: metric.digits, zero: true });
    },
  };
}

const buildSection = (first, second, children) => h("section", { "aria-labelledby": "along-title" },
  h("h2", { id: "along-title" }, `Along ${first}`, second ? ` and ${second}` : ""), children);

// For each variant what `measure` gives at the axis's values, from low to high.
function collectLines(items, axis, measure) {
  const lines = new Map();
  for (const item of items) {
    const measured = measure(item);
    if (!measured || !item.point) continue;
    const name = item.variant ?? item.name;
    const position = axis.values.findIndex((value) => equal(value, item.point[axis.field]));
    if (!lines.has(name)) lines.set(name, []);
    lines.get(name).push({ ...measured, position, x: axis.numbers ? axis.numbers[position] : formatAxisValue(axis.field, axis.values[position]) });
  }
  return [...lines].map(([name, points]) => ({ name, points: points.sort((one, other) => one.position - other.position) }));
}

// Of each variant a table of its differences: rows are the first axis's values, columns the second's.
function buildGrids(report, metric, { chooseInterval, formatSigned, getOutcome }) {
  const [rows, columns] = report.axes;
  const variants = [...new Set(report.contrasts.map(({ variant }) => variant))];
  const cell = (variant, row, column) => {
    const contrast = report.contrasts.find((item) => item.variant === variant && equal(item.point[rows.field], row) && equal(item.point[columns.field], column));
    const difference = chooseInterval(contrast?.differences?.[metric.name]);
    if (!difference) return h("td", { class: "number" }, "no pair");
    return h("td", { class: `number gain-cell ${getOutcome(difference, metric)}`, title: difference.call ? `called ${difference.call}` : "not called" },
      h("b", {}, formatSigned(difference.mean, metric.digits)), difference.call === null ? null : " \u25cf",
      difference.low === null ? null : h("small", {}, `${formatSigned(difference.low, metric.digits)} to ${formatSigned(difference.high, metric.digits)}`));
  };
  return [
    ...variants.map((variant, index) => h("div", { class: "scroll", role: "group", "aria-labelledby": `gains-${index}`, tabindex: 0 },
      h("table", { class: "gains" }, h("caption", { id: `gains-${index}` }, `${variant}: difference from ${report.baseline} in ${metric.title}, ${metric.unit}`),
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, `${rows.title} \\ ${columns.title}`),
          columns.values.map((value) => h("th", { scope: "col", class: "number" }, formatAxisValue(columns.field, value))))),
        h("tbody", {}, rows.values.map((row) => h("tr", {}, h("th", { scope: "row" }, formatAxisValue(rows.field, row)),
          columns.values.map((column) => cell(variant, row, column)))))))),
    h("p", { class: "help" }, `${metric.better} is better. \u25cf: the difference is called higher or lower.`),
  ];
}
