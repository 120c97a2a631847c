// Sections of a page as tabs: links to them become a tab list. Without this script they are links to sections.

import { replaceAddress } from "./api.js";

// Shows the section that the address names, or that contains it, else `initial`. Returns functions that show a
// section, and that set whether a section has a tab.
export function buildTabs(list, initial) {
  const tabs = [...list.querySelectorAll("a")];
  const getPanel = (tab) => document.getElementById(tab.hash.slice(1));
  list.setAttribute("role", "tablist");
  for (const tab of tabs) {
    tab.id = `${tab.hash.slice(1)}-link`;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", getPanel(tab).id);
    getPanel(tab).setAttribute("role", "tabpanel");
    getPanel(tab).setAttribute("aria-labelledby", tab.id);
  }
  const show = (id) => {
    for (const tab of tabs) {
      const selected = getPanel(tab).id === id;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
      getPanel(tab).hidden = !selected;
    }
  };
  const findRequested = () => document.getElementById(location.hash.slice(1))?.closest(".tab-panel")?.id;
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (!tab) return;
    event.preventDefault();
    show(getPanel(tab).id);
    replaceAddress(`${location.search}${tab.hash}`);
  });
  list.addEventListener("keydown", (event) => {
    const shown = tabs.filter((tab) => !tab.hidden);
    const position = shown.indexOf(document.activeElement);
    const next = { ArrowLeft: position - 1, ArrowRight: position + 1, Home: 0, End: -1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    shown.at(next % shown.length).focus();
    shown.at(next % shown.length).click();
  });
  addEventListener("hashchange", () => { if (findRequested()) { show(findRequested()); document.getElementById(location.hash.slice(1)).scrollIntoView(); } });
  show(findRequested() ?? initial);
  const setAvailable = (id, available) => {
    const tab = document.getElementById(`${id}-link`);
    tab.hidden = !available;
    // An address may name a section that this page does not have.
    if (!available && tab.getAttribute("aria-selected") === "true") show(initial);
  };
  return { show, setAvailable };
}
