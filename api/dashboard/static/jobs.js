// The list of jobs: its filters, the actions on selected jobs, and live states.

import { post, runUnlessBusy } from "./api.js";
import { formatCount, h } from "./elements.js";
import { saveCsv } from "./export.js";
import { poll, refresh } from "./live-update.js";
import { addRoot } from "./root-path.js";

const element = (id) => document.getElementById(id);
const MAX_COMPARED = 10;

// Leaves empty and default values out of the address.
element("filters").addEventListener("formdata", ({ formData }) => {
  for (const [name, value] of [...formData]) if (!value) formData.delete(name);
  if (formData.get("sort") === "-created_at") formData.delete("sort");
});
// A choice by pointer is applied at once; the arrow keys pass through other choices first.
let byKeys = false;
element("filters").addEventListener("keydown", () => { byKeys = true; });
element("filters").addEventListener("pointerdown", () => { byKeys = false; });
element("filters").addEventListener("change", ({ target }) => { if (target.tagName === "SELECT" && !byKeys) target.form.requestSubmit(); });

const ticks = () => [...document.querySelectorAll(".tick")];
const ticked = () => ticks().filter((tick) => tick.checked).map((tick) => tick.value);

function setEnabled(button, enabled, title) {
  if (enabled) { button.removeAttribute("aria-disabled"); button.removeAttribute("title"); }
  else { button.setAttribute("aria-disabled", "true"); button.title = title; }
}

function updateToolbar() {
  const count = ticked().length;
  element("ticked").textContent = `${count} selected`;
  setEnabled(element("compare"), count >= 2 && count <= MAX_COMPARED, `Select 2 to ${MAX_COMPARED} jobs to compare`);
  document.querySelectorAll("[data-verb]").forEach((button) => setEnabled(button, count > 0, "Select jobs first"));
}

if (element("jobs")) {
  element("tick-all").addEventListener("change", ({ target }) => {
    for (const tick of ticks()) tick.checked = target.checked;
    updateToolbar();
  });
  element("jobs").addEventListener("change", updateToolbar);
  element("compare").addEventListener("click", () => {
    if (element("compare").getAttribute("aria-disabled")) return;
    location.assign(addRoot(`/compare?${new URLSearchParams(ticked().map((id) => ["job", id]))}`));
  });
  document.querySelectorAll("[data-verb]").forEach((button) => button.addEventListener("click", () => runUnlessBusy(button, () => act(button))));
  element("export").addEventListener("click", save);
  updateToolbar();
  // The back button restores checked boxes after this script has run.
  addEventListener("pageshow", updateToolbar);
}

async function act(button) {
  const { verb } = button.dataset;
  const jobs = ticked();
  if (!jobs.length || (verb === "cancel" && !confirm(`Cancel ${formatCount(jobs.length, "job")}?`))) return;
  const results = await Promise.allSettled(jobs.map((id) => post(`/v1/jobs/${id}/${verb}`)));
  const refused = results.filter((result) => result.status === "rejected").map((result) => result.reason.message);
  const done = jobs.length - refused.length;
  element("status").textContent = [`${verb}: ${done} of ${jobs.length} done.`, ...new Set(refused)].join(" ");
  if (verb === "retry" && done) {
    // A retry is a new job; no action applies to the selected ones any more.
    for (const tick of ticks()) tick.checked = false;
    updateToolbar();
    element("status").append(" ", h("a", { href: addRoot("/jobs") }, "Show the new jobs"));
  }
  await update().catch(() => {});
}

// Saves the table as it is on the screen.
function save() {
  // What stands beside a value, such as a warning, is for readers.
  const getText = (cell) => (cell.querySelector(".value") ?? cell).innerText.replaceAll(/\s+/g, " ").trim();
  const [head, ...rows] = [...element("jobs").rows];
  const lines = [["id", ...[...head.cells].slice(1).map((cell) => cell.textContent)]];
  for (const row of rows) lines.push([row.dataset.job, ...[...row.cells].slice(1).map(getText)]);
  saveCsv("jobs.csv", lines);
}

// ---- live

const POLL_MILLISECONDS = 2000;
// While every listed job has ended, only every fifth poll is sent: other users may submit jobs.
const IDLE_POLLS = 5;
let idlePolls = 0;

const getJobIds = (page) => [...page.querySelectorAll("#jobs tr[data-job]")].map((row) => row.dataset.job);

// New jobs are announced instead of inserted, which would move the rows that a user is about to select.
async function update() {
  idlePolls = 0;
  const listed = new Set(getJobIds(document));
  const more = getJobIds(await refresh()).filter((id) => !listed.has(id)).length;
  const message = more ? `${formatCount(more, "new job")}: ` : "";
  if (element("new-jobs").firstChild?.textContent === (message || undefined)) return;
  element("new-jobs").replaceChildren(...(more ? [message, h("a", { href: location.href }, more === 1 ? "show it" : "show them")] : []));
}

poll(POLL_MILLISECONDS, () => true, async () => {
  idlePolls += 1;
  if (idlePolls >= IDLE_POLLS || document.querySelector("td.unfinished")) await update();
});
