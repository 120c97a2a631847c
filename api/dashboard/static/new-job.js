// The form for one job.

import { fillFields, findTarget, initialize, isObject, onChange, overlay, pickUncontrolled, readFields } from "./controls.js";
import { formatNumber } from "./elements.js";
import { bytes, seconds, Submission } from "./submission.js";

const form = document.getElementById("new-job");
// The parts of the address's document that the form has no field for.
let preserved = {};
let dataset = null;
const query = new URLSearchParams(location.search);
const requested = query.get("spec");

function read() {
  const fields = readFields(form);
  const document = overlay(preserved, fields);
  // A digest belongs to the dataset whose name the address had.
  if (isObject(document.dataset) && fields.dataset?.name !== dataset) delete document.dataset.content;
  return document;
}

const submission = new Submission({
  form,
  path: "/v1/jobs",
  read,
  describe: (cost) => [
    ["Time", seconds(cost.estimated_seconds)],
    ["Weights to train", formatNumber(cost.parameters)],
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
    preserved = pickUncontrolled(form, document);
    dataset = readFields(form).dataset?.name;
  }
} catch {
  // An invalid address: the form opens with its defaults.
}
initialize(form);
onChange(form, () => submission.update());
submission.update();

// The field that a failed job's error names.
const target = query.has("field") && findTarget(form, query.get("field"));
if (target) {
  for (let box = target.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
  target.querySelector(".value")?.focus();
}
