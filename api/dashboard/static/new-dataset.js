// A dataset's files: shown as they would be read, then stored.

import { requestJson, runUnlessBusy } from "./api.js";
import { formatCount, formatNumber, h } from "./elements.js";

const SIDE = 28;
const element = (id) => document.getElementById(id);
const form = element("new-dataset");

function readOptions() {
  const options = {};
  for (const name of ["scale", "test_fraction"])
    if (form[name].value.trim()) options[name] = Number(form[name].value);
  for (const name of ["invert", "transpose"])
    if (form[name].value) options[name] = form[name].value === "true";
  if (form.split.value.trim()) options.split = form.split.value.trim();
  if (form.class_names.value.trim())
    options.class_names = form.class_names.value.split(",").map((name) => name.trim());
  for (const name of ["resize", "allow_duplicates"])
    if (form[name].checked) options[name] = true;
  return options;
}

async function upload(query) {
  const body = new FormData();
  body.append("name", form.name.value.trim());
  body.append("options", JSON.stringify(readOptions()));
  for (const file of element("files").files) body.append("files", file);
  return requestJson(`/v1/datasets${query}`, { method: "POST", body });
}

function drawImage(pixels) {
  const canvas = h("canvas", { width: SIDE, height: SIDE, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIDE, SIDE);
  [...atob(pixels)].forEach((character, index) => {
    image.data.fill(character.charCodeAt(0), 4 * index, 4 * index + 3);
    image.data[4 * index + 3] = 255;
  });
  context.putImageData(image, 0, 0);
  return canvas;
}

function showPreview({ classes, train_examples: train, test_examples: test, counts, decisions, warnings, images }) {
  element("sizes").textContent =
    `${classes} classes, ${formatCount(train, "training image")}, ${formatCount(test, "test image")}`;
  element("warnings").replaceChildren(...warnings.map((warning) => h("li", {}, warning)));
  element("warnings").hidden = !warnings.length;
  element("decisions").replaceChildren(
    ...decisions.flatMap(({ name, detail }) => [h("dt", {}, name), h("dd", {}, detail)]));
  element("images").replaceChildren(
    ...images.map(({ label, pixels }) => h("li", {}, drawImage(pixels), h("span", {}, counts[label].name))));
  element("counts").replaceChildren(...counts.map((count, label) => h("tr", {},
    h("td", { class: "number" }, String(label)), h("th", { scope: "row" }, count.name),
    h("td", { class: "number" }, formatNumber(count.train)),
    h("td", { class: "number" }, formatNumber(count.test)))));
  element("preview").hidden = false;
}

function showError(error) {
  const details = (error.errors ?? []).map(({ pointer, detail }) => `${pointer.slice(1)}: ${detail}`);
  element("error").textContent = details.join("; ") || error.message;
  element("error").hidden = false;
}

// Runs an upload, and shows what goes wrong.
const run = (button, status, action) => runUnlessBusy(button, async () => {
  element("error").hidden = true;
  element("status").textContent = status;
  try {
    await action();
  } catch (error) {
    element("status").textContent = "Nothing was stored.";
    showError(error);
  }
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  run(element("show"), "Reading the files ...", async () => {
    element("preview").hidden = true;
    showPreview(await upload("?dry_run=true"));
    element("store").disabled = false;
    element("status").textContent = "This is what would be stored.";
  });
});

// What is stored is what was shown.
form.addEventListener("input", () => { element("store").disabled = true; });

element("store").addEventListener("click", () => run(element("store"), "Storing the dataset ...", async () => {
  await upload("");
  location.reload();
}));

for (const button of document.querySelectorAll("[data-remove]"))
  button.addEventListener("click", () => run(button, "Removing the dataset ...", async () => {
    if (!confirm(`Remove the dataset ${button.dataset.remove}? Results and models stay.`)) return;
    await requestJson(`/v1/datasets/${button.dataset.remove}`, { method: "DELETE" });
    location.reload();
  }));
