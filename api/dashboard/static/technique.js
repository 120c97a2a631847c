// What a technique did here: a pair of models while they learned, and what the experiment's report says of it.

import { ask } from "./api.js";
import { showTraining } from "./charts.js";
import { h } from "./elements.js";

const { experiment, variant } = document.getElementById("pair").dataset;
const places = [...document.querySelectorAll("#pair [data-job]")];

async function draw() {
  const jobs = await Promise.all(places.map(({ dataset }) => ask(`/v1/jobs/${dataset.job}/epochs`)));
  const losses = jobs.flatMap(({ items }) => items.flatMap((each) => [each.train_loss, each.validation_loss]))
    .filter((loss) => loss !== null);
  const margin = 0.05 * (Math.max(...losses) - Math.min(...losses));
  const range = [Math.min(...losses) - margin, Math.max(...losses) + margin];
  places.forEach((place, index) => showTraining(place, jobs[index].items, "loss", null, range));
}

async function tell() {
  const report = await ask(`/v1/experiments/${experiment}/report?format=json`);
  const { verdict } = report.contrasts.find((contrast) => contrast.variant === variant) ?? {};
  if (verdict) document.getElementById("verdict").replaceChildren(h("b", {}, `${variant}: `), verdict);
}

// Where either cannot be had, the page says at its top why, and its links lead on.
await Promise.allSettled([draw(), tell()]);
