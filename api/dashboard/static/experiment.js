// One experiment: its standing and its grid as they fill up, its curves, and what its report says.

import { ask } from "./api.js";
import { showCurves } from "./charts.js";
import { findings } from "./findings.js";
import { pause, refresh } from "./live.js";
import { parallel } from "./parallel.js";
import { readSeeds } from "./seeds.js";
import { h } from "./elements.js";

const element = (id) => document.getElementById(id);
const id = element("standing").dataset.experiment;
const address = `/v1/experiments/${id}`;
const finished = () => element("standing").dataset.finished === "true";
// Curves and report take the service some work: no more often than this, and at most a fifth of the time.
const LOOK_MILLISECONDS = 3000;
const LEISURE = 5;

// ---- curves

let curves = null;
let measure = new URLSearchParams(location.search).get("curve") ?? "validation_loss";

function drawCurves() {
  for (const button of element("curve-choice").children)
    button.setAttribute("aria-pressed", String(button.dataset.measure === measure));
  if (curves) showCurves(element("curves"), curves, measure);
}

element("curve-choice").addEventListener("click", ({ target }) => {
  if (!target.dataset.measure) return;
  measure = target.dataset.measure;
  remember("curve", measure);
  drawCurves();
});

function remember(name, value) {
  const query = new URLSearchParams(location.search);
  query.set(name, value);
  history.replaceState(null, "", `?${query}`);
}

// ---- report

let report = null;
let difference = new URLSearchParams(location.search).get("difference") ?? "test_accuracy_points";

function showFindings() {
  if (!report.finished) {
    element("findings").replaceChildren(h("p", { class: "help" }, "The comparison begins with the first finished job."));
    return;
  }
  const [first, ...others] = findings(report, difference, (name) => {
    difference = name;
    remember("difference", name);
    showFindings();
    element(`measure-${name}`).focus();
  });
  element("findings").replaceChildren(...[first, parallel(report), ...others].filter(Boolean));
}

async function look() {
  const [freshCurves, freshReport] = await Promise.all([ask(`${address}/curves`), ask(`${address}/report?format=json`)]);
  curves = freshCurves;
  drawCurves();
  const news = report === null || freshReport.finished !== report.finished || freshReport.complete !== report.complete;
  report = freshReport;
  if (news) showFindings();
}

// ---- what can be asked of it

element("standing").addEventListener("click", async ({ target }) => {
  const { post, asks } = target.dataset;
  if (!post || target.getAttribute("aria-disabled") === "true") return;
  if (asks && !window.confirm(asks)) return;
  await tell(element("said"), () => ask(post, { method: "POST" }));
});

element("extend").addEventListener("submit", async (event) => {
  event.preventDefault();
  const fault = event.target.querySelector(".fault");
  fault.hidden = true;
  const seeds = readSeeds(element("more-seeds").value);
  await tell(fault, () => ask(`${address}/extend`, { method: "POST", body: { seeds } }));
});

async function tell(place, request) {
  place.textContent = "";
  try {
    await request();
    await refresh();
    if (!watching) watch();
  } catch (error) {
    place.hidden = false;
    place.textContent = error.errors?.length ? error.errors.map((each) => each.detail).join("; ") : error.message;
  }
}

// ---- the report's charts

element("charts").addEventListener("toggle", async () => {
  const list = element("charts").querySelector("ul");
  if (list.childElementCount) return;
  const { items } = await ask(`${address}/charts`);
  list.append(...items.map((chart) => h("li", {}, `${chart.title}: `,
    h("a", { href: chart.svg, download: `${id}-${chart.name}.svg` }, "SVG"), ", ",
    h("a", { href: chart.png, download: `${id}-${chart.name}.png` }, "PNG"))));
});

// ---- live

let watching = false;

async function watch() {
  watching = true;
  let tag = null;
  let next = 0;
  let stale = false;
  while (stale || !finished()) {
    await pause(1000);
    try {
      const answer = await fetch(address, { headers: tag ? { "If-None-Match": tag } : {} });
      if (answer.ok) {
        tag = answer.headers.get("ETag");
        await refresh();
        stale = true;
      }
      if (!stale || (Date.now() < next && !finished())) continue;
      const begun = Date.now();
      await look();
      stale = false;
      next = Date.now() + Math.max(LOOK_MILLISECONDS, LEISURE * (Date.now() - begun));
    } catch {
      // The service is away for a moment: look again.
    }
  }
  watching = false;
}

await look().catch((error) => { element("findings").textContent = error.message; });
watch();
