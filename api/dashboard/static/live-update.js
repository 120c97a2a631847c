// Updates parts of a page in place, preserving scroll position, focus and selection.

import { ApiError, request } from "./api.js";
import { showDeleted } from "./banner.js";
import { addRoot } from "./root-path.js";

const NOT_FOUND = 404;
const WORKER_CHECK_MILLISECONDS = 5000;
const isSameNode = (one, other) => one.nodeName === other.nodeName && one.id === other.id;

// Makes `current` equal to `next`; leaves equal nodes and nodes marked data-keep untouched.
function morph(current, next) {
  if (current.isEqualNode(next) || current.dataset?.keep !== undefined) return;
  if (!isSameNode(current, next)) current.replaceWith(next.cloneNode(true));
  else if (current.nodeType === Node.ELEMENT_NODE) {
    for (const { name } of [...current.attributes]) if (!next.hasAttribute(name)) current.removeAttribute(name);
    for (const { name, value } of next.attributes) if (current.getAttribute(name) !== value) current.setAttribute(name, value);
    morphChildren(current, [...current.childNodes], [...next.childNodes]);
  } else current.nodeValue = next.nodeValue;
}

// Children of a common prefix and suffix are morphed; those between are replaced.
function morphChildren(parent, current, next) {
  const limit = Math.min(current.length, next.length);
  let [prefix, suffix] = [0, 0];
  while (prefix < limit && isSameNode(current[prefix], next[prefix])) prefix += 1;
  while (suffix < limit - prefix && isSameNode(current.at(-1 - suffix), next.at(-1 - suffix))) suffix += 1;
  const before = current[current.length - suffix] ?? null;
  for (const removed of current.slice(prefix, current.length - suffix)) removed.remove();
  for (const added of next.slice(prefix, next.length - suffix)) parent.insertBefore(added.cloneNode(true), before);
  for (let index = 0; index < prefix; index += 1) morph(current[index], next[index]);
  for (let index = 1; index <= suffix; index += 1) morph(current.at(-index), next.at(-index));
}

let running = null;
let queued = null;

// Fetches this page again and updates every element that is marked data-live; resolves to the fetched page.
// The header, which is not part of the page, hears of it by the event "refreshed".
// One fetch at a time, so that none overtakes another: calls during a fetch share the next one.
export function refresh() {
  if (running === null) {
    running = fetchPage().finally(() => { running = null; });
    return running;
  }
  queued ??= running.catch(() => {}).then(() => { queued = null; return refresh(); });
  return queued;
}

async function fetchPage() {
  const response = await request(location.href, { headers: { Accept: "text/html" } });
  if (response.status === NOT_FOUND) showDeleted();
  if (!response.ok) throw new ApiError({ status: response.status, detail: `The service responded with status ${response.status}.` });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const element of document.querySelectorAll("[data-live]")) {
    const next = page.getElementById(element.id);
    if (next) morph(element, next);
  }
  dispatchEvent(new Event("refreshed"));
  return page;
}

// Calls `action` periodically while `isNeeded()`, whatever errors occur, until the resource is deleted.
export async function poll(milliseconds, isNeeded, action) {
  while (isNeeded()) {
    await sleep(milliseconds);
    try {
      await action();
    } catch (error) {
      if (error.status === NOT_FOUND) return;
    }
  }
}

// Resolves after the delay; in a hidden tab not before it becomes visible.
export async function sleep(milliseconds) {
  await new Promise((resolve) => { setTimeout(resolve, milliseconds); });
  if (document.hidden)
    await new Promise((resolve) => { document.addEventListener("visibilitychange", resolve, { once: true }); });
}

// Shows in `element` that no worker answers, while `isWaiting()` for one.
export async function watchWorker(element, isWaiting) {
  let message = "";
  while (isWaiting() || message) {
    await sleep(WORKER_CHECK_MILLISECONDS);
    const { checks } = isWaiting() ? await fetch(addRoot("/readyz")).then((response) => response.json()).catch(() => ({})) : {};
    const next = checks && checks.worker !== "ok" ? `Waiting: ${checks.worker}.` : "";
    if (next !== message) element.textContent = next;
    message = next;
  }
}
