// The header of every page: the search by name, and how busy the workers are.

import { formatNumber, h } from "./elements.js";
import { addRoot } from "./root-path.js";

const DEBOUNCE_MILLISECONDS = 200;
const STATUS_MILLISECONDS = 10_000;
const MATCHES = 6;
const form = document.getElementById("find");
const connection = document.getElementById("connection");

// Neither shows the banner: what the page itself loads does.
async function fetchJson(path, signal) {
  const response = await fetch(addRoot(path), { headers: { Accept: "application/json" }, signal });
  if (!response.ok) throw new Error(`The service responded with status ${response.status}.`);
  return response.json();
}

function startSearch() {
  const field = form.querySelector("input");
  const matches = document.getElementById("matches");
  let searched = null;
  let latest = Promise.resolve();
  let running = null;
  let timer = null;

  const hide = () => { matches.hidden = true; };
  async function search(text) {
    running?.abort();
    running = new AbortController();
    const query = new URLSearchParams({ q: text, limit: MATCHES, archived: "all" });
    try {
      const [experiments, jobs] = await Promise.all([
        fetchJson(`/v1/experiments?${query}&fields=id,name`, running.signal),
        fetchJson(`/v1/jobs?${query}&fields=id,name,variant,state`, running.signal),
      ]);
      const build = (path, item, kind) => h("li", {}, h("a", { href: addRoot(`/${path}/${item.id}`) }, item.name ?? item.variant), h("span", { class: "help" }, ` ${kind}`));
      const items = [...experiments.items.map((item) => build("experiments", item, "experiment")),
        ...jobs.items.map((item) => build("jobs", item, `job, ${item.state}`))];
      matches.replaceChildren(items.length ? h("ul", {}, items) : h("p", { role: "status" }, "No job or experiment has this name."));
    } catch (error) {
      if (error.name === "AbortError") return;
      matches.replaceChildren(h("p", { role: "status" }, error.message));
    }
    matches.hidden = document.activeElement !== field;
  }
  function update() {
    const text = field.value.trim();
    clearTimeout(timer);
    if (text === searched) return latest;
    searched = text;
    if (text) latest = search(text);
    else { running?.abort(); hide(); latest = Promise.resolve(); }
    return latest;
  }

  field.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(update, DEBOUNCE_MILLISECONDS); });
  field.addEventListener("focus", () => { matches.hidden = !matches.childElementCount || !field.value.trim(); });
  form.addEventListener("focusout", ({ relatedTarget }) => { if (!form.contains(relatedTarget)) hide(); });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await update();
    const first = matches.querySelector("a");
    if (first && field.value.trim()) first.click();
    else matches.hidden = !field.value.trim();
  });
  form.addEventListener("keydown", (event) => {
    const links = [field, ...matches.querySelectorAll("a")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && !matches.hidden) {
      event.preventDefault();
      links[Math.min(Math.max(links.indexOf(document.activeElement) + step, 0), links.length - 1)].focus();
    } else if (event.key === "Escape") { field.focus(); hide(); }
  });
  document.addEventListener("keydown", (event) => {
    const typing = document.activeElement.closest("input, select, textarea, [contenteditable]");
    if (event.key !== "/" || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || typing) return;
    event.preventDefault();
    field.focus();
  });
}

async function showStatus() {
  const status = await fetchJson("/status").catch(() => null);
  const waiting = status && (status.queued ? `, ${formatNumber(status.queued)} queued` : "");
  let text = "No connection";
  if (status && !status.processes) text = `No worker${waiting}`;
  else if (status?.is_all) text = `${status.running}/${status.processes} busy${waiting}`;
  else if (status) text = `${status.running} running${waiting}`;
  connection.dataset.state = status?.processes ? "good" : "bad";
  connection.title = status?.is_all === false ? "Your jobs; the queue is shared" : "Training processes that are busy, and jobs that wait";
  if (connection.textContent !== text) connection.textContent = text;
  connection.hidden = false;
}

async function watchStatus() {
  const banner = document.getElementById("banner");
  for (;;) {
    // A page whose subject has been deleted makes no more requests.
    if (!document.hidden && banner.dataset.temporary !== "false") await showStatus();
    await new Promise((resolve) => { setTimeout(resolve, STATUS_MILLISECONDS); });
  }
}

if (form) {
  startSearch();
  watchStatus();
  // Else the header would call workers busy with jobs that the page already shows as ended.
  addEventListener("refreshed", showStatus);
}
const getOpenMenus = () => document.querySelectorAll("details.user[open], details.menu[open]");
document.addEventListener("click", ({ target }) => { for (const menu of getOpenMenus()) menu.open = menu.contains(target); });
document.addEventListener("keydown", ({ key }) => { if (key === "Escape") for (const menu of getOpenMenus()) { menu.open = false; menu.querySelector("summary").focus(); } });
