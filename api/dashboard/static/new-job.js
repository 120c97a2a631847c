// The form for one job.

import { fill, listen, read, settle } from "./controls.js";
import { bytes, count, seconds, Submission } from "./submission.js";

const form = document.getElementById("new-job");
const given = new URLSearchParams(location.search).get("spec");

const submission = new Submission({
  form,
  path: "/v1/jobs",
  read: () => read(form),
  words: (price) => [
    ["Time", seconds(price.estimated_seconds)],
    ["Weights to train", count(price.parameters)],
    ["Memory", bytes(price.memory_bytes)],
  ],
  scopeOf: (pointer) => [form, pointer],
  page: (job) => `/jobs/${job.id}`,
  address: (document) =>
    Object.keys(document).length ? `?${new URLSearchParams({ spec: JSON.stringify(document) })}` : "",
});

try {
  if (given !== null) fill(form, JSON.parse(given));
} catch {
  // An address that somebody has mistyped: the form opens as it always does.
}
settle(form);
listen(form, () => submission.changed());
submission.changed();
