// Pages that change while one looks at them, without losing scroll, focus or selection.

// Makes `now` equal to `next`, touching nothing that is equal already.
export function morph(now, next) {
  if (now.isEqualNode(next)) return;
  const same = now.nodeType === Node.ELEMENT_NODE && now.tagName === next.tagName
    && now.childNodes.length === next.childNodes.length;
  if (!same) {
    now.replaceWith(next.cloneNode(true));
    return;
  }
  for (const { name } of [...now.attributes]) if (!next.hasAttribute(name)) now.removeAttribute(name);
  for (const { name, value } of next.attributes) if (now.getAttribute(name) !== value) now.setAttribute(name, value);
  [...now.childNodes].forEach((child, index) => morph(child, next.childNodes[index]));
}

// Reads this page again and puts what it says now into every element that is marked data-live.
export async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const now of document.querySelectorAll("[data-live]")) {
    const next = page.getElementById(now.id);
    if (next) morph(now, next);
  }
}

// Resolves after so many milliseconds, or, in a tab that nobody sees, when it is seen again.
export async function pause(milliseconds) {
  await new Promise((go) => { setTimeout(go, milliseconds); });
  if (document.hidden)
    await new Promise((go) => { document.addEventListener("visibilitychange", go, { once: true }); });
}
