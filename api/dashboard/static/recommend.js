// What should I use? The form's task, the answers, and the experiment that would answer what is open.

import { navigate, post, replaceAddress, requestJson, runUnlessBusy } from "./api.js";
import { formatCount, h } from "./elements.js";
import { addRoot } from "./root-path.js";
import { seconds } from "./submission.js";

const NUMBERS = ["train_examples", "parameters", "seconds"];
const form = document.getElementById("task");
const fault = document.getElementById("task-error");
let offered = null;

function readTask() {
  const data = new FormData(form);
  const numbers = NUMBERS.filter((name) => data.get(name)).map((name) => [name, Number(data.get(name))]);
  return { ...Object.fromEntries(numbers), needs: data.getAll("needs") };
}

function renderAnswer({ text, evidence }) {
  const ids = [...new Set(evidence.map((item) => item.experiment_id))];
  const links = ids.map((id) => h("a", { href: addRoot(`/experiments/${id}`) }, "the experiment"));
  return h("li", {}, text, " (", ...links, ")");
}

function renderAbstention(nearest) {
  const text = "No finished experiment with six seeds or more answers this for a task of this size. ";
  if (!nearest) return h("p", {}, text);
  const size = `${formatCount(nearest.train_examples, "example")} and ${formatCount(nearest.parameters, "parameter")}`;
  const link = h("a", { href: addRoot(`/experiments/${nearest.experiment_id}`) }, nearest.name);
  return h("p", {}, text, `The nearest was measured with ${size}: `, link, ".");
}

function render({ answers, nearest, abstains, experiment }) {
  const content = abstains ? renderAbstention(nearest) : h("ul", {}, ...answers.map(renderAnswer));
  document.getElementById("answers").replaceChildren(content);
  document.getElementById("recommendation").hidden = false;
  const offer = document.getElementById("offer");
  offer.hidden = experiment === null;
  offered = experiment?.spec;
  if (!experiment) {
    if (abstains) content.append(" No built-in dataset and network of this size can answer it either.");
    return;
  }
  const { jobs, estimated_seconds: time } = experiment.cost;
  const names = experiment.spec.variants.map(({ name }) => name).join(", ");
  const duration = time === null ? "how long they take is not known before the first job" : `${seconds(time)} with the workers that run now`;
  document.getElementById("offer-text").textContent =
    `${abstains ? "An experiment that would answer it" : "Some of it is open. An experiment that would answer it"}: ${names}; ${formatCount(jobs, "job")}, ${duration}.`;
}

async function ask() {
  const task = readTask();
  fault.hidden = task.needs.length > 0;
  fault.textContent = "Choose at least one thing that counts.";
  if (!task.needs.length) return;
  replaceAddress(`?${new URLSearchParams({ task: JSON.stringify(task) })}`);
  try {
    render(await requestJson("/v1/recommendations", { method: "POST", body: task }));
  } catch (error) {
    fault.hidden = false;
    fault.textContent = error.errors?.map(({ pointer, detail }) => `${pointer.slice(1)}: ${detail}`).join("; ") || error.message;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  runUnlessBusy(form, ask);
});

document.getElementById("start").addEventListener("click", ({ target }) => runUnlessBusy(target, async () => {
  try {
    const { id } = await post("/v1/experiments", offered);
    await navigate(`/experiments/${id}`);
  } catch (error) {
    document.getElementById("offer-text").textContent = error.message;
  }
}));

// The address has the task, so that its answer can be linked.
const linked = new URLSearchParams(location.search).get("task");
if (linked) {
  const { needs = [], ...numbers } = JSON.parse(linked);
  for (const name of NUMBERS) form.elements[name].value = numbers[name] ?? "";
  for (const box of form.querySelectorAll("[name=needs]")) box.checked = needs.includes(box.value);
  await runUnlessBusy(form, ask);
}
