// One experiment: its progress and runs as they change, its curves, and its report.

import { post, request, requestJson, runUnlessBusy, setQueryParameter } from "./api.js";
import { getSelectedMetric, showCurves } from "./charts.js";
import { poll, refresh, watchWorker } from "./live-update.js";
import { h } from "./elements.js";
import { buildParallelCoordinates } from "./parallel.js";
import { buildAxesView, buildReportView } from "./report-view.js";
import { readSeeds } from "./seeds.js";

const element = (id) => document.getElementById(id);
const id = element("progress").dataset.experiment;
const address = `/v1/experiments/${id}`;
const finished = () => element("progress").dataset.finished === "true";
// Curves and reports are expensive for the service: reloaded at this interval at most, and a fifth of the time at most.
const RELOAD_MILLISECONDS = 3000;
const MIN_IDLE_RATIO = 5;
const NOT_MODIFIED = 304;
const MAX_SEED_LINES = 100;

// ---- curves

let curves = null;
let metric = getSelectedMetric(element("curve-choice"));

function drawCurves() {
  for (const button of element("curve-choice").children)
    button.setAttribute("aria-pressed", String(button.dataset.metric === metric));
  if (!curves) return;
  showCurves(element("curves"), selectCurves(curves.items), metric, {
    baseline: report?.baseline, seeds: seeds ?? [],
    switches: [{ text: "Each seed", on: seeds !== null, toggle: toggleSeeds }],
  });
}

// The epochs of every finished or running job that the page shows, loaded when they are first requested.
let seeds = null;

async function toggleSeeds() {
  seeds = seeds ? null : await Promise.all([...document.querySelectorAll("#run-table [data-variant]")].slice(0, MAX_SEED_LINES).map(async ({ dataset }) =>
    ({ variant: dataset.variant, epochs: (await requestJson(`/v1/jobs/${dataset.job}/epochs`)).items })));
  drawCurves();
}

element("curve-choice").addEventListener("click", ({ target }) => {
  if (!target.dataset.metric) return;
  metric = target.dataset.metric;
  setQueryParameter("curve", metric);
  drawCurves();
});

// The curves at the selected point, or all; names of variants end with their point, as reports have it.
function selectCurves(items) {
  const select = element("point");
  return select?.value ? items.filter(({ variant }) => variant.endsWith(`, ${select.value}`)) : items;
}

element("point")?.addEventListener("change", async ({ target }) => {
  setQueryParameter("point", target.value);
  drawCurves();
  await refresh();
});

// ---- report

let report = null;
let difference = new URLSearchParams(location.search).get("difference");

function showReport() {
  if (!report.finished) {
    element("report-view").replaceChildren(h("p", { class: "help" }, "The comparison appears once a job has finished."));
    return;
  }
  const [first, ...others] = buildReportView(report, difference, (name) => {
    difference = name;
    setQueryParameter("difference", name);
    showReport();
    element(`metric-${name}`).focus();
  });
  const axes = buildAxesView(report, difference);
  replaceReport([axes?.section, first, buildParallelCoordinates(report), ...others].filter(Boolean));
  axes?.draw();
}

// Preserves scroll positions, open details and focus.
function replaceReport(parts) {
  const view = element("report-view");
  const focused = view.contains(document.activeElement) ? document.activeElement.id : "";
  const all = (selector) => [...view.querySelectorAll(selector)];
  const scrolled = new Map(all(".scroll").map((box) => [box.getAttribute("aria-labelledby"), box.scrollLeft]));
  const open = all("details[open]").length > 0;
  view.replaceChildren(...parts);
  for (const box of all(".scroll")) box.scrollLeft = scrolled.get(box.getAttribute("aria-labelledby")) ?? 0;
  for (const details of all("details")) details.open = open;
  if (focused) element(focused)?.focus();
}

async function reload() {
  const [newCurves, newReport] = await Promise.all([requestJson(`${address}/curves`), requestJson(`${address}/report?format=json`)]);
  const changed = report === null || newReport.finished !== report.finished || newReport.complete !== report.complete;
  [curves, report] = [newCurves, newReport];
  drawCurves();
  if (changed) showReport();
}

// ---- actions

element("progress").addEventListener("click", ({ target }) => {
  const { post: path, confirm } = target.dataset;
  if (!path || target.getAttribute("aria-disabled") === "true") return;
  if (confirm && !window.confirm(confirm)) return;
  runUnlessBusy(target, () => run(element("status"), () => post(path)));
});

element("freeze").addEventListener("click", ({ target }) => {
  if (target.dataset.post) runUnlessBusy(target, () => run(element("freeze-status"), () => post(target.dataset.post)));
});

element("frozen-reports").addEventListener("click", ({ target }) => {
  const path = target.dataset.delete;
  if (!path || !window.confirm("Delete this report for ever? Its address, which may have been cited, then leads to nothing.")) return;
  runUnlessBusy(target, () => run(element("freeze-status"), () => requestJson(path, { method: "DELETE" })));
});

element("extend").addEventListener("submit", (event) => {
  event.preventDefault();
  const error = event.target.querySelector(".field-error");
  error.hidden = true;
  const seeds = readSeeds(element("more-seeds").value);
  runUnlessBusy(event.target, () => run(error, () => post(`${address}/extend`, { seeds })));
});

element("confirm")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const error = event.target.querySelector(".field-error");
  error.hidden = true;
  const variants = [...event.target.querySelectorAll("[name=variant]:checked")].map(({ value }) => ({ name: value }));
  const seeds = readSeeds(element("fresh-seeds").value);
  runUnlessBusy(event.target, () => run(error, async () => {
    const followUp = await post("/v1/experiments", { confirms: id, variants, seeds });
    location.assign(`/experiments/${followUp.id}`);
  }));
});

async function run(output, action) {
  output.textContent = "";
  try {
    await action();
    await refresh();
    if (!watching) watch();
  } catch (error) {
    output.hidden = false;
    output.textContent = error.errors?.length ? error.errors.map(({ detail }) => detail).join("; ") : error.message;
  }
}

// ---- the report's charts

element("charts").addEventListener("toggle", async () => {
  const list = element("charts").querySelector("ul");
  if (list.childElementCount) return;
  const { items } = await requestJson(`${address}/charts`).catch(() => ({ items: [] }));
  list.append(...items.map((chart) => h("li", {}, `${chart.title}: `,
    h("a", { href: chart.svg, download: `${id}-${chart.name}.svg` }, "SVG"), ", ",
    h("a", { href: chart.png, download: `${id}-${chart.name}.png` }, "PNG"))));
});

// ---- live

let watching = false;

async function watch() {
  watching = true;
  let etag = null;
  let nextReload = 0;
  let stale = false;
  await poll(1000, () => stale || !finished(), async () => {
    const response = await request(address, { headers: etag ? { "If-None-Match": etag } : {} });
    if (response.status !== NOT_MODIFIED) {
      await refresh();
      etag = response.headers.get("ETag");
      stale = true;
    }
    if (!stale || (Date.now() < nextReload && !finished())) return;
    const started = Date.now();
    await reload();
    stale = false;
    nextReload = Date.now() + Math.max(RELOAD_MILLISECONDS, MIN_IDLE_RATIO * (Date.now() - started));
    if (finished()) element("status").textContent = "All jobs have ended; the comparison is complete.";
  });
  watching = false;
}

await reload().catch((error) => { element("report-view").textContent = `${error.message} Reload the page to try again.`; });
watch();
watchWorker(element("status"), () => element("progress").querySelector(".badge.queued") !== null
  && element("progress").querySelector(".badge.running") === null);
