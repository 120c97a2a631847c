// The catalogue of models/metrics.py, as far as reports summarize it, and how its numbers are written.

import { h } from "./elements.js";

export const METRICS = JSON.parse(document.getElementById("report-view").dataset.metrics);
export const COMPARED = METRICS.filter((metric) => metric.compared).map(({ name, contrast, contrast_unit: unit, title, format, direction }) =>
  ({ field: name, scale: format.scale, valueUnit: format.unit, name: contrast, title, unit, digits: format.digits, better: direction, limit: unit === "points" ? 100 : Infinity }));
export const formatLabel = ({ title, format }) => (format.unit ? `${title}, ${format.unit}` : title);
export const getMeasure = (name) => COMPARED.find((measure) => measure.name === name) ?? COMPARED[0];

// Of a tested metric the interval that agrees with what is called.
export function chooseInterval(difference) {
  if (!difference) return null;
  const { tested, low, high, simultaneous_low, simultaneous_high } = difference;
  return { ...difference, low: tested ? simultaneous_low : low, high: tested ? simultaneous_high : high };
}

// The verdict's call: that an interval excludes 0 is not enough.
export function getOutcome({ call }, { better }) {
  if (call === null) return "open";
  return call === better ? "better" : "worse";
}

export const buildSaveButton = (id, save) => h("p", {}, h("button", { type: "button", id, onclick: save }, "Save as CSV"));
