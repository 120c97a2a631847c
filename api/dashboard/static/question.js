// What was measured for a question: a row for each variant, and the report's verdicts.

import { requestJson } from "./api.js";
import { h } from "./elements.js";

const container = document.getElementById("measured");
const variants = JSON.parse(container.dataset.variants);
const metrics = JSON.parse(container.dataset.metrics);

function renderCell(variant, { name, scale, digits }) {
  const { mean, low, high } = variant.metrics?.[name] ?? {};
  if (mean === undefined) return h("td", { class: "number" }, "unknown");
  const half = low === null ? "" : ` ±\u00a0${((scale * (high - low)) / 2).toFixed(digits)}`;
  return h("td", { class: "number" }, `${(scale * mean).toFixed(digits)}${half}`);
}

try {
  const report = await requestJson(`/v1/experiments/${container.dataset.experiment}/report`);
  const rows = variants.map((name) => report.variants.find((variant) => variant.name === name)).filter(Boolean);
  const head = h("tr", {}, h("th", { scope: "col" }, "Variant"), ...metrics.map(({ title, unit }) => h("th", { scope: "col", class: "number" }, unit ? `${title}, ${unit}` : title)));
  const body = rows.map((variant) => h("tr", {}, h("th", { scope: "row" }, variant.name), ...metrics.map((metric) => renderCell(variant, metric))));
  container.replaceChildren(h("table", {}, h("thead", {}, head), h("tbody", {}, ...body)));
  const verdicts = report.contrasts.filter(({ variant }) => variants.includes(variant));
  document.getElementById("verdicts").replaceChildren(...verdicts.map(({ variant, verdict }) => h("li", {}, h("b", {}, `${variant}: `), verdict)));
} catch (error) {
  container.querySelector("[role=status]").textContent = error.message;
}
