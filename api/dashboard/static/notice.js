// What every page says at its top when something stands between it and the service.

const place = document.getElementById("notice");
let kind = null;

// `passes`: whether it is over with the next answer that comes.
function say(words, { link = null, passes = true } = {}) {
  if (kind === words) return;
  kind = words;
  place.replaceChildren(words);
  if (link) {
    const made = document.createElement("a");
    made.href = link.href;
    made.textContent = link.text;
    place.append(" ", made, ".");
  }
  place.dataset.passes = passes;
  place.hidden = false;
}

export const sayAway = (why) => say(`${why} What is shown here may be old; the page tries again.`);
export const sayLoggedOut = () => say("Your login has ended, so this page shows nothing new and can change nothing.", {
  link: { href: `/login?${new URLSearchParams({ next: location.pathname + location.search })}`, text: "Log in again" },
});
export const sayGone = () => say("This is no longer there: somebody has deleted it.",
  { link: { href: "/jobs", text: "To the jobs" }, passes: false });

export function sayNothing() {
  if (kind === null || place.dataset.passes === "false") return;
  kind = null;
  place.hidden = true;
}

// Whoever comes back finds the page as it was left, perhaps with what a request said that leaving cut off.
addEventListener("pageshow", ({ persisted }) => { if (persisted) sayNothing(); });
