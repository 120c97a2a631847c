// Overfitting, bias and variance: a slider over the measured points of an experiment, and their curves.

import { requestJson } from "./api.js";
import { h } from "./elements.js";
import { drawPlot } from "./plot.js";
import { formatAxisValue } from "./points.js";

const format = (value) => value.toFixed(3);

// For each variant its points from low to high: { value, parts: { name: { y, low, high } }, summary }.
const READERS = {
  async bias_variance(id, field) {
    const { items } = await requestJson(`/v1/experiments/${id}/bias-variance`);
    return collect((items ?? []).filter((item) => item.cross_entropy), field, ({ variant, cross_entropy: loss }) => {
      const part = ({ value, low, high }) => ({ y: value, low, high });
      return { variant, parts: { bias: part(loss.bias), variance: part(loss.variance), "mean loss": part(loss.mean_loss) } };
    });
  },
  async overfitting(id, field) {
    const { variants } = await requestJson(`/v1/experiments/${id}/report`);
    return collect(variants.filter(({ metrics }) => metrics), field, ({ name, metrics, seeds }) => {
      const training = seeds.reduce((sum, { result }) => sum + result.train_loss, 0) / seeds.length;
      const { mean, low, high } = metrics.test_loss;
      return { variant: name, parts: { "training loss": { y: training }, "test loss": { y: mean, low, high } }, summary: `gap ${format(mean - training)}` };
    });
  },
};

function collect(items, field, read) {
  const variants = new Map();
  for (const item of items) {
    const { variant, ...point } = read(item);
    if (!variants.has(variant)) variants.set(variant, []);
    const value = item.point[field];
    const number = Array.isArray(value) && value.length === 1 ? value[0] : value;
    variants.get(variant).push({ ...point, x: typeof number === "number" ? number : formatAxisValue(field, value), text: formatAxisValue(field, value) });
  }
  for (const points of variants.values()) points.sort((one, other) => one.x - other.x);
  return variants;
}

const describePart = ([name, { y, low, high }]) => `${name} ${format(y)}${low === null || low === undefined ? "" : ` (${format(low)} to ${format(high)})`}`;

async function show(study) {
  const { kind, experiment, field } = study.dataset;
  const [select, slider, readout, chart] = [".variant", ".point", ".readout", ".chart"].map((name) => study.querySelector(name));
  const axis = slider.labels[0].textContent.trim();
  const variants = await READERS[kind](experiment, field);
  if (!variants.size) throw new Error("This experiment has no results to show.");
  select.replaceChildren(...[...variants.keys()].map((name) => h("option", {}, name)));
  const render = () => {
    const points = variants.get(select.value);
    slider.max = points.length - 1;
    const point = points[slider.value];
    slider.setAttribute("aria-valuetext", point.text);
    readout.textContent = `${select.value}, ${axis.toLowerCase()} ${point.text}: ${Object.entries(point.parts).map(describePart).join(", ")}${point.summary ? `; ${point.summary}` : ""}.`;
    const isNumeric = points.every(({ x }) => typeof x === "number");
    drawPlot(chart, {
      key: `${experiment}-${select.value}`, label: `${Object.keys(point.parts).join(", ")} of ${select.value} by ${axis}`,
      x: { title: axis, type: isNumeric ? "log" : "category", ticks: isNumeric ? points.map(({ x, text }) => [x, text]) : undefined },
      y: { title: "Nats", digits: 3 }, mark: { x: point.x, text: point.text },
      lines: Object.keys(point.parts).map((name, series) => ({ name, series, markers: true,
        points: points.map(({ x, parts }) => ({ x, ...parts[name], low: parts[name].low ?? null, high: parts[name].high ?? null })) })),
    });
  };
  slider.value = 0;
  select.addEventListener("change", render);
  slider.addEventListener("input", render);
  slider.max = variants.get(select.value).length - 1;
  slider.value = slider.max;
  render();
}

for (const study of document.querySelectorAll(".study")) {
  show(study).catch((error) => { study.querySelector(".readout").textContent = error.message; });
}
