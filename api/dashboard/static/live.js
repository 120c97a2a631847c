// Pages that change while one looks at them, without losing scroll, focus or selection.

import { Refusal, request } from "./api.js";
import { sayGone } from "./notice.js";

const GONE = 404;
const alike = (one, other) => one.nodeName === other.nodeName && one.id === other.id;

// Makes `now` equal to `next`, touching nothing that is equal already, nor what is marked data-keep.
export function morph(now, next) {
  if (now.isEqualNode(next) || now.dataset?.keep !== undefined) return;
  if (!alike(now, next)) now.replaceWith(next.cloneNode(true));
  else if (now.nodeType === Node.ELEMENT_NODE) {
    for (const { name } of [...now.attributes]) if (!next.hasAttribute(name)) now.removeAttribute(name);
    for (const { name, value } of next.attributes) if (now.getAttribute(name) !== value) now.setAttribute(name, value);
    morphChildren(now, [...now.childNodes], [...next.childNodes]);
  } else now.nodeValue = next.nodeValue;
}

// What is alike from the beginning on and up to the end stays; only what lies between comes and goes.
function morphChildren(parent, ours, theirs) {
  const least = Math.min(ours.length, theirs.length);
  let [first, last] = [0, 0];
  while (first < least && alike(ours[first], theirs[first])) first += 1;
  while (last < least - first && alike(ours.at(-1 - last), theirs.at(-1 - last))) last += 1;
  const rest = ours[ours.length - last] ?? null;
  for (const gone of ours.slice(first, ours.length - last)) gone.remove();
  for (const come of theirs.slice(first, theirs.length - last)) parent.insertBefore(come.cloneNode(true), rest);
  for (let index = 0; index < first; index += 1) morph(ours[index], theirs[index]);
  for (let index = 1; index <= last; index += 1) morph(ours.at(-index), theirs.at(-index));
}

let reading = null;
let following = null;

// Reads this page again and puts what it says now into every element that is marked data-live. One reading at a
// time, so that none overtakes another; whoever asks meanwhile is answered by the next one. Resolves to what was read.
export function refresh() {
  if (reading === null) {
    reading = readAgain().finally(() => { reading = null; });
    return reading;
  }
  following ??= reading.catch(() => {}).then(() => { following = null; return refresh(); });
  return following;
}

async function readAgain() {
  const answer = await request(location.href, { headers: { Accept: "text/html" } });
  if (answer.status === GONE) sayGone();
  if (!answer.ok) throw new Refusal({ status: answer.status, detail: `The service answered with status ${answer.status}.` });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const now of document.querySelectorAll("[data-live]")) {
    const next = page.getElementById(now.id);
    if (next) morph(now, next);
  }
  return page;
}

// Calls `look` every so many milliseconds as long as `wanted()`, over everything that may go wrong meanwhile,
// until what it looks at is gone.
export async function keepLooking(milliseconds, wanted, look) {
  while (wanted()) {
    await pause(milliseconds);
    try {
      await look();
    } catch (error) {
      if (error.status === GONE) return;
    }
  }
}

// Resolves after so many milliseconds, or, in a tab that nobody sees, when it is seen again.
export async function pause(milliseconds) {
  await new Promise((go) => { setTimeout(go, milliseconds); });
  if (document.hidden)
    await new Promise((go) => { document.addEventListener("visibilitychange", go, { once: true }); });
}

const WORKER_MILLISECONDS = 5000;

// As long as something waits to be trained and no worker answers, says so in `place`.
export async function sayWhoIsMissing(place, waits) {
  let said = "";
  while (waits() || said) {
    await pause(WORKER_MILLISECONDS);
    const { checks } = waits() ? await fetch("/readyz").then((answer) => answer.json()).catch(() => ({})) : {};
    const missing = checks && checks.worker !== "ok" ? `It waits: ${checks.worker}.` : "";
    if (missing !== said) place.textContent = missing;
    said = missing;
  }
}
