// The overview, kept up to date: often while something runs, seldom else.

import { addCopyAction } from "./clipboard.js";
import { poll, refresh } from "./live-update.js";

const POLL_MILLISECONDS = 3000;
const IDLE_POLLS = 5;
let idlePolls = 0;

addCopyAction(document.getElementById("copy-curl"), () => document.getElementById("curl").textContent);

// An empty overview has nothing to update.
poll(POLL_MILLISECONDS, () => document.getElementById("running"), async () => {
  idlePolls += 1;
  if (idlePolls < IDLE_POLLS && !document.querySelector("#running.unfinished")) return;
  idlePolls = 0;
  await refresh();
});
