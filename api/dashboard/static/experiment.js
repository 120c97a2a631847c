// One experiment: its standing and its grid as they fill up, its curves, and what its report says.

import { ask, change, once, request } from "./api.js";
import { chosenMetric, showCurves } from "./charts.js";
import { findings } from "./findings.js";
import { keepLooking, refresh, sayWhoIsMissing } from "./live.js";
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
const UNCHANGED = 304;

// ---- curves

let curves = null;
let metric = chosenMetric(element("curve-choice"));

function drawCurves() {
  for (const button of element("curve-choice").children)
    button.setAttribute("aria-pressed", String(button.dataset.metric === metric));
  if (curves) showCurves(element("curves"), curves, metric);
}

element("curve-choice").addEventListener("click", ({ target }) => {
  if (!target.dataset.metric) return;
  metric = target.dataset.metric;
  remember("curve", metric);
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
    element(`metric-${name}`).focus();
  });
  replaceFindings([first, parallel(report), ...others].filter(Boolean));
}

// What somebody has scrolled, opened or focused in them stays as it is.
function replaceFindings(parts) {
  const place = element("findings");
  const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
  const all = (selector) => [...place.querySelectorAll(selector)];
  const scrolled = new Map(all(".scroll").map((each) => [each.getAttribute("aria-labelledby"), each.scrollLeft]));
  const open = all("details[open]").length > 0;
  place.replaceChildren(...parts);
  for (const each of all(".scroll")) each.scrollLeft = scrolled.get(each.getAttribute("aria-labelledby")) ?? 0;
  for (const each of all("details")) each.open = open;
  if (focused) element(focused)?.focus();
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

element("standing").addEventListener("click", ({ target }) => {
  const { post, confirm } = target.dataset;
  if (!post || target.getAttribute("aria-disabled") === "true") return;
  if (confirm && !window.confirm(confirm)) return;
  once(target, () => tell(element("said"), () => change(post)));
});

element("extend").addEventListener("submit", (event) => {
  event.preventDefault();
  const fault = event.target.querySelector(".fault");
  fault.hidden = true;
  const seeds = readSeeds(element("more-seeds").value);
  once(event.target, () => tell(fault, () => change(`${address}/extend`, { seeds })));
});

async function tell(place, carryOut) {
  place.textContent = "";
  try {
    await carryOut();
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
  const { items } = await ask(`${address}/charts`).catch(() => ({ items: [] }));
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
  await keepLooking(1000, () => stale || !finished(), async () => {
    const answer = await request(address, { headers: tag ? { "If-None-Match": tag } : {} });
    if (answer.status !== UNCHANGED) {
      await refresh();
      tag = answer.headers.get("ETag");
      stale = true;
    }
    if (!stale || (Date.now() < next && !finished())) return;
    const begun = Date.now();
    await look();
    stale = false;
    next = Date.now() + Math.max(LOOK_MILLISECONDS, LEISURE * (Date.now() - begun));
    if (finished()) element("said").textContent = "Every job has ended; the comparison is complete.";
  });
  watching = false;
}

await look().catch((error) => { element("findings").textContent = `${error.message} Reload the page to try again.`; });
watch();
sayWhoIsMissing(element("said"), () => element("standing").querySelector(".badge.queued") !== null
  && element("standing").querySelector(".badge.running") === null);
