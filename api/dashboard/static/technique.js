// A technique's effect: the curves of a pair of models, and the verdict of the experiment's report.

import { requestJson } from "./api.js";
import { showTraining } from "./charts.js";
import { h } from "./elements.js";

const { experiment, variant } = document.getElementById("pair").dataset;
const charts = [...document.querySelectorAll("#pair [data-job]")];

async function drawPair() {
  const jobs = await Promise.all(charts.map(({ dataset }) => requestJson(`/v1/jobs/${dataset.job}/epochs`)));
  const losses = jobs.flatMap(({ items }) => items.flatMap((epoch) => [epoch.train_loss, epoch.validation_loss]))
    .filter((loss) => loss !== null);
  const margin = 0.05 * (Math.max(...losses) - Math.min(...losses));
  const range = [Math.min(...losses) - margin, Math.max(...losses) + margin];
  charts.forEach((chart, index) => showTraining(chart, jobs[index].items, "loss", null, range));
}

async function showVerdict() {
  const report = await requestJson(`/v1/experiments/${experiment}/report?format=json`);
  const { verdict } = report.contrasts.find((contrast) => contrast.variant === variant) ?? {};
  if (verdict) document.getElementById("verdict").replaceChildren(h("b", {}, `${variant}: `), verdict);
}

// If one fails, the banner says why, and the page's links lead to the same information.
await Promise.allSettled([drawPair(), showVerdict()]);
