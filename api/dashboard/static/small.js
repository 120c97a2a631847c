// The small experiment of a technique's page: its cost, and the button that starts it.

import { ask, change, leave, once } from "./api.js";
import { count, seconds } from "./submission.js";

const PATH = "/v1/experiments";
const form = document.getElementById("small");
const said = document.getElementById("small-cost");
const wanted = JSON.parse(form.dataset.document);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  once(form, async () => {
    try {
      const { id } = await change(PATH, wanted);
      await leave(`/experiments/${id}`);
    } catch (error) {
      said.textContent = error.message;
    }
  });
});

try {
  const { jobs, to_train: left, estimated_seconds: time } = await ask(`${PATH}?dry_run=true`, { method: "POST", body: wanted });
  const costs = left ? `time on one worker: ${seconds(time)}` : "all trained here before";
  said.append(` ${count(jobs)} jobs of ${wanted.base.training.epochs} epochs; ${costs}.`);
} catch (error) {
  said.textContent = error.message;
}
