// Links from labels that scripts write to the glossary, as the service's own labels have them (api/glossary.py).

import { h } from "./elements.js";

// Returns a function from a text to nodes in which terms are links that the page outside of `container`, and earlier
// texts, do not have.
export function buildTermLinker(container) {
  const links = [...document.querySelectorAll("a.term")].filter((link) => !container.contains(link));
  const linked = new Set(links.map((link) => link.getAttribute("href")));
  const terms = JSON.parse(container.dataset.terms);
  return function link(text) {
    for (const { pattern, href, title } of terms) {
      const match = linked.has(href) ? null : new RegExp(`\\b(?<!-)(?:${pattern})\\b(?!-)`, "i").exec(text);
      if (!match) continue;
      linked.add(href);
      return [...link(text.slice(0, match.index)), h("a", { class: "term", href, title }, match[0]), ...link(text.slice(match.index + match[0].length))];
    }
    return text ? [text] : [];
  };
}
