// The charts of pages, from what the API answers.

import { formatCount } from "./elements.js";
import { drawPlot } from "./plot.js";
import { formatAxisValue } from "./points.js";

const TITLES = {
  validation_loss: "Validation loss, nats", train_loss: "Training loss, nats",
  validation_accuracy: "Validation accuracy, %", train_accuracy: "Training accuracy, %",
};
const EPOCHS = { title: "Epoch", type: "linear", whole: true };

const getScale = (metric) => (metric.endsWith("accuracy") ? 100 : 1);
const getDigits = (metric) => (metric.endsWith("accuracy") ? 2 : 4);
const multiply = (factor, value) => (value === null || value === undefined ? null : factor * value);

// The metric that the address requests if it has a button, else the first button's.
export function getSelectedMetric(buttons) {
  const metrics = [...buttons.children].map((button) => button.dataset.metric);
  const requested = new URLSearchParams(location.search).get("curve");
  return metrics.includes(requested) ? requested : metrics[0];
}

// Each variant's mean with its band, from GET /v1/experiments/{id}/curves. `seeds`: the epochs of single jobs, drawn
// as thin lines of their variants: [{ variant, epochs }]; `switches` as in plot.js.
export function showCurves(container, items, metric, { baseline = null, seeds = [], switches = [] } = {}) {
  const scale = getScale(metric);
  const others = items.map(({ variant }) => variant).filter((variant) => variant !== baseline);
  const getSeries = (variant) => (variant === baseline ? null : others.indexOf(variant));
  drawPlot(container, {
    key: metric, label: `${TITLES[metric]} of each variant by epoch, mean over its seeds`, x: EPOCHS, robust: true, y: { title: TITLES[metric], digits: getDigits(metric) }, switches,
    empty: "No epoch has been measured.",
    lines: [...items.map((item) => ({
      name: item.variant, series: getSeries(item.variant),
      points: item[metric].map(({ epoch, mean, low, high, n }) => ({
        x: epoch, y: scale * mean, low: multiply(scale, low), high: multiply(scale, high), note: formatCount(n, "seed") })),
    })), ...seeds.map(({ variant, epochs }) => ({ name: variant, parent: variant, series: getSeries(variant), thin: true,
      points: epochs.map((epoch) => ({ x: epoch.epoch, y: multiply(scale, epoch[metric]) })) }))],
  });
}

// A line with its intervals for each variant along an axis (api/reports/axis_schemas.py): `lines` have points with x,
// mean, low, high and whether the marker is filled; `names` fixes the colours, others are baselines; `zero` draws the line of no difference.
export function showAlongAxis(container, lines, names, { axis, title, digits, zero = false }) {
  const type = axis.scale === "categories" ? "category" : axis.scale;
  const ticks = axis.numbers?.map((number, index) => [number, formatAxisValue(axis.field, axis.values[index] ?? number)]);
  drawPlot(container, {
    key: title, label: `${title} along ${axis.title}`, zero, x: { title: axis.title, type, ticks: type === "category" ? undefined : ticks },
    y: { title, digits, log: !zero },
    lines: lines.map(({ name, points }) => ({ name, series: names.includes(name) ? names.indexOf(name) : null, markers: true,
      points: points.map(({ x, mean, low, high, filled }) => ({ x, y: mean, low, high, hollow: !filled })) })),
  });
}

// A job's training and validation curves with the gap shaded; `reported`: the epoch whose weights were kept.
// `range`: of the metric, for comparable charts.
export function showTraining(container, epochs, metric, reported, range = null) {
  const scale = getScale(metric);
  const title = metric === "accuracy" ? "Accuracy, %" : "Loss, nats";
  const build = (name, key, series) => ({ name, series, points: epochs.map((epoch) => ({ x: epoch.epoch, y: multiply(scale, epoch[key]) })) });
  const hasValidation = epochs.some((epoch) => epoch[`validation_${metric}`] !== null);
  drawPlot(container, {
    key: metric, label: `${title} by epoch`, x: EPOCHS, robust: true, y: { title, digits: getDigits(metric), range }, between: hasValidation,
    empty: "No epoch has been measured.", mark: reported && epochs.length ? { x: reported, text: "kept" } : null,
    lines: epochs.length ? [build("Training", `train_${metric}`, 0), ...(hasValidation ? [build("Validation", `validation_${metric}`, 1)] : [])] : [],
  });
}

// The same metric of several jobs.
export function showComparison(container, jobs, metric) {
  drawPlot(container, {
    key: metric, label: `${TITLES[metric]} of each job by epoch`, x: EPOCHS, robust: true, y: { title: TITLES[metric], digits: getDigits(metric) },
    empty: "No epoch has been measured.",
    lines: jobs.map(({ title, epochs }, index) => ({ name: title, series: index,
      points: epochs.map((epoch) => ({ x: epoch.epoch, y: multiply(getScale(metric), epoch[metric]) })) })),
  });
}

// The measure of each seed, and of each part of the training data where it is divided, in each variant, joined over the
// variants: pairs of models with the same seed and part.
export function showPairs(container, variants, { title, valueUnit, digits, scale, field }) {
  const nameRun = ({ seed, part }) => `seed ${seed}${part === null ? "" : `, part ${part}`}`;
  const runs = [...new Set(variants.flatMap((variant) => variant.seeds.map(nameRun)))];
  drawPlot(container, {
    key: field, label: `${title} of each seed in each variant`, x: { title: "Variant", type: "category" },
    y: { title: `${title}, ${valueUnit}`, digits, log: false },
    lines: runs.map((run, index) => ({ name: run, series: index, markers: true, points: variants.flatMap((variant) =>
      variant.seeds.filter((item) => nameRun(item) === run).map(({ result }) => ({ x: variant.name, y: scale * result[field] }))) })),
  });
}
