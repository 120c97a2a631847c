// One experiment: its progress and runs as they change, its curves, and its report.

import { buildAlongAxes, buildAlongParameter } from "./along-axes.js";
import { navigate, post, request, requestJson, runUnlessBusy, setQueryParameter } from "./api.js";
import { getSelectedMetric, showCurves, showPairs } from "./charts.js";
import { buildForest } from "./forest.js";
import { poll, refresh, watchWorker } from "./live-update.js";
import { h } from "./elements.js";
import { COMPARED, getMeasure } from "./measures.js";
import { buildParallelCoordinates } from "./parallel.js";
import { buildAnswer, buildBiasVariance, buildFigure, buildMemorization, buildMistakes, buildNotes, buildRecommendation, buildRobustness, buildTable, buildTuning } from "./report-view.js";
import { readSeeds } from "./seeds.js";
import { buildTabs } from "./tabs.js";

const element = (id) => document.getElementById(id);
const id = element("progress").dataset.experiment;
const address = `/v1/experiments/${id}`;
const finished = () => element("progress").dataset.finished === "true";
// Curves and reports are expensive for the service: reloaded at this interval at most, and a fifth of the time at most.
const RELOAD_MILLISECONDS = 3000;
const MIN_IDLE_RATIO = 5;
const NOT_MODIFIED = 304;
const MAX_SEED_LINES = 100;
const FIGURES = {
  weights: "How large the weights are", "first-layer": "What the first layer looks at", reliability: "How sure, and how often right",
  "confusion-difference": "What is confused more or less than by the baseline", cost: "Test accuracy against cost",
  "expected-best": "Validation loss that so many trials find", "tuned-parameters": "Validation loss of each trial by its settings",
};

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
const query = new URLSearchParams(location.search);
let difference = query.get("difference");
let baseline = query.get("baseline");
const tabs = buildTabs(element("result-tabs"), finished() ? "curves-tab" : "seeds-tab");
// Another baseline than planned.
const getBaselineQuery = () => (baseline ? `&baseline=${encodeURIComponent(baseline)}` : "");

function showReport() {
  const { finished: count, variants } = report;
  const models = variants.map(({ diagnostics }) => diagnostics).filter(Boolean);
  const measured = variants.filter(({ metrics }) => metrics);
  const buildCharts = (charts) => Object.entries(charts).filter(([, available]) => available).map(([name]) =>
    buildFigure(address, getBaselineQuery(), { name, title: FIGURES[name], version: count }));
  element("answer").classList.remove("reserved");
  if (report.answers.length || finished()) replaceParts(element("answer"), buildAnswer(report, takeStep));
  const chosen = report.tuning?.variants.some(({ budget }) => budget.length);
  const tuning = report.tuning && buildTuning(report, id, buildCharts({ "expected-best": chosen, "tuned-parameters": chosen }));
  replaceParts(element("report-view"), count ? [
    report.contrasts.length > 0 && buildForest(report, COMPARED, chooseBaseline),
    report.bias_variance && buildBiasVariance(report),
    report.recommendation.length > 0 && buildRecommendation(report),
    tuning,
  ] : [tuning, h("p", { class: "help" }, "The comparison appears once a job has finished.")]);
  const along = buildAlongAxes(report, getMeasure(difference)) ?? buildAlongParameter(report, getMeasure(difference));
  const sweep = buildParallelCoordinates(report);
  replaceParts(element("parameter-view"), [(along || sweep) && buildMeasureChoice(), along?.section, sweep]);
  along?.draw();
  showSeedPairs(measured);
  const confusions = measured.filter(({ confusion }) => confusion);
  const mistakes = [report.mistakes.length > 0 && buildMistakes(report.mistakes),
    report.memorization.length > 0 && buildMemorization(report.memorization), report.robustness.length > 0 && buildRobustness(report.robustness)];
  const parts = {
    network: buildCharts({ weights: models.length, "first-layer": models.some(({ first_layer: images }) => images?.length) }),
    errors: [...buildCharts({ reliability: models.some(({ calibration }) => calibration?.length),
      "confusion-difference": confusions.length > 1 && confusions.some(({ is_baseline: isBaseline }) => isBaseline) }), ...mistakes],
    cost: buildCharts({ cost: measured.length }),
    data: [measured.length > 0 && buildTable(report), report.notes.length > 0 && buildNotes(report)],
  };
  for (const [name, children] of Object.entries(parts)) replaceParts(element(`${name}-view`), children);
  for (const name of ["network", "errors", "cost"]) tabs.setAvailable(`${name}-tab`, parts[name].some(Boolean));
  tabs.setAvailable("parameter-tab", Boolean(along || sweep));
  for (const link of document.querySelectorAll("[data-export]")) link.href = link.href.replace(/&baseline=.*|$/, getBaselineQuery());
}

function showSeedPairs(variants) {
  if (report.axes.length || variants.length < 2) return;
  if (!element("seed-pairs")) element("pairs-view").append(h("h3", {}, "Pairs of models with the same seed"), h("div", { class: "chart", id: "seed-pairs", role: "group", "aria-label": "Test accuracy of each seed in each variant" }));
  showPairs(element("seed-pairs"), variants, COMPARED[0]);
}

const buildMeasureChoice = () => h("div", { class: "tabs", role: "group", "aria-label": "Metric" }, COMPARED.map((measure) => h("button", {
  type: "button", id: `metric-${measure.name}`, "aria-pressed": String(measure === getMeasure(difference)),
  onclick: () => {
    difference = measure.name;
    setQueryParameter("difference", difference);
    showReport();
  },
}, measure.title)));

// Preserves scroll positions, open details and focus, and the first parts while they are text that has not changed.
function replaceParts(view, parts) {
  const added = parts.flat().filter(Boolean);
  const shown = [...view.children];
  const changed = added.findIndex((part, index) => !shown[index]?.isEqualNode(part) || part.querySelector("button"));
  const kept = changed < 0 ? added.length : changed;
  const focused = view.contains(document.activeElement) ? document.activeElement.id : "";
  const all = (selector) => [...view.querySelectorAll(selector)];
  const scrolled = new Map(all(".scroll").map((box) => [box.getAttribute("aria-labelledby"), box.scrollLeft]));
  const open = all("details[open]").length > 0;
  // Also bare text: the message of a request that has failed.
  for (const node of [...view.childNodes]) if (!shown.slice(0, kept).includes(node)) node.remove();
  view.append(...added.slice(kept));
  for (const box of all(".scroll")) {
    const left = scrolled.get(box.getAttribute("aria-labelledby"));
    // Assigned to, even zero has the browser lay out the page at once.
    if (left) box.scrollLeft = left;
  }
  for (const details of all("details")) details.open = open;
  if (focused) element(focused)?.focus();
}

const countTrials = ({ tuning }) => tuning?.variants.reduce((total, { finished: count }) => total + count, 0);

async function reload() {
  const [newCurves, newReport] = await Promise.all([requestJson(`${address}/curves`), requestJson(`${address}/report?format=json${getBaselineQuery()}`)]);
  const changed = report === null || newReport.finished !== report.finished || newReport.complete !== report.complete || newReport.baseline !== report.baseline
    || countTrials(newReport) !== countTrials(report);
  [curves, report] = [newCurves, newReport];
  drawCurves();
  if (changed) showReport();
}

async function chooseBaseline(name) {
  baseline = name;
  setQueryParameter("baseline", name);
  await run(element("status"), reload);
}

// ---- actions

document.addEventListener("click", ({ target }) => {
  const { post: path, confirm } = target.dataset;
  if (!path || (confirm && !window.confirm(confirm))) return;
  runUnlessBusy(target, () => run(element(path.endsWith("/reports") ? "freeze-status" : "status"), () => post(path)));
});

// Does what the report says would probably settle something.
function takeStep({ follow_up: isFollowUp, variants, seeds: count }, button) {
  const first = Number(element("progress").dataset[isFollowUp ? "firstFreshSeed" : "firstNewSeed"]);
  const seeds = Array.from({ length: count }, (_, index) => first + index);
  runUnlessBusy(button, () => run(element("status"), () => (isFollowUp
    ? startFollowUp(variants.map((name) => ({ name })), seeds) : post(`${address}/extend`, { seeds }))));
}

async function startFollowUp(variants, seeds) {
  const followUp = await post("/v1/experiments", { confirms: id, variants, seeds });
  await navigate(`/experiments/${followUp.id}`);
}

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
  runUnlessBusy(event.target, () => run(error, () => startFollowUp(variants, seeds)));
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
    h("a", { href: chart.pdf, download: `${id}-${chart.name}.pdf` }, "PDF"), ", ",
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
