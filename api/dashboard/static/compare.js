// Several jobs side by side: one curve of each.

import { ask } from "./api.js";
import { chosenMeasure, showTogether } from "./charts.js";

const element = (id) => document.getElementById(id);
const links = [...document.querySelectorAll("#results [data-job]")];
let measure = chosenMeasure(element("curve-choice"));
let jobs = [];

function draw() {
  for (const button of element("curve-choice").children)
    button.setAttribute("aria-pressed", String(button.dataset.measure === measure));
  showTogether(element("curves"), jobs, measure);
}

element("curve-choice").addEventListener("click", ({ target }) => {
  if (!target.dataset.measure) return;
  measure = target.dataset.measure;
  const query = new URLSearchParams(location.search);
  query.set("curve", measure);
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
