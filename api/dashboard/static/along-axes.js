// An experiment with axes: a metric and the differences from the baseline along one axis, or a table over two.

import { showAlongAxis } from "./charts.js";
import { h } from "./elements.js";
import { chooseInterval, getOutcome } from "./measures.js";
import { chooseIntervalDigits, formatSigned } from "./numbers.js";
import { findParameters } from "./parallel.js";
import { formatAxisValue } from "./points.js";

const equal = (one, other) => JSON.stringify(one) === JSON.stringify(other);

// `metric`: one of measures.js. Returns the section and what draws its charts once it is in the page; null without axes.
export function buildAlongAxes(report, metric) {
  const [axis, second] = report.axes;
  if (!axis) return null;
  if (second) return { section: buildSection(axis.title, second.title, buildGrids(report, metric)), draw: () => {} };
  const means = h("div", { class: "chart", id: "along-axis", role: "group", "aria-label": `${metric.title} along ${axis.title}, with 95 % intervals` });
  const differences = h("div", { class: "chart", id: "gain", role: "group", "aria-label": `Difference from ${report.baseline} in ${metric.title} along ${axis.title}, with its band` });
  return {
    section: buildSection(axis.title, null, [
      h("div", { class: "pair" }, means, differences),
      h("p", { class: "help" }, `Means over seeds with their 95 % intervals, and differences from the baseline; ${metric.better} is better. `,
        "A filled marker is called higher or lower, a hollow one is not. Numbers has them as a table."),
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
      const names = [...new Set(report.variants.filter(({ is_baseline: isBaseline }) => !isBaseline).map(({ name }) => name))];
      showAlongAxis(means, ofMeans, names, { axis, title: `${metric.title}, ${metric.valueUnit}`, digits: metric.digits });
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
function buildGrids(report, metric) {
  const [rows, columns] = report.axes;
  const variants = [...new Set(report.contrasts.map(({ variant }) => variant))];
  const cell = (variant, row, column) => {
    const contrast = report.contrasts.find((item) => item.variant === variant && equal(item.point[rows.field], row) && equal(item.point[columns.field], column));
    const difference = chooseInterval(contrast?.differences?.[metric.name]);
    if (!difference) return h("td", { class: "number" }, "no pair");
    const { mean, low, high } = difference;
    const digits = chooseIntervalDigits(mean, [low, high], metric.digits);
    return h("td", { class: `number gain-cell ${getOutcome(difference, metric)}`, title: difference.call ? `called ${difference.call}` : "not called" },
      h("b", {}, formatSigned(mean, digits)), difference.call === null ? null : " \u25cf",
      low === null ? null : h("small", {}, `${formatSigned(low, digits)} to ${formatSigned(high, digits)}`));
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

const LOG_RATIO = 50;

// A measure against the only numeric parameter that the variants vary, with the baseline as a level; null where they
// vary none or several.
export function buildAlongParameter(report, metric) {
  const variants = report.axes.length ? [] : report.variants.filter((variant) => variant.metrics);
  const [parameter, another] = findParameters(variants);
  if (!parameter || another) return null;
  const chart = h("div", { class: "chart", id: "along-parameter", role: "group", "aria-label": `${metric.title} against ${parameter.title}, with 95 % intervals` });
  const measure = ({ metrics }) => {
    const summary = metrics[metric.field];
    const [mean, low, high] = [summary.mean, summary.low, summary.high].map((value) => (value === null ? null : metric.scale * value));
    return { mean, low, high };
  };
  return {
    section: buildSection(parameter.title, null, [chart, h("p", { class: "help" }, "Means over seeds with their 95 % intervals."
      + (variants.some((variant, index) => parameter.values[index] === null && !variant.is_baseline) ? " Variants without this parameter are not drawn." : ""))]),
    draw() {
      const points = variants.map((variant, index) => ({ x: parameter.values[index], ...measure(variant), filled: true }))
        .filter(({ x, mean }) => x !== null && mean !== undefined).sort((one, other) => one.x - other.x);
      const [first, last] = [points[0].x, points.at(-1).x];
      const lines = [{ name: parameter.title, points }];
      const baseline = variants.findIndex(({ is_baseline: isBaseline }) => isBaseline);
      if (baseline >= 0 && parameter.values[baseline] === null)
        lines.push({ name: variants[baseline].name, points: [first, last].map((x) => ({ x, ...measure(variants[baseline]), filled: true })) });
      const numbers = points.map(({ x }) => x);
      showAlongAxis(chart, lines, [parameter.title], { digits: metric.digits, title: `${metric.title}, ${metric.valueUnit}`,
        axis: { title: parameter.title, scale: first > 0 && last / first >= LOG_RATIO ? "log" : "linear", numbers, values: numbers } });
    },
  };
}
