// A drawn digit, and the predictions of two models, updated while the user draws.

import { replaceAddress, requestJson } from "./api.js";
import { sleep } from "./live-update.js";
import { addRoot } from "./root-path.js";

const element = (id) => document.getElementById(id);
const pad = element("pad");
const context = pad.getContext("2d", { willReadFrequently: true });
const sides = [...document.querySelectorAll("[data-side]")];
const PEN_WIDTH = 20;
const REQUEST_INTERVAL_MILLISECONDS = 80;
const DROPOUT_SAMPLES = 50;
// SVG paths of sample digits, in a square of 100.
const SAMPLES = [
  "M50 15 C24 15 24 85 50 85 C76 85 76 15 50 15",
  "M38 30 L53 15 L53 85",
  "M28 34 C30 10 72 10 70 36 C68 53 40 66 28 83 L74 83",
  "M30 22 C45 8 72 16 68 34 C65 46 52 48 46 48 C60 48 74 55 71 70 C67 90 36 90 28 76",
  "M34 15 L29 52 L70 52 M64 18 L60 86",
  "M70 16 L38 16 L34 46 C48 38 72 42 71 64 C70 88 38 90 28 77",
  "M64 15 C40 24 29 50 31 67 C33 88 68 90 69 69 C70 50 42 48 32 64",
  "M26 18 L73 18 C60 40 50 60 44 86",
  "M50 48 C28 42 30 15 50 15 C70 15 72 42 50 48 C24 54 26 86 50 86 C74 86 76 54 50 48",
  "M69 36 C66 56 32 54 32 34 C32 12 68 12 69 34 C70 55 64 70 56 86",
];

// ---- drawing: light ink on black, as the training images have it

let file = null;
let blank = true;
let lastPosition = null;
// A test image lies on the pad, which a stroke replaces.
let placed = false;

function erase() {
  context.fillStyle = "#000";
  context.fillRect(0, 0, pad.width, pad.height);
  context.strokeStyle = context.fillStyle = "#fff";
  context.lineWidth = PEN_WIDTH;
  context.lineCap = context.lineJoin = "round";
  file = null;
  placed = false;
  blank = true;
  element("pad-hint").hidden = false;
  element("pad-about").textContent = "";
}

const getPosition = (event) => {
  const box = pad.getBoundingClientRect();
  return [((event.clientX - box.left) * pad.width) / box.width, ((event.clientY - box.top) * pad.height) / box.height];
};

function stroke(to) {
  if (file || placed) erase();
  element("pad-hint").hidden = true;
  context.beginPath();
  context.moveTo(...(lastPosition ?? to));
  context.lineTo(...to);
  context.stroke();
  lastPosition = to;
  blank = false;
  update();
}

pad.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  pad.setPointerCapture(event.pointerId);
  lastPosition = null;
  stroke(getPosition(event));
});
pad.addEventListener("pointermove", (event) => {
  if (!pad.hasPointerCapture(event.pointerId)) return;
  for (const sample of event.getCoalescedEvents?.() ?? [event]) stroke(getPosition(sample));
});
pad.addEventListener("pointerup", () => { lastPosition = null; });

function drawSample(digit) {
  erase();
  context.save();
  context.scale(pad.width / 100, pad.height / 100);
  context.lineWidth = PEN_WIDTH / (pad.width / 100);
  context.stroke(new Path2D(SAMPLES[digit]));
  context.restore();
  blank = false;
  update();
}

function clear() {
  erase();
  update();
}

// A random test image of the first model's dataset; a sample digit where the service has none.
async function drawTestImage({ replaces = true } = {}) {
  const { value: job, dataset } = sides[0].querySelector(".model").selectedOptions[0];
  const index = Math.floor(Math.random() * Number(dataset.testImages));
  try {
    if (!Number(dataset.testImages)) throw new Error("The number of test images is unknown.");
    const { items: [{ pixels, label }] } = await requestJson(`/v1/jobs/${job}/test-images?index=${index}`);
    const side = Math.sqrt(pixels.length);
    const image = new ImageData(new Uint8ClampedArray(pixels.flatMap((value) => [value, value, value, 255])), side, side);
    const bitmap = await createImageBitmap(image);
    if (!blank && !replaces) return;
    erase();
    context.drawImage(bitmap, 0, 0, pad.width, pad.height);
    element("pad-about").textContent = `Test image ${index}, of class ${label}.`;
    placed = true;
    blank = false;
    update();
  } catch {
    if (blank || replaces) drawSample(Math.floor(Math.random() * SAMPLES.length));
  }
}

element("random").addEventListener("click", () => drawTestImage());

pad.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^[0-9]$/.test(event.key)) drawSample(Number(event.key));
  else if (["Backspace", "Delete", "Escape"].includes(event.key)) clear();
  else return;
  event.preventDefault();
});
for (const button of document.querySelectorAll("[data-digit]"))
  button.addEventListener("click", () => drawSample(Number(button.dataset.digit)));
element("clear").addEventListener("click", clear);
element("dropout").addEventListener("change", () => update());
element("upload").addEventListener("change", async ({ target }) => {
  const [chosen] = target.files;
  target.value = "";
  if (!chosen) return;
  erase();
  try {
    const image = await createImageBitmap(chosen);
    const scale = Math.min(pad.width / image.width, pad.height / image.height);
    const [width, height] = [image.width * scale, image.height * scale];
    context.drawImage(image, (pad.width - width) / 2, (pad.height - height) / 2, width, height);
  } catch {
    showError("This browser cannot show that image; the models can still classify it.");
  }
  file = chosen;
  blank = false;
  update();
});

// ---- predictions: one request at a time; changes during a request cause one more

let updating = false;
let outdated = false;

async function update() {
  outdated = true;
  if (updating) return;
  updating = true;
  while (outdated) {
    outdated = false;
    await (blank ? clearPredictions() : predict());
    await sleep(REQUEST_INTERVAL_MILLISECONDS);
  }
  updating = false;
}

async function predict() {
  const body = file ?? (await new Promise((resolve) => { pad.toBlob(resolve, "image/png"); }));
  const models = sides.map((side) => side.querySelector(".model").value);
  const withDropout = sides.filter((side) => element("dropout").checked && "dropout" in side.querySelector(".model").selectedOptions[0].dataset)
    .map((side) => side.querySelector(".model").value);
  // A model without dropout has no samples, so that it needs a request of its own.
  const requests = [[withDropout, [["dropout_samples", DROPOUT_SAMPLES]]], [models.filter((id) => !withDropout.includes(id)), []]]
    .filter(([ids]) => ids.length)
    .map(([ids, options]) => new URLSearchParams([...ids.map((id) => ["job", id]), ["include", "images"], ...options]));
  try {
    const responses = await Promise.all(requests.map((query) => requestJson(`/v1/predict?${query}`, { method: "POST", body })));
    showError("");
    if (blank) return;
    const predictions = models.map((id) => {
      const { predictions: [prediction], class_names: names } = responses.flatMap(({ items }) => items).find((item) => item.job_id === id);
      return { ...prediction, names: prediction.probabilities.map((_, label) => names?.[label] ?? String(label)) };
    });
    sides.forEach((side, index) => show(side, predictions[index]));
    compare(predictions);
    showPreprocessed(responses[0].images[0]);
  } catch (error) {
    if (error.errors?.length) clearPredictions();
    showError(error.errors?.length ? error.errors.map(({ detail }) => detail).join("; ") : error.message);
  }
}

function clearPredictions() {
  for (const side of sides) {
    side.querySelector(".digit").textContent = "\u2013";
    side.querySelector(".confidence").textContent = "No prediction yet.";
    showWarnings(side, []);
    for (const bar of side.querySelectorAll(".bars li")) setBar(bar, null, false);
  }
  element("preprocessed").hidden = element("agreement").hidden = true;
}

const percent = (fraction, over = "over ") => (fraction > 0.999 ? `${over}99.9 %` : `${(100 * fraction).toFixed(1)} %`);

function show(side, { label, confidence, probabilities, warnings, names, dropout }) {
  side.querySelector(".digit").textContent = names[label];
  side.querySelector(".confidence").textContent = dropout
    ? `with a mean confidence of ${percent(confidence)} over ${dropout.samples} passes (sd ${(100 * dropout.sd[label]).toFixed(1)} points); entropy ${dropout.predictive_entropy.toFixed(2)} nats, of which ${dropout.mutual_information.toFixed(2)} are the model's own uncertainty`
    : `with a confidence of ${percent(confidence)}`;
  showWarnings(side, warnings);
  fitBars(side.querySelector(".bars"), names);
  side.querySelectorAll(".bars li").forEach((bar, index) => setBar(bar, probabilities[index], index === label));
}

// A bar for each class of the model's dataset.
function fitBars(bars, names) {
  while (bars.children.length > names.length) bars.lastElementChild.remove();
  while (bars.children.length < names.length) bars.append(bars.firstElementChild.cloneNode(true));
  names.forEach((name, label) => { bars.children[label].querySelector(".label").textContent = name; });
}

function showWarnings(side, warnings) {
  const target = side.querySelector(".warnings");
  target.textContent = warnings.map((warning) => `${warning[0].toUpperCase()}${warning.slice(1)}.`).join(" ");
  target.hidden = !warnings.length;
}

function setBar(bar, fraction, isPredicted) {
  bar.classList.toggle("predicted", isPredicted);
  bar.querySelector(".fill").style.width = `${100 * (fraction ?? 0)}%`;
  bar.querySelector(".value").textContent = fraction === null ? "\u00a0" : percent(fraction, ">");
}

function compare([one, other]) {
  element("agreement").hidden = false;
  const [first, second] = sides.map((side) => side.querySelector("h2").textContent);
  const [firstName, secondName] = [one, other].map(({ names, label }) => names[label]);
  if (firstName !== secondName)
    element("agreement").textContent = `They disagree: ${first} predicts ${firstName}, ${second} predicts ${secondName}.`;
  else {
    const moreConfident = one.confidence > other.confidence ? first : second;
    const [shown, otherShown] = [one, other].map(({ confidence }) => percent(confidence));
    // Of the numbers as shown; over 99.9 there is none.
    const points = Math.abs(parseFloat(shown) - parseFloat(otherShown));
    element("agreement").textContent = shown === otherShown ? `Both predict ${firstName} with ${one.confidence === other.confidence ? "" : "almost "}equal confidence.`
      : `Both predict ${firstName}; ${moreConfident} is more confident${Number.isNaN(points) ? "" : ` by ${points.toFixed(1)} points`}.`;
  }
}

function showPreprocessed(rows) {
  const target = element("preprocessed-pad").getContext("2d");
  const image = target.createImageData(28, 28);
  rows.flat().forEach((value, index) => image.data.set([value, value, value, 255], 4 * index));
  target.putImageData(image, 0, 0);
  element("preprocessed").hidden = false;
}

function showError(message) {
  element("error").textContent = message;
  element("error").hidden = message === "";
}

// ---- the selected models, which the address contains

function showModel(side) {
  const select = side.querySelector(".model");
  const option = select.selectedOptions[0];
  const { techniques, accuracy } = option.dataset;
  side.querySelector(".model-about").textContent = `${techniques}; ${accuracy} of the test images classified correctly`;
  const link = side.querySelector(".model-link");
  link.href = addRoot(`/jobs/${select.value}`);
  // A narrow menu cuts the name off.
  link.textContent = `Training of ${option.label}`;
}

function updateAddress() {
  const chosen = sides.map((side) => [side.dataset.side, side.querySelector(".model").value]);
  replaceAddress(`?${new URLSearchParams(chosen)}`);
}

for (const side of sides) {
  showModel(side);
  side.querySelector(".model").addEventListener("change", () => {
    showModel(side);
    updateAddress();
    if (!blank) update();
  });
}
// Also the pair that the service has preselected, because it may preselect another one later.
updateAddress();
erase();
// Unless the user begins to draw before it is there.
drawTestImage({ replaces: false });
