// The list of experiments, kept up to date as long as one of them is under way.

import { keepLooking, refresh } from "./live.js";

keepLooking(3000, () => document.querySelector("tr.unfinished"), refresh);
