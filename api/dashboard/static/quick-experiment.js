// Experiments that one button starts: a technique's, with its cost, and the overview's questions.

import { navigate, post, requestJson, runUnlessBusy } from "./api.js";
import { formatCount } from "./elements.js";
import { seconds } from "./submission.js";

const PATH = "/v1/experiments";

for (const form of document.querySelectorAll(".quick-experiment")) {
  const status = form.querySelector("[role=status]");
  const spec = JSON.parse(form.dataset.document);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    runUnlessBusy(form, async () => {
      try {
        const { id } = await post(PATH, spec);
        await navigate(`/experiments/${id}`);
      } catch (error) {
        status.textContent = error.message;
      }
    });
  });
  // The overview's are estimated by the service already.
  if (!("estimated" in form.dataset)) showCost(spec, status);
}

async function showCost(spec, status) {
  try {
    const cost = await requestJson(`${PATH}?dry_run=true`, { method: "POST", body: spec });
    const time = cost.to_train ? `time with the workers that run now: ${seconds(cost.estimated_seconds)}` : "none: all jobs have been trained before";
    status.append(` ${formatCount(cost.jobs, "job")} of ${formatCount(spec.base.training.epochs, "epoch")}; ${time}.`);
  } catch (error) {
    status.textContent = error.message;
  }
}
