// The list of jobs: its filters, the actions on selected jobs, and live states.

import { post, runUnlessBusy } from "./api.js";
import { formatCount, h } from "./elements.js";
import { saveCsv } from "./export.js";
import { submitFilters } from "./filters.js";
import { poll, refresh } from "./live-update.js";
import { addRoot } from "./root-path.js";

const element = (id) => document.getElementById(id);
const MAX_COMPARED = 10;

submitFilters(element("filters"), { sort: "-created_at" });

const ticks = () => [...document.querySelectorAll(".tick")];
const ticked = () => ticks().filter((tick) => tick.checked).map((tick) => tick.value);

function updateToolbar() {
  const count = ticked().length;
  element("ticked").textContent = `${count} selected`;
  const reason = count > MAX_COMPARED ? `At most ${MAX_COMPARED} jobs can be compared` : `Select 2 to ${MAX_COMPARED} jobs to compare`;
  const comparable = count >= 2 && count <= MAX_COMPARED;
  if (comparable) element("compare").removeAttribute("aria-disabled");
  else element("compare").setAttribute("aria-disabled", "true");
  element("compare-reason").textContent = comparable ? "" : reason;
  document.querySelectorAll("[data-verb]").forEach((button) => { button.hidden = count === 0; });
  element("compare").parentElement.classList.toggle("active", count > 0);
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
  // A table in text has no place for lines, nor a reader for the columns that are hidden.
  const isSaved = (cell) => cell.cellIndex > 0 && cell.dataset.column !== "curve" && getComputedStyle(cell).display !== "none";
  const columns = [...head.cells].filter(isSaved).map((cell) => cell.cellIndex);
  const lines = [["id", ...columns.map((column) => head.cells[column].textContent)]];
  for (const row of rows) lines.push([row.dataset.job, ...columns.map((column) => getText(row.cells[column]))]);
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
