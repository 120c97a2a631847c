// The form for one job.

import { fill, listen, read, settle } from "./controls.js";
import { bytes, count, seconds, Submission } from "./submission.js";

const form = document.getElementById("new-job");
// Of the document that the address holds: what the form has no field for.
let kept = {};
const given = new URLSearchParams(location.search).get("spec");

const submission = new Submission({
  form,
  path: "/v1/jobs",
  read: () => ({ ...kept, ...read(form) }),
  words: (cost) => [
    ["Time", seconds(cost.estimated_seconds)],
    ["Weights to train", count(cost.parameters)],
    ["Memory", bytes(cost.memory_bytes)],
  ],
  scopeOf: (pointer) => [form, pointer],
  page: (job) => `/jobs/${job.id}`,
  address: (document) =>
    Object.keys(document).length ? `?${new URLSearchParams({ spec: JSON.stringify(document) })}` : "",
});

try {
  if (given !== null) {
    const document = JSON.parse(given);
    fill(form, document);
    if (Object.keys(document.labels ?? {}).length) kept = { labels: document.labels };
  }
} catch {
  // An address that somebody has mistyped: the form opens as it always does.
}
settle(form);
listen(form, () => submission.changed());
submission.changed();
