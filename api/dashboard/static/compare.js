// Several jobs side by side: one curve of each.

import { ask } from "./api.js";
import { chosenMetric, showTogether } from "./charts.js";

const element = (id) => document.getElementById(id);
const links = [...document.querySelectorAll("#results [data-job]")];
let metric = chosenMetric(element("curve-choice"));
let jobs = [];

function draw() {
  for (const button of element("curve-choice").children)
    button.setAttribute("aria-pressed", String(button.dataset.metric === metric));
  showTogether(element("curves"), jobs, metric);
}

element("curve-choice").addEventListener("click", ({ target }) => {
  if (!target.dataset.metric) return;
  metric = target.dataset.metric;
  const query = new URLSearchParams(location.search);
  query.set("curve", metric);
  history.replaceState(null, "", `?${query}`);
  draw();
});

try {
  jobs = await Promise.all(links.map(async ({ dataset }) =>
    ({ title: dataset.title, epochs: (await ask(`/v1/jobs/${dataset.job}/epochs`)).items })));
} catch (error) {
  element("said").textContent = error.message;
}
draw();
