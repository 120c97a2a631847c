// Parallel coordinates of a sweep: an axis for each parameter that is varied and for each outcome.

import { h, s } from "./elements.js";
import { METRICS, formatLabel } from "./measures.js";
import { nameAxis } from "./points.js";
import { formatTick } from "./scales.js";

const [WIDTH, HEIGHT, TOP, BOTTOM, SIDE] = [760, 300, 40, 34, 60];
const MIN_VALUES = 3;

// Null unless a numeric parameter has three values or more.
export function buildParallelCoordinates(report) {
  // With axes a variant is a line along them, not one value of a parameter.
  const variants = report.axes.length ? [] : report.variants.filter((variant) => variant.metrics);
  const parameterAxes = findParameters(variants).map(({ title, values }) => buildAxis(title, values));
  if (!parameterAxes.length || variants.length < MIN_VALUES) return null;
  const axes = [...parameterAxes, ...buildOutcomeAxes(variants)];
  const status = h("p", { class: "help", role: "status" }, "Point at a line, or move to it with Tab, to see its variant.");
  const lines = variants.map((variant, index) => {
    const best = variant.name === report.best?.variant;
    const name = `${variant.name}: ${axes.map((axis) => `${axis.title} ${axis.format(index)}`).join(", ")}`;
    return s("polyline", {
      points: axes.map((axis, position) => `${x(position, axes)},${axis.y(index)}`).join(" "),
      class: `sweep-line${best ? " best" : ""}${variant.is_baseline ? " baseline" : ""}`,
      id: `sweep-${index}`, tabindex: 0, role: "img", "aria-label": name,
      onpointerenter: () => { status.textContent = name; },
      onfocus: () => { status.textContent = name; },
    });
  });
  return h("section", { "aria-labelledby": "sweep-title" },
    h("h2", { id: "sweep-title" }, "Overview of the sweep"),
    h("p", { class: "help sideways" }, "Scroll sideways to see all axes \u2192"),
    h("div", { class: "scroll", role: "group", "aria-labelledby": "sweep-title", tabindex: 0 },
      s("svg", { class: "sweep", viewBox: `0 0 ${WIDTH} ${HEIGHT}` },
        axes.map((axis, position) => renderAxis(axis, x(position, axes), position === 0 || position === axes.length - 1)), lines)),
    status,
    h("p", { class: "help" }, "Each line is a variant. Thick: the lowest validation loss; dashed: the baseline; off: without this technique."));
}

const x = (position, axes) => SIDE + (position * (WIDTH - 2 * SIDE)) / (axes.length - 1);

// The numeric parameters of which variants have three values or more, with each variant's value or null.
export function findParameters(variants) {
  const names = new Set(variants.flatMap((variant) =>
    Object.entries(variant.regularization).flatMap(([technique, parameters]) =>
      Object.entries(parameters).filter(([, value]) => typeof value === "number").map(([name]) => `${technique}.${name}`))));
  return [...names]
    .map((name) => [name, variants.map((variant) => {
      const [technique, parameter] = name.split(".");
      return variant.regularization[technique]?.[parameter] ?? null;
    })])
    .filter(([, values]) => new Set(values.filter((value) => value !== null)).size >= MIN_VALUES)
    .map(([name, values]) => ({ title: nameAxis(`/regularization/${name.replace(".", "/")}`), values }));
}

const buildOutcomeAxes = (variants) => METRICS.filter(({ compared, name }) => compared && variants.some(({ metrics }) => metrics[name]))
  .map((metric) => buildAxis(formatLabel(metric).toLowerCase(), variants.map(({ metrics }) =>
    metrics[metric.name] && metric.format.scale * metrics[metric.name].mean)));

// Logarithmic if the values span a factor of 50; null is drawn below the axis, as "off".
function buildAxis(title, values) {
  const numbers = values.filter((value) => value !== null);
  const [minimum, maximum] = [Math.min(...numbers), Math.max(...numbers)];
  const logarithmic = minimum > 0 && maximum / minimum >= 50;
  const scaled = (value) => (logarithmic ? Math.log(value) : value);
  const off = values.includes(null);
  const floor = HEIGHT - BOTTOM - (off ? 24 : 0);
  const normalize = (value) => (maximum === minimum ? 0.5 : (scaled(value) - scaled(minimum)) / (scaled(maximum) - scaled(minimum)));
  const toY = (value) => (value === null ? HEIGHT - BOTTOM : floor - normalize(value) * (floor - TOP));
  return {
    title, off, floor,
    minimum: formatNumber(minimum), maximum: formatNumber(maximum),
    y: (index) => toY(values[index]).toFixed(1),
    format: (index) => (values[index] === null ? "off" : formatNumber(values[index])),
  };
}

const formatNumber = (value) => formatTick(Number(value.toPrecision(4)));

// `outer`: the first and the last axis have their labels on the left.
function renderAxis(axis, left, outer) {
  const label = outer ? { x: left - 5, "text-anchor": "end" } : { x: left + 5 };
  return s("g", { class: "sweep-axis" },
    s("line", { x1: left, x2: left, y1: TOP, y2: axis.floor }),
    s("text", { x: left, y: 12, "text-anchor": "middle", class: "name" }, axis.title),
    s("text", { ...label, y: TOP - 6 }, axis.maximum),
    s("text", { ...label, y: axis.floor + 13 }, axis.minimum),
    axis.off ? s("text", { ...label, y: HEIGHT - BOTTOM + 14 }, "off") : null);
}
