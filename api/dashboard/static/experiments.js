// The list of experiments, kept up to date as long as one of them is under way.

import { pause, refresh } from "./live.js";

while (document.querySelector("tr.unfinished")) {
  await pause(3000);
  await refresh().catch(() => {});
}
