// Compared jobs: one curve of each.

import { requestJson, setQueryParameter } from "./api.js";
import { getSelectedMetric, showComparison } from "./charts.js";

const element = (id) => document.getElementById(id);
const links = [...document.querySelectorAll("#results [data-job]")];
let metric = getSelectedMetric(element("curve-choice"));
let jobs = [];

function draw() {
  for (const button of element("curve-choice").children)
    button.setAttribute("aria-pressed", String(button.dataset.metric === metric));
  showComparison(element("curves"), jobs, metric);
}

element("curve-choice").addEventListener("click", ({ target }) => {
  if (!target.dataset.metric) return;
  metric = target.dataset.metric;
  setQueryParameter("curve", metric);
  draw();
});

try {
  jobs = await Promise.all(links.map(async ({ dataset, textContent }) =>
    ({ title: textContent, epochs: (await requestJson(`/v1/jobs/${dataset.job}/epochs`)).items })));
} catch (error) {
  element("status").textContent = error.message;
}
draw();
