// The overview, kept up to date: often while something runs, seldom else.

import { poll, refresh } from "./live-update.js";

const POLL_MILLISECONDS = 3000;
const IDLE_POLLS = 5;
let idlePolls = 0;

poll(POLL_MILLISECONDS, () => true, async () => {
  idlePolls += 1;
  if (idlePolls < IDLE_POLLS && !document.querySelector("#running.unfinished")) return;
  idlePolls = 0;
  await refresh();
});
