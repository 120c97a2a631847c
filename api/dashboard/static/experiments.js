// The list of experiments: its filters, archiving, and updates while one of them is unfinished.

import { requestJson, runUnlessBusy } from "./api.js";
import { submitFilters } from "./filters.js";
import { poll, refresh } from "./live-update.js";

submitFilters(document.getElementById("filters"), { sort: "-created_at", archived: "false" });

document.addEventListener("click", ({ target }) => {
  const { archive, value } = target.dataset;
  if (!archive) return;
  runUnlessBusy(target, async () => {
    const status = document.getElementById("status");
    try {
      await requestJson(`/v1/experiments/${archive}`, { method: "PATCH", body: { archived: value === "true" } });
      await refresh();
      status.textContent = value === "true" ? "Archived: it is listed under Archived." : "Restored.";
    } catch (error) {
      status.textContent = error.message;
    }
  });
});

poll(3000, () => document.querySelector("tr.unfinished"), refresh);
