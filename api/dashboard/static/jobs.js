// The list of jobs: its filters, what can be asked of the ticked ones, and their states as they change.

import { change, once } from "./api.js";
import { h } from "./elements.js";
import { saveCsv } from "./export.js";
import { keepLooking, refresh } from "./live.js";

const element = (id) => document.getElementById(id);
const MOST_COMPARED = 10;

// An address says only what was chosen.
element("filters").addEventListener("formdata", ({ formData }) => {
  for (const [name, value] of [...formData]) if (!value) formData.delete(name);
  if (formData.get("sort") === "-created_at") formData.delete("sort");
});
// What is chosen with the pointer is shown at once. Who goes through the choices by arrow keys has not chosen yet.
let byKeys = false;
element("filters").addEventListener("keydown", () => { byKeys = true; });
element("filters").addEventListener("pointerdown", () => { byKeys = false; });
element("filters").addEventListener("change", ({ target }) => { if (target.tagName === "SELECT" && !byKeys) target.form.requestSubmit(); });

const ticks = () => [...document.querySelectorAll(".tick")];
const ticked = () => ticks().filter((tick) => tick.checked).map((tick) => tick.value);

function allow(button, allowed, title) {
  if (allowed) { button.removeAttribute("aria-disabled"); button.removeAttribute("title"); }
  else { button.setAttribute("aria-disabled", "true"); button.title = title; }
}

function count() {
  const number = ticked().length;
  element("ticked").textContent = number ? `${number} ticked` : "None ticked";
  allow(element("compare"), number >= 2 && number <= MOST_COMPARED, "Tick two to ten jobs");
  document.querySelectorAll("[data-verb]").forEach((button) => allow(button, number > 0, "Tick jobs first"));
}

if (element("jobs")) {
  element("tick-all").addEventListener("change", ({ target }) => {
    for (const tick of ticks()) tick.checked = target.checked;
    count();
  });
  element("jobs").addEventListener("change", count);
  element("compare").addEventListener("click", () => {
    if (element("compare").getAttribute("aria-disabled")) return;
    location.assign(`/compare?${new URLSearchParams(ticked().map((id) => ["job", id]))}`);
  });
  document.querySelectorAll("[data-verb]").forEach((button) => button.addEventListener("click", () => once(button, () => act(button))));
  element("export").addEventListener("click", save);
  count();
  // Whoever comes back finds boxes ticked: a browser restores them after this script has counted.
  addEventListener("pageshow", count);
}

async function act(button) {
  const { verb } = button.dataset;
  const wanted = ticked();
  if (!wanted.length || (verb === "cancel" && !confirm(`Cancel ${wanted.length} job(s)?`))) return;
  const answers = await Promise.allSettled(wanted.map((id) => change(`/v1/jobs/${id}/${verb}`)));
  const refused = answers.filter((answer) => answer.status === "rejected").map((answer) => answer.reason.message);
  const done = wanted.length - refused.length;
  element("said").textContent = [`${verb}: ${done} of ${wanted.length} done.`, ...new Set(refused)].join(" ");
  if (verb === "retry" && done) {
    // They are trained as new jobs, so there is nothing left to be asked of these.
    for (const tick of ticks()) tick.checked = false;
    count();
    element("said").append(" ", h("a", { href: "/jobs" }, "Show the new jobs"));
  }
  await look().catch(() => {});
}

// What is on the screen, as it is there.
function save() {
  const cell = (each) => each.innerText.replaceAll(/\s+/g, " ").trim();
  const [head, ...rows] = [...element("jobs").rows];
  const lines = [["id", ...[...head.cells].slice(1).map((each) => each.textContent)]];
  for (const row of rows) lines.push([row.dataset.job, ...[...row.cells].slice(1).map(cell)]);
  saveCsv("jobs.csv", lines);
}

// ---- live

const LOOK_MILLISECONDS = 2000;
// Where nothing is under way only what others submit can be new: a look in so many.
const IDLE = 5;
let idle = 0;

const rowsOf = (page) => [...page.querySelectorAll("#jobs tr[data-job]")].map((row) => row.dataset.job);

// Rows that came by themselves would move what somebody is about to tick.
async function look() {
  idle = 0;
  const shown = new Set(rowsOf(document));
  const more = rowsOf(await refresh()).filter((id) => !shown.has(id)).length;
  const words = more ? `${more} more ${more === 1 ? "job" : "jobs"}: ` : "";
  if (element("newcomers").firstChild?.textContent === (words || undefined)) return;
  element("newcomers").replaceChildren(...(more ? [words, h("a", { href: location.href }, more === 1 ? "show it" : "show them")] : []));
}

keepLooking(LOOK_MILLISECONDS, () => true, async () => {
  idle += 1;
  if (idle >= IDLE || document.querySelector("td.unfinished")) await look();
});
