// The form for one job.

import { fillFields, initialize, onChange, readFields } from "./controls.js";
import { bytes, count, seconds, Submission } from "./submission.js";

const form = document.getElementById("new-job");
// The parts of the address's document that the form has no field for.
let preserved = {};
const requested = new URLSearchParams(location.search).get("spec");

const submission = new Submission({
  form,
  path: "/v1/jobs",
  read: () => ({ ...preserved, ...readFields(form) }),
  describe: (cost) => [
    ["Time", seconds(cost.estimated_seconds)],
    ["Weights to train", count(cost.parameters)],
    ["Memory", bytes(cost.memory_bytes)],
  ],
  resolve: (pointer) => [form, pointer],
  page: (job) => `/jobs/${job.id}`,
  query: (document) =>
    Object.keys(document).length ? `?${new URLSearchParams({ spec: JSON.stringify(document) })}` : "",
});

try {
  if (requested !== null) {
    const document = JSON.parse(requested);
    fillFields(form, document);
    if (Object.keys(document.labels ?? {}).length) preserved = { labels: document.labels };
  }
} catch {
  // An invalid address: the form opens with its defaults.
}
initialize(form);
onChange(form, () => submission.update());
submission.update();
