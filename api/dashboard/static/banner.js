// The banner at the top of every page: the service is unavailable, the user is logged out, the resource is deleted.

import { addRoot, removeRoot } from "./root-path.js";

const banner = document.getElementById("banner");
let current = null;

// `temporary`: the next response of the service hides it.
function show(message, { link = null, temporary = true } = {}) {
  if (current === message) return;
  current = message;
  banner.replaceChildren(message);
  if (link) {
    const anchor = document.createElement("a");
    anchor.href = addRoot(link.href);
    anchor.textContent = link.text;
    banner.append(" ", anchor, ".");
  }
  banner.dataset.temporary = temporary;
  banner.hidden = false;
}

export const showUnavailable = (reason) => show(`${reason} This page may be out of date; reconnecting ...`);
export const showLoggedOut = () => show("Your login has ended: this page no longer updates, and its actions fail.", {
  link: { href: `/login?${new URLSearchParams({ next: removeRoot(location.pathname) + location.search })}`, text: "Log in again" },
});
export const showDeleted = () => show("This has been deleted.",
  { link: { href: "/jobs", text: "Go to Jobs" }, temporary: false });

export function hideBanner() {
  if (current === null || banner.dataset.temporary === "false") return;
  current = null;
  banner.hidden = true;
}

// The back button may restore the page with the error of a request that leaving it has aborted.
addEventListener("pageshow", ({ persisted }) => { if (persisted) hideBanner(); });
