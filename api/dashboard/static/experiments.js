// The list of experiments, updated while one of them is unfinished.

import { poll, refresh } from "./live-update.js";

poll(3000, () => document.querySelector("tr.unfinished"), refresh);
